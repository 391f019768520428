#include "model/knot_bench.h"

#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "base/philox.h"
#include "layers/token_tree.h"
#include "model/step.h"

namespace chimera {
namespace {

// A stream of random tokens.
class Stream {
 public:
  Stream(const Model& model, int loops, ExecContext* exec, int rows_max = Stepper::kBatchMax)
      : vocab_(model.shape().vocab_size),
        stepper_(model, exec, rows_max),
        state_(model.shape(), loops),
        window_(model),
        logits_(static_cast<size_t>(vocab_)) {
    state_.Reset();
  }

  void Decode(int steps) {
    for (int i = 0; i < steps; ++i) stepper_.Logits(stepper_.Step(&state_, Next()), 1, logits_);
  }

  void Prefill(int n) {
    std::span<const float> rows;
    for (int at = 0; at < n; at += Stepper::kPrefillMax) {
      tokens_.resize(static_cast<size_t>(std::min(Stepper::kPrefillMax, n - at)));
      for (int32_t& token : tokens_) token = Next();
      rows = stepper_.Prefill(&state_, tokens_);
    }
    const size_t d_model = rows.size() / tokens_.size();
    stepper_.Logits(rows.last(d_model), 1, logits_);
  }

  // A window of two branches, and its distributions.
  void Verify(int nodes) {
    int32_t parents[kTreeNodesMax];
    tokens_.resize(static_cast<size_t>(nodes));
    for (int i = 0; i < nodes; ++i) {
      parents[i] = i < 2 ? i - 1 : i - 2;
      tokens_[static_cast<size_t>(i)] = Next();
    }
    window_.Begin(state_, TokenTree(parents, nodes));
    const auto rows = stepper_.Tree(&state_, &window_, tokens_);
    logits_.resize(static_cast<size_t>(nodes) * static_cast<size_t>(vocab_));
    stepper_.Logits(rows, nodes, logits_);
  }

 private:
  int32_t Next() {
    const PhiloxStream rng(61, RngPurpose::kDataShuffle, 0);
    return static_cast<int32_t>(rng.Word(drawn_++) % static_cast<uint32_t>(vocab_));
  }

  const int vocab_;
  Stepper stepper_;
  BraidState state_;
  Window window_;
  std::vector<float> logits_;
  std::vector<int32_t> tokens_;
  uint64_t drawn_ = 0;
};

template <typename Body>
double Seconds(const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void FirstToken(const Model& model, ExecContext* exec) { Stream(model, 1, exec).Decode(1); }

std::vector<DecodeFigure> BenchDecode(const Model& model, const KnotBenchOptions& options,
                                      const ReadProbe& probe, ExecContext* exec) {
  std::vector<DecodeFigure> out;
  for (int loops : options.loops) {
    if (loops > model.shape().loop.loops_max) continue;
    DecodeFigure figure = {.loops = loops, .cost = CountStep(model.shape(), loops)};
    Stream stream(model, loops, exec);
    stream.Decode(2);
    std::vector<double> speed, read, density;
    for (int run = 0; run < options.runs; ++run) {
      const double before = probe.GbPerS(exec);
      const double seconds = Seconds([&] { stream.Decode(options.decode_steps); });
      const double bandwidth = 0.5e9 * (before + probe.GbPerS(exec));
      speed.push_back(options.decode_steps / seconds);
      read.push_back(speed.back() * static_cast<double>(figure.cost.bytes) / bandwidth);
      density.push_back(speed.back() * static_cast<double>(figure.cost.weights) / bandwidth);
    }
    figure.steps_per_s = SpreadOf(speed);
    figure.fraction_of_read = SpreadOf(read);
    figure.weights_per_byte = SpreadOf(density);
    out.push_back(figure);
  }
  return out;
}

HeadFigure BenchHead(const Model& model, const KnotBenchOptions& options, const ReadProbe& probe,
                     ExecContext* exec) {
  const HeadView& head = model.weights().head();
  HeadFigure figure = {.packing = HeadPacking(head), .bytes = HeadBytes(head)};
  Stepper stepper(model, exec);
  const std::vector<float> hidden(static_cast<size_t>(head.cols), 0.5f);
  std::vector<float> logits(static_cast<size_t>(head.rows));
  stepper.Logits(hidden, 1, logits);
  std::vector<double> time, read;
  for (int run = 0; run < options.runs; ++run) {
    const double before = probe.GbPerS(exec);
    const double seconds = Seconds([&] {
      for (int i = 0; i < options.decode_steps; ++i) stepper.Logits(hidden, 1, logits);
    });
    const double bandwidth = 0.5e9 * (before + probe.GbPerS(exec));
    time.push_back(seconds / options.decode_steps);
    read.push_back(static_cast<double>(figure.bytes) / time.back() / bandwidth);
  }
  figure.seconds = SpreadOf(time);
  figure.fraction_of_read = SpreadOf(read);
  return figure;
}

PrefillFigure BenchPrefill(const Model& model, const KnotBenchOptions& options, ExecContext* exec) {
  PrefillFigure figure = {.tokens = options.prefill_tokens};
  const StepCost cost = CountStep(model.shape(), 1);
  const int64_t head = int64_t{model.shape().vocab_size} * model.shape().d_model;
  const double macs =
      static_cast<double>(options.prefill_tokens) * static_cast<double>(cost.weights - head) +
      static_cast<double>(head);
  Stream stream(model, 1, exec, Stepper::kPrefillMax);
  stream.Prefill(Stepper::kPrefillMax);
  std::vector<double> speed, dot;
  for (int run = 0; run < options.runs; ++run) {
    const double before = DotGmacsPerS(exec);
    const double seconds = Seconds([&] { stream.Prefill(options.prefill_tokens); });
    const double peak = 0.5e9 * (before + DotGmacsPerS(exec));
    speed.push_back(options.prefill_tokens / seconds);
    dot.push_back(macs / seconds / peak);
  }
  figure.tokens_per_s = SpreadOf(speed);
  figure.fraction_of_dot = SpreadOf(dot);
  return figure;
}

std::vector<TreeFigure> BenchTree(const Model& model, const KnotBenchOptions& options,
                                  ExecContext* exec) {
  std::vector<TreeFigure> out;
  for (int nodes : options.tree_nodes) {
    CHIMERA_CHECK(nodes >= 1 && nodes <= 2 * 15);  // two branches inside one window of 16
    Stream stream(model, 1, exec), plain(model, 1, exec);
    stream.Verify(nodes);
    plain.Decode(1);
    std::vector<double> speed, steps;
    for (int run = 0; run < options.runs; ++run) {
      const double step = Seconds([&] { plain.Decode(2); }) / 2;
      const double window = Seconds([&] { stream.Verify(nodes); });
      speed.push_back(1 / window);
      steps.push_back(window / step);
    }
    out.push_back({nodes, SpreadOf(speed), SpreadOf(steps)});
  }
  return out;
}

std::vector<BatchFigure> BenchBatch(const Model& model, const KnotBenchOptions& options,
                                    ExecContext* exec) {
  std::vector<BatchFigure> out;
  const StepCost cost = CountStep(model.shape(), 1);
  const auto vocab = static_cast<size_t>(model.shape().vocab_size);
  for (int n : options.batch_streams) {
    CHIMERA_CHECK(n >= 1 && n <= Stepper::kBatchMax);
    Stepper stepper(model, exec);
    std::vector<BraidState> states(static_cast<size_t>(n), BraidState(model.shape(), 1));
    std::vector<Stepper::Row> rows;
    for (BraidState& state : states) {
      state.Reset();
      rows.push_back({.state = &state, .token = static_cast<int32_t>(rows.size())});
    }
    std::vector<float> logits(vocab * rows.size());
    const auto step = [&] { stepper.Logits(stepper.Batch(rows), n, logits); };
    step();
    std::vector<double> speed, dot;
    for (int run = 0; run < options.runs; ++run) {
      const double before = DotGmacsPerS(exec);
      const double seconds = Seconds([&] {
        for (int i = 0; i < options.decode_steps; ++i) step();
      });
      const double peak = 0.5e9 * (before + DotGmacsPerS(exec));
      speed.push_back(n * options.decode_steps / seconds);
      dot.push_back(speed.back() * static_cast<double>(cost.weights) / peak);
    }
    out.push_back({n, SpreadOf(speed), SpreadOf(dot)});
  }
  return out;
}

}  // namespace chimera
