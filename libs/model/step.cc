#include "model/step.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/huge_pages.h"
#include "layers/loop.h"
#include "layers/moe.h"
#include "layers/rms_norm.h"
#include "model/layer_step.h"
#include "model/pass_buffers.h"

namespace chimera {

static_assert(Stepper::kPrefillMax <= kMoeTokensMax && Stepper::kBatchMax >= kTreeNodesMax);

// Buffers for rows_max rows, and the passes over them.
struct Stepper::Scratch {
  Scratch(const Model& m, ExecContext* exec, int rows_max_in)
      : model(m),
        c(m.shape()),
        rows_max(static_cast<size_t>(rows_max_in)),
        copies(m.shape()),
        layer(m.shape(), m.knot(), rows_max_in, exec) {
    CHIMERA_CHECK(rows_max_in >= kBatchMax && rows_max_in <= kPrefillMax);
    const size_t floats = rows_max * static_cast<size_t>(c.d_model);
    for (auto* buffer : {&x, &hidden}) buffer->resize(floats);
    if (c.loop.enabled) {
      for (auto* buffer : {&e, &h}) buffer->resize(floats);
    }
  }

  void Embed(std::span<const int32_t> tokens) {
    const Weights& weights = model.weights();
    for (size_t t = 0; t < tokens.size(); ++t) {
      CHIMERA_CHECK(tokens[t] >= 0 && tokens[t] < c.vocab_size);
      HeadRow(weights.head(), tokens[t], x.data() + t * RowFloats());
    }
  }

  const LayerWeights& WeightsOf(int i) const {
    return model.weights().layers()[static_cast<size_t>(i)];
  }

  // Active rows [first, first + n) of x through the mixer of a layer.
  void Mix(int i, int iteration, int first, int n) {
    for (int r = 0; r < n; ++r) {
      const auto row = static_cast<size_t>(active[static_cast<size_t>(first + r)]);
      LayerRow& out = layer_rows[static_cast<size_t>(r)];
      out = {.at = LayerStateOf(streams[row], i, iteration, row_fields[row]),
             .position = positions[row]};
      if (Window* const window = windows[row]) {
        out.tree = &window->tree();
        out.node = nodes[row];
        out.record = window->Record(i, iteration);
        continue;
      }
      if (iteration == 0) out.surprise = &surprises[row];
      if (window_of[row] < 0) continue;
      float* const copy = copies.At(i, window_of[row]);
      if (copy == nullptr) continue;
      if (iteration > 0) out.at.memory = copy;
      if (iteration == 0 && window_of[row] != window_of[row + 1]) out.memory_copy = copy;
    }
    layer.Mix(WeightsOf(i), std::span(layer_rows).first(static_cast<size_t>(n)), RowOf(x, first));
  }

  // Rows [first, first + tokens.size()), of which SetRow was told. Their hidden vectors are there
  // when Advance has returned true.
  void Start(int first, std::span<const int32_t> tokens) {
    at = {.first = first, .end = first + static_cast<int>(tokens.size())};
    for (auto* figures : {&residuals, &surprises}) {
      std::fill(figures->begin() + at.first, figures->begin() + at.end, 0.0f);
    }
    ActivateAll();
    Embed(tokens);
    if (InLoop(0)) EnterLoop();
  }

  // Half a layer of one iteration for some of the rows.
  bool Advance(int most) {
    at.slice = std::min(most, n_active - at.done);
    if (at.mixed) {
      layer.Feed(WeightsOf(at.layer), at.slice, RowOf(x, at.done));
    } else {
      Mix(at.layer, at.iteration, at.done, at.slice);
    }
    at.done += at.slice;
    if (at.done < n_active) return false;
    at.done = 0;
    at.mixed = !at.mixed;
    if (at.mixed) return false;
    if (InLoop(at.layer) && at.layer == c.loop.last_layer) {
      EndIteration();
      ++at.iteration;
      if (StartIteration()) {
        at.layer = c.loop.first_layer;
        return false;
      }
      LeaveLoop();
    }
    ++at.layer;
    if (at.layer == c.n_layers) {
      Finish();
      return true;
    }
    if (InLoop(at.layer) && at.layer == c.loop.first_layer) EnterLoop();
    return false;
  }

  void RunPass() {
    while (!Advance(n_active)) {
    }
  }

  bool InLoop(int i) const { return c.loop.enabled && c.loop.Contains(i); }

  void ActivateAll() {
    n_active = at.end - at.first;
    for (int r = 0; r < n_active; ++r) active[static_cast<size_t>(r)] = at.first + r;
  }

  // math-backbone 4.2: u = Abar h + Bbar e, h = layers(u). x is the output of the prelude on entry,
  // h of every token on return. A token that stops holds its states of later iterations.
  void EnterLoop() {
    RmsNorm().forward(x.data(), model.weights().loop().norm, n_active, c.d_model,
                      RowOf(e, at.first), nullptr);
    StartIteration();
  }

  // False when no token runs it.
  bool StartIteration() {
    const LoopWeights& w = model.weights().loop();
    n_active = 0;
    for (int t = at.first; t < at.end; ++t) {
      if (loops[size_t(t)] > at.iteration) active[size_t(n_active++)] = t;
    }
    for (int i = 0; i < n_active; ++i) {
      const int t = active[size_t(i)];
      Loop().inject(at.iteration == 0 ? nullptr : RowOf(h, t), RowOf(e, t), w.abar.data(),
                    w.bbar.data(), 1, c.d_model, RowOf(x, i));
    }
    return n_active > 0;
  }

  void EndIteration() {
    for (int i = 0; i < n_active; ++i) {
      const auto t = static_cast<size_t>(active[size_t(i)]);
      float* before = RowOf(h, static_cast<int>(t));
      // Only a token that may stop, and the last of a stream for telemetry, need the change.
      if (at.iteration > 0 && (exits[t] || IsLast(t))) {
        Loop().relative_change(RowOf(x, i), before, 1, c.d_model, &residuals[t]);
        if (exits[t] && residuals[t] < c.loop.exit_threshold) {
          loops[t] = static_cast<uint8_t>(at.iteration + 1);
        }
      }
      std::memcpy(before, RowOf(x, i), RowBytes());
    }
  }

  void LeaveLoop() {
    at.iteration = 0;
    ActivateAll();
    std::memcpy(x.data(), RowOf(h, at.first), static_cast<size_t>(n_active) * RowBytes());
  }

  void Finish() {
    last_row = at.end - 1;
    RmsNorm().forward(x.data(), model.weights().final_norm(), n_active, c.d_model,
                      RowOf(hidden, at.first), nullptr);
  }

  bool IsLast(size_t row) const {
    return row + 1 == static_cast<size_t>(at.end) || streams[row + 1] != streams[row];
  }

  // nth: of the rows of its stream.
  void SetRow(size_t row, const Row& from, int nth) {
    const Window* const window = from.window;
    CHIMERA_CHECK(window == nullptr || (window->open() && nth < window->tree().n_nodes()));
    const int asked = window != nullptr ? window->loops() : from.loops;
    const int each = asked == 0 ? from.state->loops() : asked;
    CHIMERA_CHECK(each >= 1 && each <= from.state->loops());
    streams[row] = from.state;
    windows[row] = from.window;
    nodes[row] = nth;
    positions[row] = window != nullptr ? window->position(nth) : from.state->position() + nth;
    loops[row] = static_cast<uint8_t>(each);
    exits[row] = from.exit_early;
    row_fields[row] = from.fields != nullptr ? from.fields : &no_fields;
  }

  // All rows, in as few passes as the copies of memories allow.
  std::span<const float> Batch(std::span<const Row> rows) {
    for (size_t begin = 0; begin < rows.size();) {
      begin = StartRows(rows, begin);
      RunPass();
      MoveOn();
    }
    return Hidden(rows.size());
  }

  // Starts a pass over as many of rows [begin, rows.size()) as the copies allow; returns their end.
  size_t StartRows(std::span<const Row> rows, size_t begin) {
    bool looped = false;
    for (const Row& row : rows) looped |= row.window == nullptr && row.loops != 1;
    looped &= copies.needed();
    size_t end = begin;
    int ended = 0;  // windows of 16 tokens, within the pass
    for (size_t first = begin; end < rows.size(); ++end) {
      if (rows[end].state != rows[first].state) first = end;
      SetRow(end, rows[end], static_cast<int>(end - first));
      const bool next = looped && end > first && BeginsWindow(end);
      if (next && ended == kWindowsKept) break;
      ended += next;
      batch_tokens[end] = rows[end].token;
    }
    NumberWindows(begin, end, looped);
    Start(static_cast<int>(begin),
          std::span<const int32_t>(batch_tokens).subspan(begin, end - begin));
    return end;
  }

  // Of all streams of a finished pass.
  void MoveOn() {
    for (int r = at.first; r < at.end; ++r) {
      if (windows[size_t(r)] == nullptr) streams[size_t(r)]->set_position(positions[size_t(r)] + 1);
    }
  }

  std::span<const float> Hidden(size_t rows) const {
    return std::span<const float>(hidden).first(rows * RowFloats());
  }

  // window_of: the copy that a row's window leaves, -1 where the pass ends with it.
  void NumberWindows(size_t begin, size_t end, bool looped) {
    int next = 0;
    window_of[end] = -1;
    for (size_t r = end; r-- > begin;) {
      const bool more = r + 1 < end && streams[r + 1] == streams[r];
      CHIMERA_CHECK(more ? windows[r] == windows[r + 1]
                         : windows[r] == nullptr || nodes[r] + 1 == windows[r]->tree().n_nodes());
      const bool border = more && BeginsWindow(r + 1);
      window_of[r] = !looped || !more ? -1 : border ? next++ : window_of[r + 1];
    }
  }

  // A token of a stream with which one more window of 16 begins.
  bool BeginsWindow(size_t row) const {
    return windows[row] == nullptr && positions[row] % kWindowTokens == 0;
  }

  float* RowOf(BufferVector<float>& rows, int row) const {
    return rows.data() + int64_t{row} * c.d_model;
  }
  size_t RowFloats() const { return static_cast<size_t>(c.d_model); }
  size_t RowBytes() const { return RowFloats() * sizeof(float); }

  const Model& model;
  const ModelConfig& c;
  const size_t rows_max;
  MemoryCopies copies;
  LayerStep layer;
  BufferVector<float> x, hidden;
  BufferVector<float> e, h;  // of the loop: its feed and its state
  // Of each row of the pass.
  std::array<BraidState*, kPrefillMax> streams;
  std::array<Window*, kPrefillMax> windows;  // null: a token
  std::array<int, kPrefillMax> nodes;        // of its window, or of the tokens of its stream
  std::array<int64_t, kPrefillMax> positions;
  std::array<uint8_t, kPrefillMax> loops;  // iterations to run, then those it ran
  std::array<bool, kPrefillMax> exits;
  std::array<float, kPrefillMax> residuals{};
  std::array<float, kPrefillMax> surprises{};  // squared, summed over TM layers
  std::array<const SpanFields*, kPrefillMax> row_fields;
  std::array<int, kPrefillMax + 1> window_of;
  std::array<int32_t, kPrefillMax> batch_tokens;
  // Where a pass stands: the layer that runs next, or whose mixer has run.
  struct Cursor {
    int first = 0, end = 0;  // rows
    int layer = 0, iteration = 0;
    bool mixed = false;
    int done = 0;   // active rows that are through this half ...
    int slice = 0;  // ... and those that the last Advance took
  };
  Cursor at;
  std::array<int, kPrefillMax> active;  // rows of the running iteration
  int n_active = 0;
  std::array<LayerRow, kPrefillMax> layer_rows;
  const SpanFields no_fields{};
  int last_row = 0;
};

Stepper::Stepper(const Model& model, ExecContext* exec, int rows_max)
    : scratch_(std::make_unique<Scratch>(model, exec, rows_max)) {}

Stepper::~Stepper() = default;

int64_t Stepper::Bytes(const ModelConfig& c, int rows_max) {
  const int64_t row_floats = int64_t{c.loop.enabled ? 4 : 2} * c.d_model;
  return rows_max * row_floats * int64_t{sizeof(float)} + LayerStep::Bytes(c, rows_max) +
         MemoryCopies::Bytes(c);
}

std::span<const float> Stepper::Step(BraidState* state, int32_t token, int loops, bool exit_early) {
  const Row row = {.state = state, .token = token, .loops = loops, .exit_early = exit_early};
  return scratch_->Batch({&row, 1});
}

std::span<const float> Stepper::Prefill(BraidState* state, std::span<const int32_t> tokens,
                                        std::span<const uint8_t> loops) {
  CHIMERA_CHECK(loops.size() == tokens.size() && tokens.size() <= scratch_->rows_max);
  std::array<Row, kPrefillMax> rows;
  for (size_t t = 0; t < tokens.size(); ++t) {
    rows[t] = {.state = state, .token = tokens[t], .loops = loops[t]};
  }
  return Batch(std::span<const Row>(rows).first(tokens.size()));
}

std::span<const float> Stepper::Prefill(BraidState* state, std::span<const int32_t> tokens,
                                        int loops) {
  std::array<uint8_t, kPrefillMax> each;
  each.fill(static_cast<uint8_t>(loops == 0 ? state->loops() : loops));
  CHIMERA_CHECK(tokens.size() <= each.size());
  return Prefill(state, tokens, std::span<const uint8_t>(each).first(tokens.size()));
}

std::span<const float> Stepper::Tree(BraidState* state, Window* window,
                                     std::span<const int32_t> tokens) {
  CHIMERA_CHECK(window->open() && static_cast<int>(tokens.size()) == window->tree().n_nodes());
  std::array<Row, kTreeNodesMax> rows;
  for (size_t i = 0; i < tokens.size(); ++i) {
    rows[i] = {.state = state, .token = tokens[i], .window = window};
  }
  return Batch(std::span<const Row>(rows).first(tokens.size()));
}

std::span<const float> Stepper::Batch(std::span<const Row> rows) {
  CHIMERA_CHECK(!rows.empty() && rows.size() <= scratch_->rows_max);
  return scratch_->Batch(rows);
}

int Stepper::Start(std::span<const Row> rows) {
  CHIMERA_CHECK(!rows.empty() && rows.size() <= scratch_->rows_max && rows[0].window == nullptr);
  return static_cast<int>(scratch_->StartRows(rows, 0));
}

bool Stepper::Advance(int most) {
  CHIMERA_CHECK(most >= 1);
  if (!scratch_->Advance(most)) return false;
  scratch_->MoveOn();
  return true;
}

int Stepper::slice_rows() const { return scratch_->at.slice; }

std::span<const float> Stepper::Rows() const {
  return scratch_->Hidden(static_cast<size_t>(scratch_->at.end));
}

int Stepper::loops_run() const { return loops_run(scratch_->last_row); }
float Stepper::residual() const { return residual(scratch_->last_row); }
int Stepper::loops_run(int row) const { return scratch_->loops[static_cast<size_t>(row)]; }
float Stepper::residual(int row) const { return scratch_->residuals[static_cast<size_t>(row)]; }
float Stepper::surprise(int row) const {
  return std::sqrt(scratch_->surprises[static_cast<size_t>(row)]);
}

void Stepper::Logits(std::span<const float> hidden, int n_rows, std::span<float> logits) {
  Scratch& s = *scratch_;
  const int d = s.c.d_model, vocab = s.c.vocab_size;
  CHIMERA_CHECK(size_t(n_rows) <= s.rows_max && hidden.size() == size_t(n_rows) * size_t(d) &&
                logits.size() == size_t(n_rows) * size_t(vocab));
  s.layer.linear().Load(hidden.data(), n_rows, d);
  s.layer.linear().Head(s.model.weights().head(), n_rows, logits.data());
}

void Stepper::LogitsOfTiles(std::span<const float> hidden, std::span<const int32_t> tiles,
                            std::span<float> logits) {
  Scratch& s = *scratch_;
  CHIMERA_CHECK(hidden.size() == size_t(s.c.d_model) && logits.size() == tiles.size() * kRowTile);
  s.layer.linear().Load(hidden.data(), 1, s.c.d_model);
  s.layer.linear().HeadOfTiles(s.model.weights().head(), tiles, logits.data());
}

GateMeans Stepper::TakeGateMeans() {
  GateSums& sums = scratch_->layer.gate_sums();
  if (sums.count == 0) return {};
  const auto count = static_cast<double>(sums.count);
  const GateMeans means{sums.alpha / count, sums.beta / count, sums.count};
  sums = {};
  return means;
}

}  // namespace chimera
