#include "cluster/cost_probe.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/exec_context.h"
#include "layers/token_tree.h"
#include "model/step.h"

namespace chimera {
namespace {

// Everything a pass needs; nothing of it is anybody's text.
class Rig {
 public:
  explicit Rig(const Model& model)
      : model_(model),
        d_model_(static_cast<size_t>(model.shape().d_model)),
        vocab_size_(model.shape().vocab_size),
        state_(model.shape()),
        window_(model),
        logits_(static_cast<size_t>(vocab_size_)),
        row_(d_model_) {
    state_.Reset();
  }

  // Two branches, so that 32 positions end before the window's 16th depth.
  void Verify(int positions, ExecContext* exec) {
    if (!stepper_.has_value()) stepper_.emplace(model_, exec);
    int32_t parents[kTreeNodesMax];
    tokens_.clear();
    for (int i = 0; i < positions; ++i) {
      parents[i] = i < 2 ? -1 : i - 2;
      tokens_.push_back(i * 37 % vocab_size_);
    }
    window_.Begin(state_, TokenTree(parents, positions));
    const auto rows = stepper_->Tree(&state_, &window_, tokens_);
    row_.assign(rows.begin(), rows.begin() + static_cast<int64_t>(d_model_));
  }
  void Head() { stepper_->Logits(row_, 1, logits_); }

 private:
  const Model& model_;
  const size_t d_model_;
  const int vocab_size_;
  BraidState state_;
  Window window_;
  std::optional<Stepper> stepper_;
  std::vector<float> logits_;
  std::vector<float> row_;  // of the last window
  std::vector<int32_t> tokens_;
};

// The median of as many runs as fit into the time, at least one; empty when it was told to give up.
std::optional<int64_t> MedianNs(const CostProbeOptions& options, int64_t budget_ns,
                                const std::function<void(ExecContext*)>& run) {
  const Clock& clock = Clock::Real();
  std::vector<int64_t> took;
  int64_t total = 0;
  while (took.empty() ||
         (total < budget_ns && took.size() < static_cast<size_t>(options.runs_max))) {
    const auto timed = [&](ExecContext* exec) {
      const int64_t start = clock.NowNs();
      run(exec);
      took.push_back(clock.NowNs() - start);
    };
    if (!options.run(timed)) return std::nullopt;
    total += took.back();
  }
  std::nth_element(took.begin(), took.begin() + static_cast<int64_t>(took.size() / 2), took.end());
  return took[took.size() / 2];
}

}  // namespace

std::optional<CostCurve> MeasureCost(const Model& model, const CostProbeOptions& options) {
  Rig rig(model);
  const int64_t share = options.budget_ns / static_cast<int64_t>(std::size(kCostPositions) + 1);
  // The first pass meets cold pages.
  if (!MedianNs(options, 0, [&](ExecContext* exec) { rig.Verify(1, exec); }).has_value())
    return std::nullopt;
  CostCurve curve;
  for (const int positions : kCostPositions) {
    const auto ns =
        MedianNs(options, share, [&](ExecContext* exec) { rig.Verify(positions, exec); });
    if (!ns.has_value()) return std::nullopt;
    curve.points.push_back({positions, *ns});
  }
  // Other work on the machine only adds time: no window costs more than a longer one.
  for (size_t i = curve.points.size() - 1; i-- > 0;) {
    curve.points[i].pass_ns = std::min(curve.points[i].pass_ns, curve.points[i + 1].pass_ns);
  }
  const auto head = MedianNs(options, share, [&](ExecContext*) { rig.Head(); });
  if (!head.has_value()) return std::nullopt;
  curve.head_ns = *head;
  return curve;
}

}  // namespace chimera
