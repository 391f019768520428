// Where a JSON string may go on with anything.
#pragma once

#include "grammar/rules.h"

namespace chimera {

// Marks the places of strings from which any characters that JSON can hold as they are may follow
// one another without end, counters aside (kPlaceFree), and fills free_close_bytes of their rules.
// A mask allows all such tokens there at once, however many states the string's automaton has.
void MarkFreePlaces(RuleTables* tables);

}  // namespace chimera
