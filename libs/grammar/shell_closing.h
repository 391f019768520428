// In how many bytes the shell's text can be brought to an end.
#pragma once

#include "grammar/shell_steps.h"

namespace chimera::shell {

uint32_t ClosingBytes(const GrammarItem& item, bool generate, const StackPool& stacks);

}  // namespace chimera::shell
