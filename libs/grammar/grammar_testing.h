// What tests of grammars share: reading a text through a machine and random texts of its language.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "grammar/state_table.h"

namespace chimera {

// Where a text leaves the language: the place of the first byte that cannot follow, text.size()
// when it only may not end there, -1 when the whole text is in the language.
int64_t FirstFault(StateTable* table, std::string_view text);

// A text of the language: random bytes that may follow, each class of bytes as likely as the next,
// then the closing text. Stops early where nothing may follow. Checks on the way that every state
// keeps the promise of Machine::CloseBytes.
std::string RandomText(StateTable* table, uint64_t seed, int random_bytes);

}  // namespace chimera
