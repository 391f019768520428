#include "services/cli/commands.h"

namespace chimera {

void AddCommands(CLI::App& app, Command* run) {
  AddServe(app, run);
  AddComplete(app, run);
  AddTrain(app, run);
  AddEval(app, run);
  AddTokenize(app, run);
  AddMemory(app, run);
  AddModel(app, run);
  AddBench(app, run);
}

}  // namespace chimera
