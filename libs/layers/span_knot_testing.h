// What the tests of the span knot share: weights, sketches, the twin of a layer.
#pragma once

#include <cstdint>
#include <vector>

#include "base/philox.h"
#include "layers/kernel_testing.h"
#include "layers/span_knot.h"
#include "layers/span_knot_naive.h"
#include "layers/span_knot_op.h"

namespace chimera {

struct TestSpanWeights {
  explicit TestSpanWeights(const SpanKnotShape& shape)
      : sketch(Noise(int64_t{3} * shape.rank * shape.d_model, 0.3f, 0, 1)),
        back(Noise(int64_t{shape.width} * shape.rank, 0.3f, 0, 2)),
        gate(Noise(shape.width, 0.2f, 0.3f, 3)) {}

  SpanKnotWeights view() const { return {sketch.data(), back.data(), gate.data()}; }

  Floats sketch, back, gate;
};

inline std::vector<uint64_t> RandomSketch(int bits, uint32_t seed) {
  std::vector<uint64_t> words(bits / 64);
  const PhiloxStream stream(seed, RngPurpose::kFeatureCode, 999);
  for (size_t w = 0; w < words.size(); ++w) {
    words[w] = stream.Word(2 * w) | static_cast<uint64_t>(stream.Word(2 * w + 1)) << 32;
  }
  return words;
}

inline Signs SignsOf(const uint64_t* words, int n_words) {
  Signs signs(64 * n_words);
  for (int j = 0; j < 64 * n_words; ++j) signs[j] = words[j / 64] >> (j % 64) & 1 ? 1 : -1;
  return signs;
}
inline Signs SignsOf(const std::vector<uint64_t>& words) {
  return SignsOf(words.data(), static_cast<int>(words.size()));
}

template <typename T>
void FillFields(const SpanFields& fields, int n_words, NaiveSpanToken<T>* token) {
  const SpanField* field[3] = {&fields.memory, &fields.grammar, &fields.debt};
  for (int f = 0; f < 3; ++f) {
    if (field[f]->bits == nullptr) continue;
    token->field[f] = {SignsOf(field[f]->bits, n_words), static_cast<T>(field[f]->weight)};
  }
}

// Points to no weights yet. U is computed from its definition, not taken from the knot.
template <typename T>
NaiveSpanKnot<T> NaiveOf(const SpanKnot& knot) {
  const SpanKnotShape& shape = knot.shape();
  const SpanKnotEnergy& energy = knot.energy();
  NaiveSpanKnot<T> twin{};
  twin.d_model = shape.d_model, twin.width = shape.width;
  twin.bits = shape.bits, twin.rank = shape.rank;
  twin.u.resize(static_cast<size_t>(shape.bits) * shape.rank);
  for (int i = 0; i < shape.rank; ++i) {
    const PhiloxStream stream(0x5EED, RngPurpose::kFeatureCode, 128 + i);
    for (int j = 0; j < shape.bits; ++j) twin.u[j * shape.rank + i] = stream.Sign(j);
  }
  const float term[5] = {energy.autoregressive, energy.memory, energy.binding, energy.grammar,
                         energy.debt};
  for (int i = 0; i < 5; ++i) twin.term[i] = static_cast<T>(term[i]);
  twin.flips_per_sweep = knot.flips_per_sweep();
  twin.max_sweeps = energy.max_sweeps;
  twin.early_exit = static_cast<T>(energy.early_exit);
  twin.flip_clip = static_cast<T>(kFlipClip);
  return twin;
}

}  // namespace chimera
