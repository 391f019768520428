// Shapes of layers as the layers library wants them, from the model's config.
#pragma once

#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "config/model_config.h"
#include "layers/efla.h"
#include "layers/span_knot.h"
#include "layers/titans.h"

namespace chimera {

inline TitansShape TitansShapeOf(const ModelConfig& c) {
  return {.n_heads = c.n_heads,
          .kv_heads = c.tm.kv_heads,
          .persistent_slots = c.tm.persistent_slots,
          .window_len = c.tm.window_len,
          .decay_linear = c.tm.decay_linear};
}

inline SpanKnotShape SpanKnotShapeOf(const ModelConfig& c) {
  return {.d_model = c.d_model,
          .width = c.n_heads * c.head_dim,
          .bits = c.sk.sketch_bits,
          .rank = c.sk.rank};
}

inline SpanKnotEnergy SpanKnotEnergyOf(const SpanKnotConfig& sk) {
  return {.autoregressive = sk.weights[0],
          .memory = sk.weights[1],
          .binding = sk.weights[2],
          .grammar = sk.weights[3],
          .debt = sk.weights[4],
          .flip_fraction = sk.flip_fraction,
          .max_sweeps = sk.sweeps_max,
          .early_exit = sk.early_exit};
}

// What all SK layers of a model share; empty without such layers. The config's loader has checked
// the sizes.
inline std::optional<SpanKnot> MakeSpanKnot(const ModelConfig& c) {
  if (std::find(c.layers.begin(), c.layers.end(), LayerKind::kSpanKnot) == c.layers.end()) {
    return std::nullopt;
  }
  absl::StatusOr<SpanKnot> knot = SpanKnot::Create(SpanKnotShapeOf(c), SpanKnotEnergyOf(c.sk));
  CHIMERA_CHECK(knot.ok());
  return *std::move(knot);
}

// The rule of phase 1 of a layer: SK layers may have exact gates (efla.target_layers).
inline DeltaRule DeltaRuleOf(const ModelConfig& c, LayerKind kind) {
  return kind == LayerKind::kSpanKnot && c.sk.efla ? DeltaRule::kEfla : DeltaRule::kBeta;
}

}  // namespace chimera
