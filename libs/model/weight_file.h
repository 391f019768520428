// Writes weights.b158 from float parameters: quantises, packs, checksums (docs/formats/b158.md).
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "config/model_config.h"
#include "model/layout.h"

namespace chimera {

// The float parameter of a name in ModelLayout, rows x cols, row-major; valid until the next call.
// Names come in the order of the layout, once each.
using ParameterSource = std::function<std::span<const float>(const std::string& name)>;

// The bytes of a file of these tensors; payload(i) has PayloadBytes of specs[i].
std::string EncodeTensors(const std::vector<TensorSpec>& specs,
                          const std::function<std::string(size_t index)>& payload);

// The bytes of the file. Deterministic: the same parameters give the same bytes.
std::string EncodeWeights(const ModelConfig& config, const ParameterSource& source);

absl::Status WriteWeights(const std::string& path, const ModelConfig& config,
                          const ParameterSource& source);

}  // namespace chimera
