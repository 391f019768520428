#include "services/cli/commands.h"

#include "absl/strings/cord.h"

namespace chimera {
namespace {

constexpr char kUsagePayload[] = "chimera/usage";

}  // namespace

absl::Status AsUsageError(absl::Status status) {
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

bool IsUsageError(const absl::Status& status) {
  return status.GetPayload(kUsagePayload).has_value();
}

void AddCommands(CLI::App& app, Command* run) {
  AddServe(app, run);
  AddComplete(app, run);
  AddTrain(app, run);
  AddEval(app, run);
  AddTokenize(app, run);
  AddMemory(app, run);
  AddModel(app, run);
  AddGrammar(app, run);
  AddBench(app, run);
}

}  // namespace chimera
