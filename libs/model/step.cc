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

  // Rows of x through some layers: those of the n active rows.
  void Layers(int first, int last, int iteration, int n) {
    for (int i = first; i <= last; ++i) {
      const LayerWeights& weights = model.weights().layers()[static_cast<size_t>(i)];
      if (tree != nullptr) {
        layer.RunTree(weights, *tree, StateAt(0, i, iteration), positions.data(),
                      records->At(i, iteration), x.data());
        continue;
      }
      for (int r = 0; r < n; ++r) {
        const auto row = static_cast<size_t>(active[static_cast<size_t>(r)]);
        layer_rows[static_cast<size_t>(r)] = {StateAt(row, i, iteration), positions[row]};
      }
      layer.Run(weights, std::span(layer_rows).first(static_cast<size_t>(n)), x.data());
    }
  }

  LayerState StateAt(size_t row, int i, int iteration) const {
    BraidState* const state = streams[row];
    return {state->layer(i, iteration).data(), state->memory(i).data(),
            iteration == 0 ? TitansUse::kWrite : TitansUse::kReadOnly, row_fields[row]};
  }

  void ActivateAll(int n) {
    for (int r = 0; r < n; ++r) active[static_cast<size_t>(r)] = r;
  }

  // math-backbone 4.2: u = Abar h + Bbar e, h = layers(u). x is the output of the prelude on entry,
  // h of every token on return. A token that stops holds its states of later iterations.
  void RunLoop(int n) {
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
        Loop().inject(iteration == 0 ? nullptr : h.data() + t * RowFloats(),
                      e.data() + t * RowFloats(), w.abar.data(), w.bbar.data(), 1, c.d_model,
                      x.data() + static_cast<size_t>(i) * RowFloats());
      }
      Layers(c.loop.first_layer, c.loop.last_layer, iteration, running);
      for (int i = 0; i < running; ++i) {
        const auto t = static_cast<size_t>(active[size_t(i)]);
        const float* after = x.data() + static_cast<size_t>(i) * RowFloats();
        float* before = h.data() + t * RowFloats();
        // Only a token that may stop, and the last of a stream for telemetry, need the change.
        if (iteration > 0 && (exits[t] || IsLast(t, n))) {
          Loop().relative_change(after, before, 1, c.d_model, &residuals[t]);
          if (exits[t] && residuals[t] < c.loop.exit_threshold) {
            loops[t] = static_cast<uint8_t>(iteration + 1);
          }
        }
        std::memcpy(before, after, RowBytes());
      }
    }
    ActivateAll(n);
    std::memcpy(x.data(), h.data(), static_cast<size_t>(n) * RowBytes());
  }

  bool IsLast(size_t row, int n) const {
    return row + 1 == static_cast<size_t>(n) || streams[row + 1] != streams[row];
  }

  // Tokens whose streams, positions, loops, exits and fields are set; their hidden vectors go to
  // out.
  void Pass(std::span<const int32_t> tokens, float* out) {
    const int n = static_cast<int>(tokens.size());
    std::fill_n(residuals.begin(), n, 0.0f);
    ActivateAll(n);
    Embed(tokens);
    if (c.loop.enabled) {
      Layers(0, c.loop.first_layer - 1, 0, n);
      RunLoop(n);
      Layers(c.loop.last_layer + 1, c.n_layers - 1, 0, n);
    } else {
      Layers(0, c.n_layers - 1, 0, n);
    }
    last_row = n - 1;
    RmsNorm().forward(x.data(), model.weights().final_norm(), n, c.d_model, out, nullptr);
  }

  void SetRow(size_t row, const Row& from, int64_t position) {
    const int each = from.loops == 0 ? from.state->loops() : from.loops;
    CHIMERA_CHECK(each >= 1 && each <= from.state->loops());
    streams[row] = from.state;
    positions[row] = position;
    loops[row] = static_cast<uint8_t>(each);
    exits[row] = from.exit_early;
    row_fields[row] = from.fields != nullptr ? from.fields : &fields;
  }

  // How many rows of a stream fit one pass.
  size_t RowsMax(const BraidState& state) const {
    return windows ? static_cast<size_t>(kWindow - state.position() % kWindow) : kPrefillMax;
  }

  // The tokens of a chain, `each` iterations a token; the state moves on.
  std::span<const float> Chain(BraidState* state, std::span<const int32_t> tokens,
                               std::span<const uint8_t> each) {
    tree = nullptr;
    for (size_t begin = 0; begin < tokens.size();) {
      const int64_t first = state->position();
      const size_t n = std::min(tokens.size() - begin, RowsMax(*state));
      for (size_t t = 0; t < n; ++t) {
        SetRow(t, {.state = state, .loops = each[begin + t]}, first + static_cast<int64_t>(t));
      }
      Pass(tokens.subspan(begin, n), hidden.data() + begin * RowFloats());
      state->set_position(first + static_cast<int64_t>(n));
      begin += n;
    }
    return std::span<const float>(hidden).first(tokens.size() * RowFloats());
  }

  std::span<const float> Batch(std::span<const Row> rows) {
    tree = nullptr;
    size_t first = 0;
    for (size_t r = 0; r < rows.size(); ++r) {
      if (rows[r].state != rows[first].state) first = r;
      CHIMERA_CHECK(r - first < RowsMax(*rows[r].state));
      SetRow(r, rows[r], rows[r].state->position() + static_cast<int64_t>(r - first));
      batch_tokens[r] = rows[r].token;
    }
    Pass(std::span<const int32_t>(batch_tokens).first(rows.size()), hidden.data());
    for (const Row& row : rows) row.state->set_position(row.state->position() + 1);
    return std::span<const float>(hidden).first(rows.size() * RowFloats());
  }

  size_t RowFloats() const { return static_cast<size_t>(c.d_model); }
  size_t RowBytes() const { return RowFloats() * sizeof(float); }

  const Model& model;
  const ModelConfig& c;
  const bool windows;  // passes end at positions divisible by 16
  LayerStep layer;
  std::vector<float> x, hidden;
  std::vector<float> e, h;  // of the loop: its feed and its state
  // Of each row of the pass.
  std::array<BraidState*, kPrefillMax> streams;
  std::array<int64_t, kPrefillMax> positions;
  std::array<uint8_t, kPrefillMax> loops;  // iterations to run, then those it ran
  std::array<bool, kPrefillMax> exits;
  std::array<float, kPrefillMax> residuals{};
  std::array<const SpanFields*, kPrefillMax> row_fields;
  std::array<int32_t, kPrefillMax> batch_tokens;
  std::array<int, kPrefillMax> active;  // rows of the running iteration
  std::array<LayerRow, kPrefillMax> layer_rows;
  SpanFields fields;
  int last_row = 0;
  std::optional<TokenTree> window;  // the last one
  const TokenTree* tree = nullptr;  // the running pass is a tree
  std::unique_ptr<TreeRecords> records;
  int records_loops = 0;
};

Stepper::Stepper(const Model& model, ExecContext* exec)
    : scratch_(std::make_unique<Scratch>(model, exec)) {}

Stepper::~Stepper() = default;

std::span<const float> Stepper::Step(BraidState* state, int32_t token, int loops, bool exit_early) {
  const Row row = {.state = state, .token = token, .loops = loops, .exit_early = exit_early};
  return scratch_->Batch({&row, 1});
}

std::span<const float> Stepper::Prefill(BraidState* state, std::span<const int32_t> tokens,
                                        std::span<const uint8_t> loops) {
  CHIMERA_CHECK(!tokens.empty() && tokens.size() <= size_t{kPrefillMax} &&
                loops.size() == tokens.size());
  return scratch_->Chain(state, tokens, loops);
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
  for (int i = 0; i < tree.n_nodes(); ++i) {
    CHIMERA_CHECK(state->position() % kWindow + tree.depth(i) < kWindow);
    s.SetRow(size_t(i), {.state = state, .loops = each}, state->position() + tree.depth(i));
  }
  s.Pass(tokens, s.hidden.data());
  return std::span<const float>(s.hidden).first(tokens.size() * s.RowFloats());
}

void Stepper::SetFields(const SpanFields& fields) { scratch_->fields = fields; }

void Stepper::CommitTree(BraidState* state, int leaf) {
  Scratch& s = *scratch_;
  CHIMERA_CHECK(s.tree != nullptr && leaf >= 0 && leaf < s.tree->n_nodes() &&
                s.streams[0] == state && s.positions[0] == state->position());
  const int loops = s.c.loop.enabled ? s.loops[0] : 1;
  for (int iteration = 0; iteration < loops; ++iteration) {
    for (int i = 0; i < s.c.n_layers; ++i) {
      if (iteration > 0 && !s.c.loop.Contains(i)) continue;
      s.layer.CommitTree(s.model.weights().layers()[static_cast<size_t>(i)], *s.tree, leaf,
                         s.StateAt(0, i, iteration), s.positions.data(),
                         s.records->At(i, iteration));
    }
  }
  state->set_position(state->position() + s.tree->depth(leaf) + 1);
  s.tree = nullptr;
}

std::span<const float> Stepper::Batch(std::span<const Row> rows) {
  CHIMERA_CHECK(!rows.empty() && rows.size() <= size_t{kPrefillMax});
  return scratch_->Batch(rows);
}

int Stepper::RowsMax(const BraidState& state) const {
  return static_cast<int>(scratch_->RowsMax(state));
}

int Stepper::loops_run() const { return loops_run(scratch_->last_row); }
float Stepper::residual() const { return residual(scratch_->last_row); }
int Stepper::loops_run(int row) const { return scratch_->loops[static_cast<size_t>(row)]; }
float Stepper::residual(int row) const { return scratch_->residuals[static_cast<size_t>(row)]; }

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
