#include "services/cli/commands.h"

namespace chimera {

void AddCommands(CLI::App& app, Command* run) {
  AddServe(app, run);
  AddComplete(app, run);
}

}  // namespace chimera
