// A JSON string while it is read or written: escapes, the characters counted. Free functions over
// the tables of the rules; the item's register a counts characters, register b holds an escape that
// is not complete.
#pragma once

#include <cstdint>
#include <vector>

#include "grammar/rules.h"

namespace chimera {

// Appends what becomes of an item in a string after one more byte: at most one item. `room`: frames
// that may still be pushed; no escape is begun that leads only to places which need more.
void StepString(const RuleTables& tables, const GrammarItem& item, uint8_t byte, int room,
                std::vector<GrammarItem>* out);

// Bytes to the end of the item's rule, when it has begun an escape.
uint32_t EscapeClose(const RuleTables& tables, const GrammarItem& item, int room);

// The place over an edge, or kNoPlace.
uint32_t FollowEdge(const RuleTables& tables, uint32_t place, uint8_t byte);

// Bytes that the counter of an item's rule still asks for.
uint32_t CountClose(const RuleTables& tables, const GrammarItem& item);

}  // namespace chimera
