#include "layers/sketch_fields.h"

#include <algorithm>
#include <bit>

#include "gtest/gtest.h"
#include "hdc/sketch.h"

namespace chimera {
namespace {

constexpr int kBits = 1024;
constexpr int kWords = kBits / 64;

struct Batch {
  Batch(int seqs, int len) : tokens(seqs * len), reset(seqs * len) {
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 37 % 101);
    batch.n_seqs = seqs, batch.seq_len = len;
    batch.tokens = tokens.data(), batch.reset = reset.data();
  }
  std::vector<int32_t> tokens;
  std::vector<uint8_t> reset;
  TrainBatch batch;
};

// All fields by value: words or nothing, weights.
std::vector<std::vector<uint64_t>> Contents(const SketchFields& fields, int64_t rows) {
  std::vector<std::vector<uint64_t>> out;
  for (int64_t row = 0; row < rows; ++row) {
    const SpanFields f = FieldsOfRow(fields, row, kWords);
    for (const SpanField& field : {f.memory, f.grammar, f.debt}) {
      std::vector<uint64_t> words;
      if (field.bits != nullptr) {
        words.assign(field.bits, field.bits + kWords);
        words.push_back(std::bit_cast<uint32_t>(field.weight));
        EXPECT_GT(field.weight, 0);
        EXPECT_LE(field.weight, 1);
      }
      out.push_back(words);
    }
  }
  return out;
}

std::vector<std::vector<uint64_t>> Draw(const Batch& b, uint64_t seed, uint64_t step,
                                        const SketchFieldRates& rates = {}, int threads = 1) {
  ExecContext exec(threads);
  SketchFieldBuilder builder(kBits, seed, rates);
  return Contents(builder.Build(&exec, b.batch, step), b.batch.rows());
}

TEST(SketchFieldsTest, DependOnSeedStepAndSequenceOnly) {
  const Batch b(6, 40);
  const SketchFieldRates rates = {0.5f, 0.5f, 0.5f};
  const auto first = Draw(b, 1, 9, rates);
  EXPECT_EQ(first, Draw(b, 1, 9, rates));
  EXPECT_EQ(first, Draw(b, 1, 9, rates, 2)) << "threads";
  EXPECT_NE(first, Draw(b, 2, 9, rates));
  EXPECT_NE(first, Draw(b, 1, 10, rates));
  // A builder that has built other steps before builds the same.
  ExecContext exec(1);
  SketchFieldBuilder builder(kBits, 1, rates);
  builder.Build(&exec, b.batch, 3);
  EXPECT_EQ(first, Contents(builder.Build(&exec, b.batch, 9), b.batch.rows()));
}

TEST(SketchFieldsTest, AreDroppedASequenceAtATimeAtTheGivenRates) {
  const Batch b(8, 20);
  ExecContext exec(1);
  SketchFieldBuilder builder(kBits, 5, {0.5f, 0.2f, 0.05f});
  int present[3] = {};
  const int steps = 250;
  for (int step = 0; step < steps; ++step) {
    const SketchFields fields = builder.Build(&exec, b.batch, step);
    for (int s = 0; s < 8; ++s) {
      for (int f = 0; f < 3; ++f) {
        const int32_t* row = fields.index[f] + s * 20;
        present[f] += row[19] >= 0;
        if (f > 0) {
          EXPECT_EQ(std::count(row, row + 20, row[0]), 20) << "one draw a sequence";
        }
      }
    }
  }
  // 2,000 draws: five standard deviations.
  EXPECT_NEAR(present[0] / 2000.0, 0.5, 0.056);
  EXPECT_NEAR(present[1] / 2000.0, 0.2, 0.045);
  EXPECT_NEAR(present[2] / 2000.0, 0.05, 0.025);
}

TEST(SketchFieldsTest, MemoryIsTheRunningSketchOfTheTokensBefore) {
  Batch b(2, 40);
  b.reset[40 + 20] = 1;
  ExecContext exec(1);
  SketchFieldBuilder builder(kBits, 1, {1.0f, 0.0f, 0.0f});
  const SketchFields fields = builder.Build(&exec, b.batch, 0);
  const FeatureCodebook codebook;
  const auto sketch = [&](std::initializer_list<std::pair<int, int>> windows) {
    RunningSketch running(5);
    for (const auto& [begin, end] : windows) {
      BundleCounter counter;
      EXPECT_TRUE(AddTextFeatures(codebook, std::span<const int32_t>(&b.tokens[begin], end - begin),
                                  "", &counter)
                      .ok());
      running.Update(counter);
    }
    const HyperVector full = running.Sketch(codebook);
    return std::vector<uint64_t>(full.words.begin(), full.words.begin() + kWords);
  };
  const auto at = [&](int64_t row) {
    const SpanField f = FieldsOfRow(fields, row, kWords).memory;
    return f.bits == nullptr ? std::vector<uint64_t>()
                             : std::vector<uint64_t>(f.bits, f.bits + kWords);
  };
  for (int t = 0; t < 16; ++t) EXPECT_TRUE(at(t).empty()) << t;
  for (int t = 16; t < 32; ++t) EXPECT_EQ(at(t), sketch({{0, 16}})) << t;
  for (int t = 32; t < 40; ++t) EXPECT_EQ(at(t), sketch({{0, 16}, {16, 32}})) << t;
  // The second sequence starts a document at position 20.
  for (int t = 16; t < 20; ++t) EXPECT_EQ(at(40 + t), sketch({{40, 56}})) << t;
  for (int t = 20; t < 32; ++t) EXPECT_TRUE(at(40 + t).empty()) << t;
  for (int t = 32; t < 40; ++t) EXPECT_EQ(at(40 + t), sketch({{60, 72}})) << t;
}

TEST(SketchFieldsTest, NoFieldKnowsTheRowsTokenOrALaterOne) {
  Batch b(1, 64);
  const SketchFieldRates rates = {1.0f, 1.0f, 1.0f};
  const auto before = Draw(b, 1, 0, rates);
  for (const int t : {0, 15, 16, 17, 40, 47, 48}) {
    Batch other = b;
    other.batch.tokens = other.tokens.data(), other.batch.reset = other.reset.data();
    for (int i = t; i < 64; ++i) other.tokens[i] += 500;
    const auto after = Draw(other, 1, 0, rates);
    for (int row = 0; row <= t; ++row) {
      for (int f = 0; f < 3; ++f) EXPECT_EQ(after[3 * row + f], before[3 * row + f]) << row;
    }
    if (t < 48) {
      EXPECT_NE(after, before);
    }
  }
}

}  // namespace
}  // namespace chimera
