// Times the Titans layer: one training step of the op (forward and backward) at the width of the
// nano model, and serving steps at two sizes on one core. Prints the fastest of several runs.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <vector>

#include "base/exec_context.h"
#include "layers/titans_op.h"
#include "tensor/tape.h"

namespace chimera {
namespace {

using Floats = std::vector<float>;

Floats Noise(int64_t n, float scale) {
  Floats x(static_cast<size_t>(n));
  uint32_t state = 12345;
  for (float& value : x) {
    state = state * 1664525u + 1013904223u;
    value = scale * (static_cast<float>(state >> 8) / 8388608.0f - 1.0f);
  }
  return x;
}

template <typename Work>
double Milliseconds(int runs, const Work& work) {
  double best = 1e30;
  for (int run = 0; run < runs; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::milli> spent =
        std::chrono::steady_clock::now() - begin;
    best = std::fmin(best, spent.count());
  }
  return best;
}

struct Param {
  Param(int r, int c, float scale) : value(Noise(int64_t{r} * c, scale)), grad(value.size()) {
    param = {value.data(), grad.data(), r, c};
  }
  Floats value, grad;
  FloatParam param;
};

struct Layer {
  explicit Layer(const TitansShape& s)
      : gate_bias(1, 3 * s.n_heads, 0.5f),
        w1(s.width(), kHeadDim, 0.8f),
        w2(s.width(), kHeadDim, 0.1f),
        slot_k(s.persistent_slots, s.kv_width(), 1),
        slot_v(s.persistent_slots, s.kv_width(), 1),
        head_norm(1, kHeadDim, 1) {
    params = {s, gate_bias.param, w1.param, w2.param, slot_k.param, slot_v.param, head_norm.param};
    serving = {s,
               gate_bias.value.data(),
               w1.value.data(),
               w2.value.data(),
               slot_k.value.data(),
               slot_v.value.data(),
               head_norm.value.data()};
  }
  Param gate_bias, w1, w2, slot_k, slot_v, head_norm;
  TitansParams params;
  TitansLayer serving;
};

void BenchTraining(const TitansShape& s, int n_seqs, int seq_len, int threads, bool first_order) {
  Layer layer(s);
  ExecContext exec(threads);
  Tape tape(&exec);
  const int64_t rows = int64_t{n_seqs} * seq_len, floats = TitansStateFloats(s);
  const Floats proj = Noise(rows * 4 * s.width(), 1), kv = Noise(rows * 2 * s.kv_width(), 1);
  const Floats gates = Noise(rows * 3 * s.n_heads, 1), dy = Noise(rows * s.width(), 1);
  Floats start(static_cast<size_t>(n_seqs * floats)), end(start);
  std::vector<uint8_t> reset(static_cast<size_t>(rows));
  TrainBatch batch;
  batch.n_seqs = n_seqs, batch.seq_len = seq_len, batch.reset = reset.data();
  batch.state_stride = floats;
  double forward = 1e30, cpu = 1e30;
  const double both = Milliseconds(12, [&] {
    const std::clock_t before = std::clock();
    batch.start = start.data(), batch.end = end.data();
    tape.Reset();
    const auto input = [&](const Floats& x, int64_t cols) {
      Var* var = tape.New(rows, cols);
      std::copy(x.begin(), x.end(), var->value);
      return var;
    };
    Var *p = input(proj, 4 * s.width()), *k = input(kv, 2 * s.kv_width());
    Var* g = input(gates, 3 * s.n_heads);
    TitansOutput out = {};
    forward = std::fmin(forward, Milliseconds(1, [&] {
                          out = TitansMixer(&tape, batch, layer.params,
                                            {.first_order = first_order}, p, k, g, [&](Var* means) {
                                              Var* y = tape.New(means->rows, 2 * s.kv_width());
                                              std::copy_n(kv.begin(), y->size(), y->value);
                                              return y;
                                            });
                        }));
    bool accumulate = false;
    std::copy(dy.begin(), dy.end(), tape.GradTarget(out.y, &accumulate));
    tape.Backward();
    cpu = std::fmin(cpu, 1e3 * static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC);
    start.swap(end);  // the next step goes on: full ring, carried memory
  });
  std::printf(
      "train  heads %2d kv %d window %4d %s%s  %d x %d tokens, %d threads: forward %6.2f ms, "
      "both with copies %6.2f ms, processor time %6.2f ms\n",
      s.n_heads, s.kv_heads, s.window_len, s.decay_linear ? "decay " : "",
      first_order ? "first order " : "", n_seqs, seq_len, threads, forward, both, cpu);
}

void BenchServing(const TitansShape& s) {
  Layer layer(s);
  const int tokens = 2048;
  const Floats in = Noise(64 * s.in_width(), 1), gates = Noise(64 * 3 * s.n_heads, 1);
  Floats state(static_cast<size_t>(TitansStateFloats(s))), y(static_cast<size_t>(s.width()));
  Floats block(static_cast<size_t>(3 * s.width())), node(static_cast<size_t>(TitansNodeFloats(s)));
  std::vector<double> spent;
  for (int t = 0; t < tokens; ++t) {
    spent.push_back(Milliseconds(1, [&] {
      TitansStep(
          layer.serving, TitansUse::kWrite, t, &in[size_t(t % 64 * s.in_width())],
          &gates[size_t(t % 64 * 3 * s.n_heads)],
          [&](const float* mean, float* k, float* v) {
            std::copy_n(mean, s.kv_width(), k);
            std::copy_n(mean, s.kv_width(), v);
          },
          block.data(), node.data(), state.data(), state.data() + TitansMemoryFloats(s), y.data());
    }));
  }
  double sum = 0, settle = 1e30, plain = 1e30;
  for (int t = tokens / 2; t < tokens; ++t) {
    sum += spent[size_t(t)];
    double& best = t % kTitansChunk == 0 ? settle : plain;
    best = std::fmin(best, spent[size_t(t)]);
  }
  std::printf(
      "serve  heads %2d kv %d window %4d %s full ring: mean %.3f ms a token, best plain %.3f ms, "
      "best with a write %.3f ms\n",
      s.n_heads, s.kv_heads, s.window_len, s.decay_linear ? "decay" : "", sum / (tokens / 2), plain,
      settle);
}

}  // namespace
}  // namespace chimera

int main() {
  using chimera::TitansShape;
  TitansShape nano = {.n_heads = 4, .kv_heads = 4, .window_len = 256};
  for (const int threads : {1, 2}) chimera::BenchTraining(nano, 8, 256, threads, false);
  chimera::BenchTraining(nano, 8, 256, 2, true);
  nano.kv_heads = 1;
  chimera::BenchTraining(nano, 8, 256, 2, false);
  nano.decay_linear = true;
  chimera::BenchTraining(nano, 8, 256, 2, false);
  chimera::BenchServing({.n_heads = 4, .kv_heads = 4, .window_len = 256});
  chimera::BenchServing({.n_heads = 40, .kv_heads = 8, .window_len = 1024});
  chimera::BenchServing({.n_heads = 40, .kv_heads = 8, .decay_linear = true});
  return 0;
}
