// chimera: one binary for serving, training and using models. Parses the command line, runs the
// verb the subcommand chose, turns its status into a sentence and an exit code.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "cluster/metrics.h"
#include "cluster/signals.h"
#include "services/cli/commands.h"

namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitCancelled = 130;

constexpr char kFooter[] =
    "Start here:\n"
    "  chimera complete --model models/nano --prompt \"Once upon a time\"\n"
    "  chimera serve --all --model models/nano\n"
    "  chimera COMMAND --help\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.";

}  // namespace

int main(int argc, char** argv) {
  chimera::BlockShutdownSignals();
  CLI::App app("Trains and serves small private language models on CPUs.", "chimera");
  app.set_version_flag("--version", "chimera " + chimera::BuildVersion());
  app.require_subcommand(1);
  app.footer(kFooter);
  chimera::Command run;
  chimera::AddCommands(app, &run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version count as errors to the library, but not to us.
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  const absl::Status status = run();
  if (status.ok()) return 0;
  const std::string message(status.message().data(), status.message().size());
  std::fprintf(stderr, "chimera: %s\n", message.c_str());
  if (chimera::IsUsageError(status)) return kExitUsage;
  return absl::IsCancelled(status) ? kExitCancelled : kExitFailed;
}
