// Times one token of the span knot on one core, with its parts: projection, codebook, relaxation,
// readout. Prints the fastest of several runs in microseconds a token, and what the layer costs.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <vector>

#include "base/cpu.h"
#include "layers/span_knot.h"

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
double MicrosPerToken(const Work& work) {
  double best = 1e30;
  for (int run = 0; run < 25; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    for (int t = 0; t < kTokens; ++t) work(t);
    const std::chrono::duration<double, std::micro> spent =
        std::chrono::steady_clock::now() - begin;
    best = std::fmin(best, spent.count() / kTokens);
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
  const double step = MicrosPerToken([&](int t) {
    knot.Step(weights, {}, &xn[static_cast<size_t>(t) * d_model], state.data(), state.data(),
              &scratch, y.data());
  });
  const SpanKnotKernels& kernels = knot.kernels();
  const double project = MicrosPerToken([&](int t) {
    kernels.project(sketch.data(), 3 * shape.rank, shape.d_model,
                    &xn[static_cast<size_t>(t) * d_model], scratch.z.data());
  });
  const double back_out = MicrosPerToken([&](int) {
    kernels.feed_back(back.data(), gate.data(), scratch.readout.data(), shape.width, shape.rank,
                      y.data());
  });
  const double readout = MicrosPerToken([&](int) {
    kernels.readout(knot.plane(0), shape.rank, shape.bits, scratch.relaxed.data(), 1.0f,
                    scratch.readout.data());
  });
  std::printf(
      "%-8s bits %4d rank %2d d_model %4d  step %6.1f  projections %6.1f  rest %6.1f"
      "  (readout %5.1f)\n",
      IsaName(isa), shape.bits, shape.rank, shape.d_model, step, project + back_out,
      step - project - back_out, readout);
}

}  // namespace
}  // namespace chimera

int main() {
  using chimera::Isa;
  std::printf("microseconds per token, one core; the codebook product uses the best of this CPU\n");
  for (const Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (isa > chimera::BestIsa()) break;
    chimera::Bench({256, 256, 1024, 16}, isa);
    chimera::Bench({1024, 1024, 1024, 64}, isa);
    chimera::Bench({2560, 2560, 8192, 64}, isa);
  }
  return 0;
}
