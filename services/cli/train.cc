// chimera train: one verb in this process, the others on a trainer service.
#include "services/cli/train.h"

#include <CLI/CLI.hpp>

namespace chimera {

void AddTrain(CLI::App& app, Command* run) {
  CLI::App* sub = app.add_subcommand("train", "Turn a folder of text into a model");
  sub->require_subcommand(1);
  AddTrainRun(*sub, run);
  AddTrainJobs(*sub, run);
  sub->footer(
      "`run` trains here and now. `submit` hands the job to a running server (chimera serve), "
      "which\n"
      "queues it, survives restarts and can publish the model to the streams that come after.");
}

}  // namespace chimera
