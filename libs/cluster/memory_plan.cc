#include "cluster/memory_plan.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "cluster/pass_engine.h"
#include "decode/knot.h"
#include "model/braid_state.h"
#include "model/layout.h"
#include "model/window.h"

namespace chimera {
namespace {

constexpr int64_t kMib = 1 << 20;
// Of a window: span_inference.tree_verify of the specification, width 4 and depth 5.
constexpr int kPlannedNodes = 20;

bool IsExpert(const std::string& name) {
  return name.ends_with(".moe.w_in") || name.ends_with(".moe.w_out") ||
         name.ends_with(".moe.out_norm");
}

int64_t ExpertBytes(const ModelConfig& shape) {
  int64_t bytes = 0;
  for (const TensorSpec& spec : ModelLayout(shape)) {
    if (IsExpert(spec.name)) {
      bytes += static_cast<int64_t>(PayloadBytes(spec.kind, spec.rows, spec.cols));
    }
  }
  return bytes;
}

double Mib(int64_t bytes) { return static_cast<double>(bytes) / kMib; }

}  // namespace

int64_t StreamScratchBytes(const ModelConfig& shape) {
  const int64_t recent = 2 * int64_t{shape.recent_tokens} + kVerifyNodesMax;
  // Logits, raw and transformed ones, ids, sort keys.
  const int64_t vocab_rows = 6 * int64_t{shape.vocab_size};
  return 4 * (vocab_rows + recent);
}

int64_t LogitsBytes(const ModelConfig& shape, int distributions) {
  const int more = std::clamp(distributions - 1, 0, kHeadRowsMax - 1);
  return int64_t{more} * shape.vocab_size * int64_t{sizeof(float)};
}

MemoryPlan PlanMemory(const Model& model, int max_streams) {
  const BudgetLabels& labels = model.config().budget;
  MemoryPlan plan;
  plan.label_total_mb = labels.total_mb;
  plan.growth_bytes = labels.growth_ceiling_mb * kMib;
  const int64_t experts = ExpertBytes(model.shape());
  const auto add = [&](const char* name, int64_t bytes) {
    const auto label = std::find_if(labels.parts.begin(), labels.parts.end(),
                                    [&](const BudgetLabel& part) { return part.name == name; });
    plan.rows.push_back({name, label == labels.parts.end() ? 0 : label->mb, bytes, true});
  };
  add("ternary_weights", model.weight_bytes() - experts);
  add("moe_experts", experts);
  add("braid", max_streams * BraidState::Bytes(model.shape()));
  const ModelConfig& shape = model.shape();
  add("activations",
      PassEngine::Bytes(shape) +
          max_streams * (StreamScratchBytes(shape) + LogitsBytes(shape, kPlannedNodes) +
                         Window::Bytes(shape, kPlannedNodes, shape.loop.loops_default)));
  const size_t counted = plan.rows.size();
  for (const BudgetLabel& part : labels.parts) {
    const bool known = std::any_of(plan.rows.begin(), plan.rows.begin() + int64_t(counted),
                                   [&](const MemoryPlanRow& row) { return row.name == part.name; });
    if (!known) plan.rows.push_back({part.name, part.mb, part.mb * kMib, false});
  }
  for (const MemoryPlanRow& row : plan.rows) plan.total_bytes += row.bytes;
  if (model.config().deployment.memory_limit_enforced) {
    plan.limit_bytes = plan.total_bytes + plan.growth_bytes;
  }
  return plan;
}

std::string MemoryPlanText(const MemoryPlan& plan) {
  std::string text;
  int64_t others = 0;
  for (const MemoryPlanRow& row : plan.rows) {
    if (!row.counted) {
      others += row.bytes;
      continue;
    }
    absl::StrAppendFormat(&text, "%s %.1f MiB (label %d), ", row.name, Mib(row.bytes),
                          row.label_mb);
  }
  absl::StrAppendFormat(&text, "other parts %.1f MiB by their labels; ", Mib(others));
  absl::StrAppendFormat(&text, "in all %.1f MiB (label %d), ", Mib(plan.total_bytes),
                        plan.label_total_mb);
  if (plan.limit_bytes == 0) return text + "no limit";
  absl::StrAppendFormat(&text, "limit %.1f MiB (label %d)", Mib(plan.limit_bytes),
                        plan.label_total_mb + plan.growth_bytes / kMib);
  return text;
}

}  // namespace chimera
