// Reads what a model may learn after training, and the policies of its memory. Internal to this
// library.
#pragma once

#include "config/config.h"
#include "config/json_reader.h"

namespace chimera {

// Errors stick to the reader.
void ReadEvolutionFields(Reader& root, EvolutionConfig* out);

}  // namespace chimera
