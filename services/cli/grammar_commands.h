// The subcommands of `chimera grammar` that have a file of their own.
#pragma once

#include "services/cli/commands.h"

namespace chimera {

void AddGrammarCompletions(CLI::App* grammar, Command* run);
void AddGrammarHeadBench(CLI::App* grammar, Command* run);
void AddGrammarCompile(CLI::App* grammar, Command* run);
void AddGrammarMaskBench(CLI::App* grammar, Command* run);

}  // namespace chimera
