#include "model/step.h"

#include <array>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "layers/loop.h"
#include "layers/rms_norm.h"
#include "model/dense.h"
#include "model/layer_step.h"

namespace chimera {

// Buffers for kPrefillMax tokens, and the passes over them.
struct Stepper::Scratch {
  Scratch(const Model& m, ExecContext* exec)
      : model(m), c(m.shape()), layer(m.shape(), kPrefillMax, exec) {
    const size_t floats = static_cast<size_t>(kPrefillMax) * static_cast<size_t>(c.d_model);
    for (auto* buffer : {&x, &hidden}) buffer->resize(floats);
    if (c.loop.enabled) {
      for (auto* buffer : {&e, &h}) buffer->resize(floats);
    }
  }

  void Embed(std::span<const int32_t> tokens) {
    const Weights& weights = model.weights();
    for (size_t t = 0; t < tokens.size(); ++t) {
      CHIMERA_CHECK(tokens[t] >= 0 && tokens[t] < c.vocab_size);
      float* row = x.data() + t * RowFloats();
      if (c.quant.enabled) {
        DequantizeInt8Row(weights.embedding(), tokens[t], row);
      } else {
        std::memcpy(row, weights.dense_embedding() + int64_t{tokens[t]} * c.d_model, RowBytes());
      }
    }
  }

  void Layers(BraidState* state, int first, int last, int iteration, int n) {
    for (int i = first; i <= last; ++i) {
      layer.Run(model.weights().layers()[static_cast<size_t>(i)], n,
                state->layer(i, iteration).data(), x.data());
    }
  }

  // math-backbone 4.2: u = Abar h + Bbar e, h = layers(u). x is the output of the prelude on entry,
  // h of every token on return. A token that stops holds its states of later iterations.
  void RunLoop(BraidState* state, int n, bool exit_early) {
    const LoopWeights& w = model.weights().loop();
    RmsNorm().forward(x.data(), w.norm, n, c.d_model, e.data(), nullptr);
    for (int iteration = 0; ; ++iteration) {
      int running = 0;
      for (int t = 0; t < n; ++t) {
        if (loops[size_t(t)] > iteration) active[size_t(running++)] = t;
      }
      if (running == 0) break;
      for (int i = 0; i < running; ++i) {
        const size_t at = static_cast<size_t>(active[size_t(i)]) * RowFloats();
        Loop().inject(iteration == 0 ? nullptr : h.data() + at, e.data() + at, w.abar.data(),
                      w.bbar.data(), 1, c.d_model, x.data() + static_cast<size_t>(i) * RowFloats());
      }
      Layers(state, c.loop.first_layer, c.loop.last_layer, iteration, running);
      for (int i = 0; i < running; ++i) {
        const int t = active[size_t(i)];
        const float* after = x.data() + static_cast<size_t>(i) * RowFloats();
        float* before = h.data() + static_cast<size_t>(t) * RowFloats();
        // Only a token that may stop, and the last one for telemetry, need the change.
        if (iteration > 0 && (exit_early || t == n - 1)) {
          Loop().relative_change(after, before, 1, c.d_model, &residual);
          if (exit_early && residual < c.loop.exit_threshold) loops[size_t(t)] = uint8_t(iteration + 1);
        }
        std::memcpy(before, after, RowBytes());
      }
    }
    std::memcpy(x.data(), h.data(), static_cast<size_t>(n) * RowBytes());
  }

  std::span<const float> Run(BraidState* state, std::span<const int32_t> tokens, bool exit_early) {
    const int n = static_cast<int>(tokens.size());
    residual = 0;
    Embed(tokens);
    if (c.loop.enabled) {
      Layers(state, 0, c.loop.first_layer - 1, 0, n);
      RunLoop(state, n, exit_early);
      Layers(state, c.loop.last_layer + 1, c.n_layers - 1, 0, n);
    } else {
      Layers(state, 0, c.n_layers - 1, 0, n);
    }
    loops_run = loops[size_t(n - 1)];
    state->set_position(state->position() + n);
    RmsNorm().forward(x.data(), model.weights().final_norm(), n, c.d_model, hidden.data(), nullptr);
    return std::span<const float>(hidden).first(static_cast<size_t>(n) * RowFloats());
  }

  size_t RowFloats() const { return static_cast<size_t>(c.d_model); }
  size_t RowBytes() const { return RowFloats() * sizeof(float); }

  const Model& model;
  const ModelConfig& c;
  LayerStep layer;
  std::vector<float> x, hidden;
  std::vector<float> e, h;                 // of the loop: its feed and its state
  std::array<uint8_t, kPrefillMax> loops;  // iterations of each token
  std::array<int, kPrefillMax> active;     // tokens of the running iteration
  int loops_run = 1;
  float residual = 0;
};

Stepper::Stepper(const Model& model, ExecContext* exec)
    : scratch_(std::make_unique<Scratch>(model, exec)) {}

Stepper::~Stepper() = default;

std::span<const float> Stepper::Step(BraidState* state, int32_t token, int loops, bool exit_early) {
  CHIMERA_CHECK(loops >= 0 && loops <= state->loops());
  scratch_->loops[0] = static_cast<uint8_t>(loops == 0 ? state->loops() : loops);
  return scratch_->Run(state, {&token, 1}, exit_early);
}

std::span<const float> Stepper::Prefill(BraidState* state, std::span<const int32_t> tokens,
                                        std::span<const uint8_t> loops) {
  CHIMERA_CHECK(!tokens.empty() && tokens.size() <= size_t{kPrefillMax} &&
                loops.size() == tokens.size());
  for (size_t t = 0; t < loops.size(); ++t) {
    CHIMERA_CHECK(loops[t] >= 1 && loops[t] <= state->loops());
    scratch_->loops[t] = loops[t];
  }
  return scratch_->Run(state, tokens, false);
}

std::span<const float> Stepper::Prefill(BraidState* state, std::span<const int32_t> tokens,
                                        int loops) {
  CHIMERA_CHECK(loops >= 0 && loops <= state->loops());
  std::array<uint8_t, kPrefillMax> each;
  each.fill(static_cast<uint8_t>(loops == 0 ? state->loops() : loops));
  CHIMERA_CHECK(!tokens.empty() && tokens.size() <= each.size());
  return Prefill(state, tokens, std::span<const uint8_t>(each).first(tokens.size()));
}

int Stepper::loops_run() const { return scratch_->loops_run; }
float Stepper::residual() const { return scratch_->residual; }

void Stepper::Logits(std::span<const float> hidden, int n_rows, std::span<float> logits) {
  Scratch& s = *scratch_;
  const int d = s.c.d_model, vocab = s.c.vocab_size;
  CHIMERA_CHECK(n_rows <= kPrefillMax && hidden.size() == size_t(n_rows) * size_t(d) &&
                logits.size() == size_t(n_rows) * size_t(vocab));
  if (!s.c.quant.enabled) {
    DenseRows(s.model.weights().dense_embedding(), vocab, d, hidden.data(), n_rows, logits.data());
    return;
  }
  s.layer.linear().Load(hidden.data(), n_rows, d);
  s.layer.linear().Int8Rows(s.model.weights().embedding(), n_rows, logits.data());
}

GateMeans Stepper::TakeGateMeans() {
  GateSums& sums = scratch_->layer.gate_sums();
  if (sums.count == 0) return {};
  const auto count = static_cast<double>(sums.count);
  const GateMeans means{sums.alpha / count, sums.beta / count};
  sums = {};
  return means;
}

}  // namespace chimera
