// From a model's packed weights back to parameters that train on: floats that quantise to exactly
// this model. What was rounded away is gone, so they are not the floats the model was trained from:
//   ternary: W = mu * t * n / k for a group of n columns of which k are not zero. Plain mu * t
//     would quantise to the same trits with the scale mu * k / n, since the scale is mean |W|.
//   Sherry: W = mu * t, because its scale is the mean of the weights it keeps.
//   int8 rows: W = scale * q, the largest of a row moved by an ulp where scale needs it.
//   floats: as they are.
// So every weight is far from where its trit changes: at 0 or at |W| >= mu, with thresholds at mu
// / 2.
#pragma once

#include "absl/status/status.h"
#include "config/model_config.h"
#include "model/model.h"
#include "model/network.h"

namespace chimera {

// OK when both shapes have the same tensors. INVALID_ARGUMENT names the first that differs, with
// both shapes.
absl::Status CheckSameTensors(const ModelConfig& model, const ModelConfig& recipe);

// Fills every parameter. The model and the parameters have the same tensors.
void RestoreMasters(const Model& model, Parameters* parameters);

}  // namespace chimera
