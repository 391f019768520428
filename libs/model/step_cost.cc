#include "model/step_cost.h"

#include <charconv>
#include <string>

#include "layers/moe.h"
#include "model/layout.h"
#include "model/ternary_switches.h"

namespace chimera {
namespace {

// "layers.12.gd.w_in" is 12; -1 for a tensor of no layer.
int LayerOf(const std::string& name) {
  constexpr std::string_view kPrefix = "layers.";
  if (!name.starts_with(kPrefix)) return -1;
  int layer = -1;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  return layer;
}

// Sherry is served from two-bit codes.
int64_t ServedBytes(const TensorSpec& spec) {
  const TensorKind kind =
      spec.kind == TensorKind::kTernarySherry ? TensorKind::kTernary : spec.kind;
  return static_cast<int64_t>(PayloadBytes(kind, spec.rows, spec.cols));
}

}  // namespace

StepCost CountStep(const ModelConfig& config, int loops) {
  StepCost cost;
  for (const TensorSpec& spec : ModelLayout(config)) {
    if (spec.name.starts_with("router.")) continue;
    const int layer = LayerOf(spec.name);
    const int64_t times = layer >= 0 && config.loop.Contains(layer) ? loops : 1;
    int64_t weights = int64_t{spec.rows} * spec.cols, bytes = ServedBytes(spec);
    const bool routed = spec.name.ends_with("moe.w_in") || spec.name.ends_with("moe.w_out") ||
                        spec.name.ends_with("moe.out_norm");
    if (routed) {
      weights = weights * kMoePicks / config.moe.n_routed;
      bytes = bytes * kMoePicks / config.moe.n_routed;
    }
    cost.weights += times * weights;
    cost.bytes += times * bytes;
  }
  return cost;
}

}  // namespace chimera
