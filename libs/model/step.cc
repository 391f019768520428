#include "model/step.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "base/check.h"
#include "layers/loop.h"
#include "layers/rms_norm.h"
#include "model/dense.h"
#include "model/layer_step.h"

namespace chimera {

namespace {

constexpr int kWindow = 16;  // verify windows and memory writes end at its multiples

// A TM layer inside the loop reads the memory of the first iteration as it was before the window.
bool NeedsWindows(const ModelConfig& c) {
  for (int i = c.loop.first_layer; c.loop.enabled && i <= c.loop.last_layer; ++i) {
    if (c.layers[static_cast<size_t>(i)] == LayerKind::kTitans) return true;
  }
  return false;
}

// What a window leaves in every layer and iteration until a path is committed.
struct TreeRecords {
  TreeRecords(const ModelConfig& c, int loops) : config(c) {
    for (int iteration = 0; iteration < loops; ++iteration) {
      for (int i = 0; i < c.n_layers; ++i) {
        if (iteration > 0 && !c.loop.Contains(i)) continue;
        const LayerKind kind = c.layers[static_cast<size_t>(i)];
        floats.emplace_back(static_cast<size_t>(TreeRecordFloats(c, kind, kTreeNodesMax)));
      }
    }
  }
  float* At(int layer, int iteration) {
    const int looped = config.loop.last_layer - config.loop.first_layer + 1;
    const int index = iteration == 0 ? layer
                                     : config.n_layers + (iteration - 1) * looped +
                                           (layer - config.loop.first_layer);
    return floats[static_cast<size_t>(index)].data();
  }

  const ModelConfig& config;
  std::vector<std::vector<float>> floats;
};

}  // namespace

// Buffers for kPrefillMax tokens, and the passes over them.
struct Stepper::Scratch {
  Scratch(const Model& m, ExecContext* exec)
      : model(m),
        c(m.shape()),
        windows(NeedsWindows(m.shape())),
        layer(m.shape(), m.knot(), kPrefillMax, exec) {
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

  // Rows of x through some layers; positions hold those of the rows.
  void Layers(BraidState* state, int first, int last, int iteration, int n) {
    for (int i = first; i <= last; ++i) {
      const LayerWeights& weights = model.weights().layers()[static_cast<size_t>(i)];
      const LayerState at = StateAt(state, i, iteration);
      if (tree != nullptr) {
        layer.RunTree(weights, *tree, at, records->At(i, iteration), x.data());
      } else {
        layer.Run(weights, n, at, x.data());
      }
    }
  }

  LayerState StateAt(BraidState* state, int i, int iteration) const {
    return {state->layer(i, iteration).data(), state->memory(i).data(),
            iteration == 0 ? TitansUse::kWrite : TitansUse::kReadOnly, running_positions.data()};
  }

  // math-backbone 4.2: u = Abar h + Bbar e, h = layers(u). x is the output of the prelude on entry,
  // h of every token on return. A token that stops holds its states of later iterations.
  void RunLoop(BraidState* state, int n, bool exit_early) {
    const LoopWeights& w = model.weights().loop();
    RmsNorm().forward(x.data(), w.norm, n, c.d_model, e.data(), nullptr);
    for (int iteration = 0;; ++iteration) {
      int running = 0;
      for (int t = 0; t < n; ++t) {
        if (loops[size_t(t)] > iteration) active[size_t(running++)] = t;
      }
      if (running == 0) break;
      for (int i = 0; i < running; ++i) {
        const auto t = static_cast<size_t>(active[size_t(i)]);
        running_positions[size_t(i)] = positions[t];
        Loop().inject(iteration == 0 ? nullptr : h.data() + t * RowFloats(),
                      e.data() + t * RowFloats(), w.abar.data(), w.bbar.data(), 1, c.d_model,
                      x.data() + static_cast<size_t>(i) * RowFloats());
      }
      Layers(state, c.loop.first_layer, c.loop.last_layer, iteration, running);
      for (int i = 0; i < running; ++i) {
        const int t = active[size_t(i)];
        const float* after = x.data() + static_cast<size_t>(i) * RowFloats();
        float* before = h.data() + static_cast<size_t>(t) * RowFloats();
        // Only a token that may stop, and the last one for telemetry, need the change.
        if (iteration > 0 && (exit_early || t == n - 1)) {
          Loop().relative_change(after, before, 1, c.d_model, &residual);
          if (exit_early && residual < c.loop.exit_threshold) {
            loops[size_t(t)] = static_cast<uint8_t>(iteration + 1);
          }
        }
        std::memcpy(before, after, RowBytes());
      }
    }
    running_positions = positions;
    std::memcpy(x.data(), h.data(), static_cast<size_t>(n) * RowBytes());
  }

  // Tokens whose positions and loops are set; their hidden vectors go to out.
  void Pass(BraidState* state, std::span<const int32_t> tokens, bool exit_early, float* out) {
    const int n = static_cast<int>(tokens.size());
    residual = 0;
    running_positions = positions;
    Embed(tokens);
    if (c.loop.enabled) {
      Layers(state, 0, c.loop.first_layer - 1, 0, n);
      RunLoop(state, n, exit_early);
      Layers(state, c.loop.last_layer + 1, c.n_layers - 1, 0, n);
    } else {
      Layers(state, 0, c.n_layers - 1, 0, n);
    }
    loops_run = loops[size_t(n - 1)];
    RmsNorm().forward(x.data(), model.weights().final_norm(), n, c.d_model, out, nullptr);
  }

  // The tokens of a chain, `each` iterations a token; the state moves on.
  std::span<const float> Chain(BraidState* state, std::span<const int32_t> tokens,
                               std::span<const uint8_t> each, bool exit_early) {
    tree = nullptr;
    for (size_t begin = 0; begin < tokens.size();) {
      const int64_t first = state->position();
      size_t n = tokens.size() - begin;
      if (windows) n = std::min(n, static_cast<size_t>(kWindow - first % kWindow));
      for (size_t t = 0; t < n; ++t) {
        CHIMERA_CHECK(each[begin + t] >= 1 && each[begin + t] <= state->loops());
        loops[t] = each[begin + t];
        positions[t] = first + static_cast<int64_t>(t);
      }
      Pass(state, tokens.subspan(begin, n), exit_early, hidden.data() + begin * RowFloats());
      state->set_position(first + static_cast<int64_t>(n));
      begin += n;
    }
    return std::span<const float>(hidden).first(tokens.size() * RowFloats());
  }

  size_t RowFloats() const { return static_cast<size_t>(c.d_model); }
  size_t RowBytes() const { return RowFloats() * sizeof(float); }

  const Model& model;
  const ModelConfig& c;
  const bool windows;  // passes end at positions divisible by 16
  LayerStep layer;
  std::vector<float> x, hidden;
  std::vector<float> e, h;                 // of the loop: its feed and its state
  std::array<uint8_t, kPrefillMax> loops;  // iterations of each token
  std::array<int, kPrefillMax> active;     // tokens of the running iteration
  std::array<int64_t, kPrefillMax> positions, running_positions;
  std::optional<TokenTree> window;  // the last one
  const TokenTree* tree = nullptr;  // the running pass is a tree
  std::unique_ptr<TreeRecords> records;
  int records_loops = 0;
  int loops_run = 1;
  float residual = 0;
};

Stepper::Stepper(const Model& model, ExecContext* exec)
    : scratch_(std::make_unique<Scratch>(model, exec)) {}

Stepper::~Stepper() = default;

std::span<const float> Stepper::Step(BraidState* state, int32_t token, int loops, bool exit_early) {
  const auto each = static_cast<uint8_t>(loops == 0 ? state->loops() : loops);
  return scratch_->Chain(state, {&token, 1}, {&each, 1}, exit_early);
}

std::span<const float> Stepper::Prefill(BraidState* state, std::span<const int32_t> tokens,
                                        std::span<const uint8_t> loops) {
  CHIMERA_CHECK(!tokens.empty() && tokens.size() <= size_t{kPrefillMax} &&
                loops.size() == tokens.size());
  return scratch_->Chain(state, tokens, loops, false);
}

std::span<const float> Stepper::Prefill(BraidState* state, std::span<const int32_t> tokens,
                                        int loops) {
  std::array<uint8_t, kPrefillMax> each;
  each.fill(static_cast<uint8_t>(loops == 0 ? state->loops() : loops));
  CHIMERA_CHECK(tokens.size() <= each.size());
  return Prefill(state, tokens, std::span<const uint8_t>(each).first(tokens.size()));
}

std::span<const float> Stepper::Tree(BraidState* state, const TokenTree& tree,
                                     std::span<const int32_t> tokens, int loops) {
  Scratch& s = *scratch_;
  const int each = loops == 0 ? state->loops() : loops;
  CHIMERA_CHECK(static_cast<int>(tokens.size()) == tree.n_nodes() && each >= 1 &&
                each <= state->loops());
  if (s.records_loops < each) {
    s.records = std::make_unique<TreeRecords>(s.c, each);
    s.records_loops = each;
  }
  s.window = tree;
  s.tree = &*s.window;
  s.loops.fill(static_cast<uint8_t>(each));
  for (int i = 0; i < tree.n_nodes(); ++i) {
    CHIMERA_CHECK(state->position() % kWindow + tree.depth(i) < kWindow);
    s.positions[size_t(i)] = state->position() + tree.depth(i);
  }
  s.Pass(state, tokens, false, s.hidden.data());
  return std::span<const float>(s.hidden).first(tokens.size() * s.RowFloats());
}

void Stepper::SetFields(const SpanFields& fields) { scratch_->layer.set_fields(fields); }

void Stepper::CommitTree(BraidState* state, int leaf) {
  Scratch& s = *scratch_;
  CHIMERA_CHECK(s.tree != nullptr && leaf >= 0 && leaf < s.tree->n_nodes() &&
                s.positions[0] == state->position());
  const int loops = s.c.loop.enabled ? s.loops[0] : 1;
  for (int iteration = 0; iteration < loops; ++iteration) {
    for (int i = 0; i < s.c.n_layers; ++i) {
      if (iteration > 0 && !s.c.loop.Contains(i)) continue;
      s.layer.CommitTree(s.model.weights().layers()[static_cast<size_t>(i)], *s.tree, leaf,
                         s.StateAt(state, i, iteration), s.records->At(i, iteration));
    }
  }
  state->set_position(state->position() + s.tree->depth(leaf) + 1);
  s.tree = nullptr;
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
