// Times one token of the span knot on one core, with its parts: projection, codebook, relaxation,
// readout; then the op with its backward and the fields of a batch, as training runs them. Prints
// the fastest of several runs in microseconds a token.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <vector>

#include "base/cpu.h"
#include "layers/sketch_fields.h"
#include "layers/span_knot.h"
#include "layers/span_knot_op.h"

namespace chimera {
namespace {

constexpr int kTokens = 64;

std::vector<float> Noise(size_t n, float scale) {
  std::vector<float> x(n);
  uint32_t state = 12345;
  for (float& value : x) {
    state = state * 1664525u + 1013904223u;
    value = scale * (static_cast<float>(state >> 8) / 8388608.0f - 1.0f);
  }
  return x;
}

template <typename Work>
double MicrosPerCall(const Work& work, int calls = kTokens) {
  double best = 1e30;
  for (int run = 0; run < 25; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    for (int t = 0; t < calls; ++t) work(t);
    const std::chrono::duration<double, std::micro> spent =
        std::chrono::steady_clock::now() - begin;
    best = std::fmin(best, spent.count() / calls);
  }
  return best;
}

void Bench(const SpanKnotShape& shape, Isa isa) {
  const auto created = SpanKnot::Create(shape, {}, isa);
  if (!created.ok()) return;
  const SpanKnot& knot = *created;
  SpanKnotScratch scratch(shape);
  const size_t d_model = static_cast<size_t>(shape.d_model);
  const size_t rank = static_cast<size_t>(shape.rank);
  const std::vector<float> sketch = Noise(3 * rank * d_model, 0.1f);
  const std::vector<float> back = Noise(static_cast<size_t>(shape.width) * rank, 0.1f);
  const std::vector<float> gate = Noise(static_cast<size_t>(shape.width), 0.1f);
  const std::vector<float> xn = Noise(kTokens * d_model, 1.0f);
  std::vector<float> state(static_cast<size_t>(SpanKnotStateFloats(shape.bits)));
  std::vector<float> y(static_cast<size_t>(shape.width));
  const SpanKnotWeights weights = {sketch.data(), back.data(), gate.data()};
  const double step = MicrosPerCall([&](int t) {
    knot.Step(weights, {}, &xn[static_cast<size_t>(t) * d_model], state.data(), state.data(),
              &scratch, y.data());
  });
  const SpanKnotKernels& kernels = knot.kernels();
  const double project = MicrosPerCall([&](int t) {
    kernels.project(sketch.data(), 3 * shape.rank, shape.d_model,
                    &xn[static_cast<size_t>(t) * d_model], scratch.z.data());
  });
  const double back_out = MicrosPerCall([&](int) {
    kernels.feed_back(back.data(), gate.data(), scratch.readout.data(), shape.width, shape.rank,
                      y.data());
  });
  const double readout = MicrosPerCall([&](int) {
    kernels.readout(knot.plane(0), shape.rank, shape.bits, scratch.relaxed.data(), 1.0f,
                    scratch.readout.data());
  });
  std::printf(
      "%-8s bits %4d rank %2d d_model %4d  step %6.1f  projections %6.1f  rest %6.1f"
      "  (readout %5.1f)\n",
      IsaName(isa), shape.bits, shape.rank, shape.d_model, step, project + back_out,
      step - project - back_out, readout);
}

void BenchTraining(const SpanKnotShape& shape) {
  constexpr int kSeqs = 4, kLen = 256, kRows = kSeqs * kLen;
  const auto knot = SpanKnot::Create(shape, {});
  if (!knot.ok()) return;
  const size_t d_model = static_cast<size_t>(shape.d_model);
  const size_t width = static_cast<size_t>(shape.width), rank = static_cast<size_t>(shape.rank);
  const std::vector<float> sketch = Noise(3 * rank * d_model, 0.1f);
  const std::vector<float> back = Noise(width * rank, 0.1f), gate = Noise(width, 0.1f);
  const std::vector<float> in = Noise(kRows * d_model, 1.0f), dy = Noise(kRows * width, 1.0f);
  std::vector<float> d_sketch(sketch.size()), d_back(back.size()), d_gate(gate.size());
  const SpanKnotParams params = {{sketch.data(), d_sketch.data(), 3 * shape.rank, shape.d_model},
                                 {back.data(), d_back.data(), shape.width, shape.rank},
                                 {gate.data(), d_gate.data(), 1, shape.width}};
  std::vector<int32_t> tokens(kRows);
  for (int i = 0; i < kRows; ++i) tokens[static_cast<size_t>(i)] = i * 7919 % 2000;
  const int64_t stride = SpanKnotStateFloats(shape.bits);
  std::vector<float> start(static_cast<size_t>(kSeqs * stride)), end(start.size());
  TrainBatch batch{.n_seqs = kSeqs, .seq_len = kLen, .tokens = tokens.data()};
  batch.start = start.data(), batch.end = end.data(), batch.state_stride = stride;
  ExecContext exec(1);
  Tape tape(&exec);
  SketchFieldBuilder builder(shape.bits, 1, {.memory = 1.0f});
  constexpr double kScale = 1.0 / kRows;
  const double fields =
      MicrosPerCall([&](int t) { builder.Build(&exec, batch, static_cast<uint64_t>(t)); }, 2) *
      kScale;
  const SketchFields given = builder.Build(&exec, batch, 0);
  const auto forward = [&] {
    Var* xn = tape.New(kRows, shape.d_model);
    std::copy(in.begin(), in.end(), xn->value);
    return SpanKnotBranch(&tape, batch, *knot, params, given, xn, 0);
  };
  const double ahead = MicrosPerCall(
                           [&](int) {
                             forward();
                             tape.Reset();
                           },
                           2) *
                       kScale;
  const double both = MicrosPerCall(
                          [&](int) {
                            Var* y = forward();
                            bool accumulate = false;
                            std::copy(dy.begin(), dy.end(), tape.GradTarget(y, &accumulate));
                            tape.Backward();
                            tape.Reset();
                          },
                          2) *
                      kScale;
  std::printf(
      "training bits %4d rank %2d d_model %4d  forward %6.1f  backward %6.1f  memory fields"
      " %5.1f\n",
      shape.bits, shape.rank, shape.d_model, ahead, both - ahead, fields);
}

}  // namespace
}  // namespace chimera

int main() {
  using chimera::Isa;
  std::printf("microseconds per token, one core; the codebook product uses the best of this CPU\n");
  for (const Isa isa : chimera::kEveryIsa) {
    if (!chimera::Runs(isa)) continue;
    chimera::Bench({256, 256, 1024, 16}, isa);
    chimera::Bench({1024, 1024, 1024, 64}, isa);
    chimera::Bench({2560, 2560, 8192, 64}, isa);
  }
  chimera::BenchTraining({256, 256, 512, 16});
  chimera::BenchTraining({256, 256, 1024, 16});
  chimera::BenchTraining({512, 512, 2048, 32});
  return 0;
}
