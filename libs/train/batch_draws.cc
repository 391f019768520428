#include "train/batch_draws.h"

#include <algorithm>

namespace chimera {
namespace {

bool Has(const ModelConfig& c, LayerKind kind) {
  return std::find(c.layers.begin(), c.layers.end(), kind) != c.layers.end();
}

bool TitansLoops(const ModelConfig& c) {
  for (int i = 0; i < c.n_layers; ++i) {
    if (c.loop.Contains(i) && c.layers[static_cast<size_t>(i)] == LayerKind::kTitans) return true;
  }
  return false;
}

}  // namespace

LoopDepthOptions DepthOptionsOf(const ModelConfig& config) {
  LoopDepthOptions options;
  options.mean = config.loop.loops_default;
  options.loops_min = config.loop.loops_min;
  options.loops_max = config.loop.loops_max;
  if (TitansLoops(config)) options.block_share = 0;
  return options;
}

BatchDraws::BatchDraws(const ModelConfig& config, uint64_t seed)
    : loops_on_(config.loop.enabled), depths_(DepthOptionsOf(config)), seed_(seed) {
  if (Has(config, LayerKind::kSpanKnot)) {
    builder_.emplace(config.sk.sketch_bits, seed, SketchFieldRates{});
  }
}

void BatchDraws::Draw(ExecContext* exec, int64_t step, TrainBatch* batch) {
  batch->loops = nullptr;
  batch->fields = nullptr;
  if (builder_.has_value()) {
    fields_ = builder_->Build(exec, *batch, static_cast<uint64_t>(step));
    batch->fields = &fields_;
  }
  if (!loops_on_) return;
  loops_.clear();
  int64_t sum = 0;
  for (int s = 0; s < batch->n_seqs; ++s) {
    const LoopDepths depths(depths_, seed_, static_cast<uint64_t>(step), static_cast<uint32_t>(s));
    for (int t = 0; t < batch->Length(s); ++t) {
      loops_.push_back(static_cast<uint8_t>(depths.Depth(t / kLoopBlockTokens)));
      sum += loops_.back();
    }
  }
  batch->loops = loops_.data();
  mean_loops_ = static_cast<double>(sum) / static_cast<double>(loops_.size());
}

}  // namespace chimera
