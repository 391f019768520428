// Parts of a layer's state (model/state_layout.h). Internal to layer_step.cc and layer_tree.cc.
#pragma once

#include <cstdint>

#include "config/model_config.h"
#include "layers/mlstm.h"
#include "layers/short_conv.h"
#include "model/state_layout.h"

namespace chimera {

// The matrices of a GD or SK layer, head h at h * kHeadState.
inline float* DeltaStates(const ModelConfig& c, float* state) {
  return state + int64_t{kConvState} * 3 * c.n_heads * kHeadDim;
}

// Of an XM layer, that of head 0.
inline MlstmState MlstmStateAt(const ModelConfig& c, float* state) {
  float* const vectors = state + int64_t{c.n_heads} * kHeadState;
  return {state, vectors, vectors + int64_t{c.n_heads} * kHeadDim};
}

// Of an SK layer.
inline float* SketchAt(const ModelConfig& c, float* state) {
  return state + LayerStateFloats(c, LayerKind::kGatedDelta);
}

}  // namespace chimera
