#include "model/step.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "layers/gated_delta.h"
#include "layers/low_rank.h"
#include "layers/mlstm.h"
#include "layers/rms_norm.h"
#include "layers/short_conv.h"
#include "layers/swiglu.h"
#include "model/dense.h"
#include "tensor/vec.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

// Multiply-adds below which waking other threads costs more than it saves.
constexpr int64_t kParallelMacs = 8 << 20;

}  // namespace

// Buffers for kPrefillMax tokens, and the verbs of a layer over them.
struct Stepper::Scratch {
  Scratch(const Model& m, ExecContext* e) : model(m), c(m.shape()), exec(e) {
    const int wide = std::max({4 * c.n_heads * c.head_dim, 2 * c.d_ff, c.d_model});
    const auto tokens = static_cast<size_t>(kPrefillMax);
    for (auto* buffer : {&x, &normed, &delta}) buffer->resize(tokens * size_t(Widest()));
    projected.resize(tokens * static_cast<size_t>(wide));
    mixed.resize(tokens * static_cast<size_t>(Widest()));
    gates.resize(tokens * static_cast<size_t>(2 * c.n_heads));
    q.resize(tokens * static_cast<size_t>(Widest()));
    scales.resize(tokens * static_cast<size_t>(Widest() / kActBlock));
    sums.resize(scales.size());
    low.resize(tokens * kLowRank);
  }
  int Widest() const { return std::max({c.d_model, c.d_ff, c.n_heads * c.head_dim}); }

  // normed = gamma * RMSNorm(in), and its int8 form when the model is quantised.
  void Norm(const float* in, const float* gamma, int n, int cols) {
    RmsNorm().forward(in, gamma, n, cols, normed.data(), nullptr);
    Quantize(n, cols);
  }
  void Quantize(int n, int cols) {
    if (c.quant.enabled) {
      QuantizeActivations(normed.data(), n, cols, q.data(), scales.data(), sums.data());
    }
  }

  // out[t][row] = w * normed[t], with the correction of the map when it has one; the quantised form
  // must be that of `normed`.
  void Linear(const LinearView& w, int n, float* out) {
    const int tiles = RowTiles(w.rows);
    if (w.dense != nullptr) {
      DenseRows(w.dense, w.rows, w.cols, normed.data(), n, out);
      return;
    }
    if (w.low_rank.a != nullptr) {
      LowRank().down(w.low_rank.a, w.low_rank.gate, w.cols, normed.data(), n, low.data());
    }
    auto part = [&](int begin, int end) {
      if (n == 1) {
        TernaryGemv(w.ternary, begin, end, q.data(), scales.data(), sums.data(), out);
      } else {
        TernaryGemm(w.ternary, begin, end, n, q.data(), scales.data(), sums.data(), out, w.rows);
      }
      if (w.low_rank.a != nullptr) {
        LowRank().up(w.low_rank.lanes, w.rows, begin, end, low.data(), n, out, w.rows);
      }
    };
    Tiles(tiles, int64_t{w.rows} * w.cols * n, part);
  }

  // Runs part(begin, end) over row tiles, on several threads when it is worth it. Every row is its
  // own sum, so the cut changes nothing.
  template <typename Part>
  void Tiles(int tiles, int64_t macs, const Part& part) {
    if (exec->threads() == 1 || macs < kParallelMacs) {
      part(0, tiles);
      return;
    }
    const int64_t parts = int64_t{exec->threads()} * 4;
    exec->ParallelFor(parts, [&](int64_t i) {
      part(static_cast<int>(tiles * i / parts), static_cast<int>(tiles * (i + 1) / parts));
    });
  }

  void GatedDeltaLayer(const GatedDeltaWeights& w, int n, float* state) {
    const int heads = c.n_heads, width = heads * kHeadDim;
    Linear(w.w_in, n, projected.data());
    DenseRows(w.w_gates, 2 * heads, c.d_model, normed.data(), n, gates.data());
    float* matrices = state + kConvState * 3 * width;
    for (int t = 0; t < n; ++t) {
      float* qkv = projected.data() + int64_t{t} * 4 * width;
      float* gate = gates.data() + t * 2 * heads;
      ShortConv().step(qkv, w.conv, state, 3 * width, 3 * width, qkv);
      GatedDelta().l2norm(qkv, 2 * heads, qkv, nullptr);
      GatedDelta().gates(gate, gate + heads, w.a_log, w.dt_bias, 1, heads, gate, gate + heads);
      for (int h = 0; h < heads; ++h) {
        alpha_sum += static_cast<double>(Exp1(gate[h]));
        beta_sum += static_cast<double>(gate[heads + h]);
        const float* at = qkv + h * kHeadDim;
        GatedDelta().step(matrices + h * kHeadState, at, at + width, at + 2 * width, gate[h],
                          gate[heads + h], mixed.data() + t * width + h * kHeadDim);
      }
      GatedDelta().head_norm(mixed.data() + t * width, qkv + 3 * width, w.head_norm, heads,
                             mixed.data() + t * width, nullptr);
    }
    gate_count += int64_t{n} * heads;
    Norm(mixed.data(), w.out_norm, n, width);
    Linear(w.w_out, n, delta.data());
  }

  void MlstmLayer(const MlstmWeights& w, int n, float* state) {
    const int heads = c.n_heads, width = heads * kHeadDim;
    Linear(w.w_in, n, projected.data());
    DenseRows(w.w_gates, 2 * heads, c.d_model, normed.data(), n, gates.data());
    float* vectors = state + heads * kHeadState;
    float* frames = vectors + heads * kHeadDim;
    for (int t = 0; t < n; ++t) {
      const float* qkv = projected.data() + int64_t{t} * 4 * width;
      float* gate = gates.data() + t * 2 * heads;
      Mlstm().gate_cap(gate, w.gate_bias, 1, 2 * heads, gate);
      for (int h = 0; h < heads; ++h) {
        const float* at = qkv + h * kHeadDim;
        Mlstm().step(state + h * kHeadState, vectors + h * kHeadDim, frames + h, at, at + width,
                     at + 2 * width, gate[h], gate[heads + h],
                     mixed.data() + t * width + h * kHeadDim);
      }
      Mlstm().head_norm(mixed.data() + t * width, qkv + 3 * width, w.head_norm, 1, heads,
                        mixed.data() + t * width, nullptr);
    }
    Norm(mixed.data(), w.out_norm, n, width);
    Linear(w.w_out, n, delta.data());
  }

  void Ffn(const SwigluWeights& w, int n) {
    Linear(w.w_in, n, projected.data());
    for (int t = 0; t < n; ++t) {
      const float* gate = projected.data() + int64_t{t} * 2 * c.d_ff;
      Swiglu().forward(gate, gate + c.d_ff, c.d_ff, mixed.data() + int64_t{t} * c.d_ff);
    }
    Norm(mixed.data(), w.out_norm, n, c.d_ff);
    Linear(w.w_out, n, delta.data());
  }

  void AddDelta(int n) {
    for (int i = 0; i < n * c.d_model; ++i) {
      x[static_cast<size_t>(i)] = x[static_cast<size_t>(i)] + delta[static_cast<size_t>(i)];
    }
  }

  const Model& model;
  const ModelConfig& c;
  ExecContext* exec;
  std::vector<float> x, normed, delta, projected, mixed, gates;
  std::vector<int8_t> q;
  std::vector<float> scales, low;
  std::vector<int32_t> sums;
  double alpha_sum = 0, beta_sum = 0;  // of the gates, for telemetry only
  int64_t gate_count = 0;
};

Stepper::Stepper(const Model& model, ExecContext* exec)
    : scratch_(std::make_unique<Scratch>(model, exec)) {}

Stepper::~Stepper() = default;

std::span<const float> Stepper::Step(BraidState* state, int32_t token) {
  return Prefill(state, {&token, 1});
}

std::span<const float> Stepper::Prefill(BraidState* state, std::span<const int32_t> tokens) {
  Scratch& s = *scratch_;
  const Weights& weights = s.model.weights();
  const int n = static_cast<int>(tokens.size()), d = s.c.d_model;
  CHIMERA_CHECK(n >= 1 && n <= kPrefillMax);
  for (int t = 0; t < n; ++t) {
    const int32_t token = tokens[static_cast<size_t>(t)];
    CHIMERA_CHECK(token >= 0 && token < s.c.vocab_size);
    float* row = s.x.data() + int64_t{t} * d;
    if (s.c.quant.enabled) {
      DequantizeInt8Row(weights.embedding(), token, row);
    } else {
      std::memcpy(row, weights.dense_embedding() + int64_t{token} * d,
                  static_cast<size_t>(d) * sizeof(float));
    }
  }
  for (int i = 0; i < s.c.n_layers; ++i) {
    const LayerWeights& layer = weights.layers()[static_cast<size_t>(i)];
    s.Norm(s.x.data(), layer.mixer_norm, n, d);
    if (layer.kind == LayerKind::kGatedDelta) {
      s.GatedDeltaLayer(layer.gd, n, state->layer(i).data());
    } else {
      s.MlstmLayer(layer.xm, n, state->layer(i).data());
    }
    s.AddDelta(n);
    s.Norm(s.x.data(), layer.ffn_norm, n, d);
    s.Ffn(layer.ffn, n);
    s.AddDelta(n);
  }
  RmsNorm().forward(s.x.data(), weights.final_norm(), n, d, s.normed.data(), nullptr);
  return {s.normed.data(), static_cast<size_t>(n) * static_cast<size_t>(d)};
}

void Stepper::Logits(std::span<const float> hidden, int n_rows, std::span<float> logits) {
  Scratch& s = *scratch_;
  const int d = s.c.d_model, vocab = s.c.vocab_size;
  CHIMERA_CHECK(n_rows <= kPrefillMax && hidden.size() == size_t(n_rows) * size_t(d) &&
                logits.size() == size_t(n_rows) * size_t(vocab));
  if (hidden.data() != s.normed.data()) {
    std::memcpy(s.normed.data(), hidden.data(), hidden.size_bytes());
  }
  if (!s.c.quant.enabled) {
    DenseRows(s.model.weights().dense_embedding(), vocab, d, s.normed.data(), n_rows,
              logits.data());
    return;
  }
  s.Quantize(n_rows, d);
  s.Tiles(RowTiles(vocab), int64_t{vocab} * d * n_rows, [&](int begin, int end) {
    Int8Gemm(s.model.weights().embedding(), begin, end, n_rows, s.q.data(), s.scales.data(),
             logits.data(), vocab);
  });
}

GateMeans Stepper::TakeGateMeans() {
  Scratch& s = *scratch_;
  if (s.gate_count == 0) return {};
  const auto count = static_cast<double>(s.gate_count);
  const GateMeans means{s.alpha_sum / count, s.beta_sum / count};
  s.alpha_sum = s.beta_sum = 0;
  s.gate_count = 0;
  return means;
}

}  // namespace chimera
