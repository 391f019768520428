// The subcommands of the chimera binary. Each lives in services/cli/<name>.cc and is registered by
// one function, listed in commands.cc:
//
//   void AddTokenize(CLI::App& app, Command* run) {
//     auto flags = std::make_shared<TokenizeFlags>();
//     CLI::App* sub = app.add_subcommand("tokenize", "Token ids of a text");
//     sub->add_option("--model", flags->model, "Model folder")->required();
//     sub->footer("Examples:\n  chimera tokenize --model models/nano --text 'a b'");
//     sub->callback([flags, run] { *run = [flags] { return RunTokenize(*flags); }; });
//   }
//
// The callback only stores the verb: main runs it after parsing. A failed status becomes one
// sentence on standard error and exit code 1 (130 for CANCELLED); wrong usage is exit code 2.
#pragma once

#include <functional>

#include "absl/status/status.h"

namespace CLI {
class App;
}  // namespace CLI

namespace chimera {

using Command = std::function<absl::Status()>;

// The same error, for exit code 2: what was asked for cannot be done as it was put.
absl::Status AsUsageError(absl::Status status);
bool IsUsageError(const absl::Status& status);

void AddServe(CLI::App& app, Command* run);
void AddComplete(CLI::App& app, Command* run);
void AddTrain(CLI::App& app, Command* run);
void AddEval(CLI::App& app, Command* run);
void AddTokenize(CLI::App& app, Command* run);
void AddMemory(CLI::App& app, Command* run);
void AddModel(CLI::App& app, Command* run);
void AddGrammar(CLI::App& app, Command* run);
void AddBench(CLI::App& app, Command* run);

// All of the above, in the order --help shows them.
void AddCommands(CLI::App& app, Command* run);

}  // namespace chimera
