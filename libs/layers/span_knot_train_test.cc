// The span knot on the tape: the surrogate's gradients, the op against the twin and against
// serving, causality, carried state.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/span_knot_op.h"
#include "layers/span_knot_testing.h"

namespace chimera {
namespace {

constexpr int64_t kOffset = 5;  // floats of other owners before the sketch in a state

// A batch with fields and everything the op needs.
struct Problem {
  Problem(const SpanKnotShape& s, int seqs, int len, const SpanKnotEnergy& energy = {})
      : shape(s), n_seqs(seqs), seq_len(len), knot(*SpanKnot::Create(s, energy)), weights(s) {
    rows = n_seqs * seq_len;
    xn = Noise(int64_t{rows} * shape.d_model, 1, 0.1f, 11);
    dy = Noise(int64_t{rows} * shape.width, 1, 0, 12);
    reset.assign(rows, 0);
    stride = kOffset + SpanKnotStateFloats(shape.bits);
    start.assign(n_seqs * stride, 0);
    for (uint32_t f = 0; f < 3; ++f) {
      const auto sketch = RandomSketch(shape.bits, 40 + f);
      table.insert(table.end(), sketch.begin(), sketch.end());
      for (int row = 0; row < rows; ++row) {
        index[f].push_back((row + f) % 3 == 0 ? -1 : static_cast<int32_t>((row + f) % 3));
        weight[f].push_back(0.3f + 0.2f * static_cast<float>(f));
      }
    }
  }

  SketchFields fields() const {
    return {table.data(),
            {index[0].data(), index[1].data(), index[2].data()},
            {weight[0].data(), weight[1].data(), weight[2].data()}};
  }

  SpanKnotShape shape;
  int n_seqs, seq_len, rows;
  SpanKnot knot;
  TestSpanWeights weights;
  Floats xn, dy, start;
  std::vector<uint8_t> reset;
  int64_t stride;
  std::vector<uint64_t> table;
  std::vector<int32_t> index[3];
  Floats weight[3];
};

struct OpResult {
  Floats y, end, sketch, back, gate, xn;
};

OpResult RunOp(const Problem& p, int threads = 1) {
  OpResult r;
  r.end.assign(p.start.size(), 0);
  r.sketch.assign(p.weights.sketch.size(), 0);
  r.back.assign(p.weights.back.size(), 0);
  r.gate.assign(p.weights.gate.size(), 0);
  const SpanKnotParams params = {
      {p.weights.sketch.data(), r.sketch.data(), 3 * p.shape.rank, p.shape.d_model},
      {p.weights.back.data(), r.back.data(), p.shape.width, p.shape.rank},
      {p.weights.gate.data(), r.gate.data(), 1, p.shape.width}};
  TrainBatch batch;
  batch.n_seqs = p.n_seqs, batch.seq_len = p.seq_len, batch.reset = p.reset.data();
  batch.start = p.start.data(), batch.end = r.end.data(), batch.state_stride = p.stride;
  ExecContext exec(threads);
  Tape tape(&exec);
  Var* xn = tape.New(p.rows, p.shape.d_model);
  std::copy(p.xn.begin(), p.xn.end(), xn->value);
  Var* y = SpanKnotBranch(&tape, batch, p.knot, params, p.fields(), xn, kOffset);
  r.y.assign(y->value, y->value + y->size());
  bool accumulate = false;
  std::copy(p.dy.begin(), p.dy.end(), tape.GradTarget(y, &accumulate));
  tape.Backward();
  r.xn.assign(xn->grad, xn->grad + xn->size());
  return r;
}

// The twin in double over one sequence of a problem; its bits are those of serving.
struct Twin {
  explicit Twin(const Problem& p)
      : problem(p),
        sketch(ToDoubles(p.weights.sketch)),
        back(ToDoubles(p.weights.back)),
        gate(ToDoubles(p.weights.gate)),
        xn(ToDoubles(p.xn)),
        naive(NaiveOf<double>(p.knot)) {
    naive.sketch = sketch.data(), naive.back = back.data(), naive.gate = gate.data();
  }

  // The hard forward, quantised or not; keeps flips and previous sketches for Soft.
  void Hard(bool quantise) {
    Signs previous;
    tokens.clear();
    for (int row = 0; row < problem.rows; ++row) {
      if (row % problem.seq_len == 0 || problem.reset[row] != 0) previous.clear();
      NaiveSpanToken<double> token;
      token.previous = previous;
      FillFields(FieldsOfRow(problem.fields(), row, problem.shape.words()), problem.shape.words(),
                 &token);
      naive.Project(&xn[int64_t{row} * problem.shape.d_model], &token);
      naive.Expand(quantise, &token);
      naive.Relax(&token);
      naive.ReadOut(&token);
      previous = token.relaxed;
      tokens.push_back(token);
    }
  }

  // The surrogate with the flips and previous sketches of Hard; the loss of it.
  double Soft() {
    double loss = 0;
    for (int row = 0; row < problem.rows; ++row) {
      NaiveSpanToken<double>& token = tokens[row];
      naive.Project(&xn[int64_t{row} * problem.shape.d_model], &token);
      naive.Expand(false, &token);
      naive.Soften(&token);
      naive.ReadOut(&token);
      for (int c = 0; c < problem.shape.width; ++c) {
        loss += token.y[c] * problem.dy[int64_t{row} * problem.shape.width + c];
      }
    }
    return loss;
  }

  NaiveSpanGrads<double> Grads() const {
    const SpanKnotShape& s = problem.shape;
    NaiveSpanGrads<double> all{Doubles(sketch.size()), Doubles(back.size()), Doubles(gate.size()),
                               Doubles(xn.size())};
    const Doubles dy = ToDoubles(problem.dy);
    for (int row = 0; row < problem.rows; ++row) {
      NaiveSpanGrads<double> one{all.sketch, all.back, all.gate, Doubles(s.d_model)};
      naive.Backward(tokens[row], &xn[int64_t{row} * s.d_model], &dy[int64_t{row} * s.width], &one);
      all.sketch = one.sketch, all.back = one.back, all.gate = one.gate;
      std::copy(one.xn.begin(), one.xn.end(), all.xn.begin() + int64_t{row} * s.d_model);
    }
    return all;
  }

  // How near any ramp of the surrogate is to one of its kinks.
  double NearestKink() const {
    double nearest = 1e30;
    const int bits = problem.shape.bits;
    for (const auto& token : tokens) {
      for (int j = 0; j < bits; ++j) {
        const double at = token.flipped[j] ? std::abs(token.local[j]) - naive.flip_clip
                                           : std::abs(token.pre[j]) - 1;
        nearest =
            std::min({nearest, std::abs(at), std::abs(std::abs(token.pre[2 * bits + j]) - 1)});
      }
    }
    return nearest;
  }

  const Problem& problem;
  Doubles sketch, back, gate, xn;
  NaiveSpanKnot<double> naive;
  std::vector<NaiveSpanToken<double>> tokens;
};

TEST(SpanKnotTrainTest, TheTwinsGradientsAreThoseOfTheSurrogate) {
  Problem p({12, 7, 64, 16}, 1, 4, {.flip_fraction = 0.1});
  p.reset[2] = 1;
  Twin twin(p);
  twin.Hard(false);
  twin.Soft();
  ASSERT_GT(twin.NearestKink(), 1e-4) << "finite differences would cross a kink";
  const NaiveSpanGrads<double> grads = twin.Grads();
  const auto loss = [&] { return twin.Soft(); };
  ExpectSlopes(twin.sketch, grads.sketch, "sketch", loss);
  ExpectSlopes(twin.back, grads.back, "back", loss);
  ExpectSlopes(twin.gate, grads.gate, "gate", loss);
  ExpectSlopes(twin.xn, grads.xn, "xn", loss);
  // Every projection learns: state, candidate and role rows all have a gradient.
  const auto part = static_cast<int64_t>(twin.sketch.size()) / 3;
  for (int k = 0; k < 3; ++k) {
    double size = 0;
    for (int64_t i = k * part; i < (k + 1) * part; ++i) size += std::abs(grads.sketch[i]);
    EXPECT_GT(size, 1e-3) << k;
  }
}

// With the bits frozen, W_back and the gate are truly differentiable: no surrogate involved.
TEST(SpanKnotTrainTest, GradientsBehindTheBitsAreExact) {
  Problem p({12, 7, 64, 16}, 1, 3);
  Twin twin(p);
  twin.Hard(true);
  const NaiveSpanGrads<double> grads = twin.Grads();
  const auto loss = [&] {
    twin.Hard(true);
    double sum = 0;
    for (int row = 0; row < p.rows; ++row) {
      for (int c = 0; c < p.shape.width; ++c) {
        sum += twin.tokens[row].y[c] * p.dy[int64_t{row} * p.shape.width + c];
      }
    }
    return sum;
  };
  ExpectSlopes(twin.back, grads.back, "back", loss);
  ExpectSlopes(twin.gate, grads.gate, "gate", loss);
}

TEST(SpanKnotTrainTest, TheOpMatchesTheTwinAndAnyNumberOfThreads) {
  for (const SpanKnotShape& shape : {SpanKnotShape{24, 20, 128, 16}, SpanKnotShape{48, 16, 320, 48},
                                     SpanKnotShape{32, 64, 512, 64}}) {
    Problem p(shape, 3, 14, {.flip_fraction = 0.05});
    p.reset[4] = p.reset[14] = p.reset[30] = 1;
    Twin twin(p);
    twin.Hard(true);
    const NaiveSpanGrads<double> want = twin.Grads();
    Doubles y;
    for (const auto& token : twin.tokens) y.insert(y.end(), token.y.begin(), token.y.end());
    const OpResult got = RunOp(p);
    ExpectClose(got.y, y, 1e-5, "y");
    ExpectClose(got.sketch, want.sketch, 1e-5, "sketch");
    ExpectClose(got.back, want.back, 1e-5, "back");
    ExpectClose(got.gate, want.gate, 1e-5, "gate");
    ExpectClose(got.xn, want.xn, 1e-5, "xn");
    const OpResult other = RunOp(p, 2);
    ExpectSame(other.y, got.y, "y, two threads");
    ExpectSame(other.sketch, got.sketch, "sketch, two threads");
    ExpectSame(other.xn, got.xn, "xn, two threads");
  }
}

TEST(SpanKnotTrainTest, TheForwardIsServingBitForBitAndCarriesItsState) {
  Problem p({40, 24, 256, 32}, 2, 24);
  p.reset[7] = p.reset[24] = 1;
  for (int s = 0; s < 2; ++s) {  // both come from somewhere
    const auto bits = RandomSketch(p.shape.bits, 70 + s);
    std::memcpy(&p.start[s * p.stride + kOffset], bits.data(), p.shape.bits / 8);
    p.start[s * p.stride + kOffset + p.shape.bits / 32] = 1;
  }
  const OpResult got = RunOp(p);
  SpanKnotScratch scratch(p.shape);
  for (int s = 0; s < 2; ++s) {
    const auto at = p.start.begin() + s * p.stride + kOffset;
    Floats state(at, at + SpanKnotStateFloats(p.shape.bits)), y(p.shape.width);
    for (int row = s * 24; row < (s + 1) * 24; ++row) {
      if (p.reset[row] != 0) std::fill(state.begin(), state.end(), 0.0f);
      p.knot.Step(p.weights.view(), FieldsOfRow(p.fields(), row, p.shape.words()),
                  &p.xn[row * p.shape.d_model], state.data(), state.data(), &scratch, y.data());
      EXPECT_EQ(std::memcmp(y.data(), &got.y[row * p.shape.width], y.size() * sizeof(float)), 0)
          << "row " << row;
    }
    EXPECT_EQ(
        std::memcmp(state.data(), &got.end[s * p.stride + kOffset], state.size() * sizeof(float)),
        0);
  }
  // Sequence 0 in two steps of 12.
  Problem half({40, 24, 256, 32}, 1, 12);
  half.reset[7] = 1;
  half.start.assign(p.start.begin(), p.start.begin() + p.stride);
  half.xn.assign(p.xn.begin(), p.xn.begin() + 12 * 40);
  const OpResult first = RunOp(half);
  half.reset[7] = 0;
  half.start = first.end;
  half.xn.assign(p.xn.begin() + 12 * 40, p.xn.begin() + 24 * 40);
  const OpResult second = RunOp(half);  // row 12 + i of the fields repeats row i: 12 % 3 == 0
  Floats y = first.y;
  y.insert(y.end(), second.y.begin(), second.y.end());
  ExpectSame(y, Floats(got.y.begin(), got.y.begin() + 24 * 24), "split");
}

TEST(SpanKnotTrainTest, NoTokenSeesALaterOne) {
  Problem p({40, 24, 256, 32}, 1, 20);
  const OpResult before = RunOp(p);
  const int t = 11;
  for (size_t i = (t + 1) * 40; i < p.xn.size(); ++i) p.xn[i] = -p.xn[i] + 0.3f;
  for (int f = 0; f < 3; ++f) {
    for (int row = t + 1; row < p.rows; ++row) p.index[f][row] = 2 - std::max(0, p.index[f][row]);
  }
  const OpResult after = RunOp(p);
  ExpectSame(Floats(after.y.begin(), after.y.begin() + (t + 1) * 24),
             Floats(before.y.begin(), before.y.begin() + (t + 1) * 24), "up to t");
  EXPECT_NE(Floats(after.y.begin() + (t + 1) * 24, after.y.end()),
            Floats(before.y.begin() + (t + 1) * 24, before.y.end()));
}

TEST(SpanKnotTrainTest, AClosedGateAndAbsentFieldsAreNeutral) {
  Problem p({40, 24, 256, 32}, 1, 6);
  Problem absent = p;
  for (int f = 0; f < 3; ++f) std::fill(p.weight[f].begin(), p.weight[f].end(), 0.0f);
  for (auto& index : absent.index) std::fill(index.begin(), index.end(), -1);
  ExpectSame(RunOp(p).y, RunOp(absent).y, "weight 0");
  std::fill(p.weights.gate.begin(), p.weights.gate.end(), 0.0f);
  const OpResult closed = RunOp(p);
  EXPECT_EQ(closed.y, Floats(closed.y.size()));
  EXPECT_NE(closed.gate, Floats(closed.gate.size())) << "a closed gate must be able to open";
}

// The surrogate points downhill: descent on the projection alone brings the hard output of serving
// nearer to that of another layer.
TEST(SpanKnotTrainTest, DescentOnTheProjectionLowersTheHardLoss) {
  Problem p({24, 16, 512, 16}, 2, 32);
  const Floats target = [&] {
    Problem teacher = p;
    teacher.weights.sketch = Noise(static_cast<int64_t>(p.weights.sketch.size()), 0.3f, 0, 77);
    return RunOp(teacher).y;
  }();
  std::fill(p.dy.begin(), p.dy.end(), 0.0f);
  double first = 0, last = 0;
  for (int step = 0; step < 80; ++step) {
    const Floats y = RunOp(p).y;
    last = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      p.dy[i] = y[i] - target[i];
      last += 0.5 * p.dy[i] * p.dy[i];
    }
    if (step == 0) first = last;
    const Floats slope = RunOp(p).sketch;
    for (size_t i = 0; i < slope.size(); ++i) p.weights.sketch[i] -= 0.002f * slope[i];
  }
  EXPECT_LT(last, 0.5 * first) << "from " << first;
}

// Why kFlipClip is not 1: flips come from the tail.
TEST(SpanKnotTrainTest, MostFlippedBitsPassAGradient) {
  const Problem p({64, 16, 1024, 64}, 1, 32);
  SpanKnotScratch scratch(p.shape);
  Floats state(SpanKnotStateFloats(p.shape.bits)), y(p.shape.width);
  int flips = 0, open = 0, open_at_one = 0;
  for (int row = 0; row < p.rows; ++row) {
    p.knot.Step(p.weights.view(), {}, &p.xn[row * p.shape.d_model], state.data(), state.data(),
                &scratch, y.data());
    for (int j = 0; j < p.shape.bits; ++j) {
      if (((scratch.start[j / 64] ^ scratch.relaxed[j / 64]) >> (j % 64) & 1) == 0) continue;
      ++flips;
      open += scratch.gains[j] < kFlipClip;
      open_at_one += scratch.gains[j] < 1;
    }
  }
  EXPECT_GT(open, flips * 95 / 100);
  EXPECT_LT(open_at_one, flips / 100);
}

}  // namespace
}  // namespace chimera
