// A knot's memory budget, recomputed from the dimensions of a model beside the labels of its config
// (DESIGN D14, FEATURES O7). Functions are pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"
#include "model/model.h"

namespace chimera {

struct MemoryPlanRow {
  std::string name;      // as in memory_budget_mb._keys
  int64_t label_mb = 0;  // what the config says, MiB
  int64_t bytes = 0;     // counted, or the label where there is nothing to count
  bool counted = false;
};

struct MemoryPlan {
  std::vector<MemoryPlanRow> rows;
  int64_t label_total_mb = 0;  // without growth
  int64_t total_bytes = 0;     // of the rows
  int64_t growth_bytes = 0;    // memory_budget_mb.growth_ceiling
  int64_t limit_bytes = 0;     // what is enforced; 0 with safety.memory_limit_enforced false
};

// Weights as mapped, every slot's state at the default loops and its buffers, those of windows of
// 20 nodes among them; the other parts of memory_budget_mb at their labels.
MemoryPlan PlanMemory(const Model& model, int max_streams);

// "weights 4.3 MiB (label 476), ..., limit 2642.0 MiB (label 3174)".
std::string MemoryPlanText(const MemoryPlan& plan);

// Buffers of one stream from its beginning, counted from the shape: the logits of one row and what
// becomes of them, the last tokens.
int64_t StreamScratchBytes(const ModelConfig& shape);
// What the logits of a pass with so many distributions add to that.
int64_t LogitsBytes(const ModelConfig& shape, int distributions);

}  // namespace chimera
