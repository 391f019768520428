#include "layers/sketch_fields.h"

#include <algorithm>
#include <span>

#include "base/check.h"
#include "base/philox.h"
#include "hdc/bundle_counter.h"
#include "hdc/sketch.h"

namespace chimera {
namespace {

constexpr int kSlowShift = 5;  // leak of the running sketch: about 32 windows back
constexpr uint64_t kNoiseBlock[2] = {16, 128};

}  // namespace

SketchFieldBuilder::SketchFieldBuilder(int bits, uint64_t seed, const SketchFieldRates& rates)
    : bits_(bits), words_(bits / 64), seed_(seed), rates_(rates) {
  CHIMERA_CHECK(bits > 0 && bits % 64 == 0 && bits <= kHyperBits);
}

SketchFields SketchFieldBuilder::Build(ExecContext* exec, const TrainBatch& batch, uint64_t step) {
  const auto rows = static_cast<size_t>(batch.rows());
  per_sequence_ = 2 + (batch.seq_len + kSketchRefresh - 1) / kSketchRefresh;
  table_.resize(static_cast<size_t>(batch.n_seqs * per_sequence_ * words_));
  SketchFields fields;
  for (int f = 0; f < 3; ++f) {
    index_[f].assign(rows, -1);
    weight_[f].assign(rows, 0.0f);
    fields.index[f] = index_[f].data();
    fields.weight[f] = weight_[f].data();
  }
  exec->ParallelFor(batch.n_seqs,
                    [&](int64_t s) { BuildSequence(batch, static_cast<int>(s), step); });
  fields.bits = table_.data();
  return fields;
}

void SketchFieldBuilder::BuildSequence(const TrainBatch& batch, int seq, uint64_t step) {
  const PhiloxStream stream(seed_, RngPurpose::kMemoryDrop, static_cast<uint32_t>(seq));
  const uint64_t base = step << 16;
  const PhiloxBlock draws = stream.Block(base), weights = stream.Block(base + 1);
  const auto weight = [&](int f) { return 1.0f - UniformFromBits(weights[f]); };
  if (UniformFromBits(draws[0]) < rates_.memory) BuildMemory(batch, seq, weight(0));
  const float rates[2] = {rates_.grammar, rates_.debt};
  for (int noise = 0; noise < 2; ++noise) {
    const int f = 1 + noise;
    if (!(UniformFromBits(draws[f]) < rates[noise])) continue;
    const int64_t at = seq * per_sequence_ + noise;
    for (int w = 0; w < words_; ++w) {
      const PhiloxBlock block = stream.Block(base + kNoiseBlock[noise] + w / 2);
      const int half = 2 * (w % 2);
      table_[at * words_ + w] = block[half] | static_cast<uint64_t>(block[half + 1]) << 32;
    }
    const int64_t row = int64_t{seq} * batch.seq_len;
    std::fill_n(index_[f].begin() + row, batch.seq_len, static_cast<int32_t>(at));
    std::fill_n(weight_[f].begin() + row, batch.seq_len, weight(f));
  }
}

void SketchFieldBuilder::BuildMemory(const TrainBatch& batch, int seq, float weight) {
  RunningSketch running(kSlowShift);
  BundleCounter window;
  const int64_t first = int64_t{seq} * batch.seq_len;
  int64_t next = seq * per_sequence_ + 2;
  int32_t current = -1;
  int fed = 0;  // tokens before this one are in the running sketch, or forgotten
  for (int t = 0; t < batch.seq_len; ++t) {
    if (t % kSketchRefresh == 0 && fed < t) {
      window.Reset();
      const std::span<const int32_t> tokens(batch.tokens + first + fed, t - fed);
      CHIMERA_CHECK(AddTextFeatures(codebook_, tokens, "", &window).ok());
      running.Update(window);
      const HyperVector sketch = running.Sketch(codebook_);
      std::copy_n(sketch.words.begin(), words_, table_.begin() + next * words_);
      current = static_cast<int32_t>(next++);
      fed = t;
    }
    if (batch.reset != nullptr && batch.reset[first + t] != 0) {
      running.Reset();
      current = -1;
      fed = t;
    }
    index_[0][first + t] = current;
    if (current >= 0) weight_[0][first + t] = weight;
  }
}

}  // namespace chimera
