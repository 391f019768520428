// Reads the shape of the model (config/model_config.h). Internal to this library.
#pragma once

#include "config/json_reader.h"
#include "config/model_config.h"

namespace chimera {

// Fills everything but name and vocab_size; errors stick to the reader.
void ReadModelFields(Reader& root, ModelConfig* model);

}  // namespace chimera
