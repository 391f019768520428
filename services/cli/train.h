// The parts of `chimera train`: training in this process, and jobs on a trainer service.
#pragma once

#include "services/cli/commands.h"

namespace chimera {

// Both add subcommands below "train".
void AddTrainRun(CLI::App& train, Command* run);
void AddTrainJobs(CLI::App& train, Command* run);

}  // namespace chimera
