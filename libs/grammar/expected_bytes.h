// What a grammar expects, for people.
#pragma once

#include <string>

#include "grammar/state_table.h"

namespace chimera {

// The bytes that may follow, as ranges: "0 to 9, \" or the end".
std::string ExpectedBytes(StateTable* table, GrammarState state);

}  // namespace chimera
