// In how few bytes every place of some rules can come to an end, and which can not at all.
#pragma once

#include "grammar/rules.h"

namespace chimera {

// Fills close_bytes and close_frames of the places and unit_bytes of the rules; kUnbounded where no
// text leads to the end.
void SetClosingFigures(RuleTables* tables);

// Drops the edges, jumps and closing quotes that lead to a place without an end, then marks the
// places at which a call needs no frame. After it, no configuration is a dead end.
void RemoveDeadEnds(RuleTables* tables);

}  // namespace chimera
