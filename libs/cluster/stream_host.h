// What a LocalStream asks of the knot it belongs to. Internal to cluster.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "cluster/memory_budget.h"
#include "model/model.h"

namespace chimera {

class LocalStream;

// Thread-safe; streams keep it alive.
class StreamHost {
 public:
  virtual ~StreamHost() = default;
  // An empty stream of this model, admitted by slots and bytes; loops as in Knot::Open.
  virtual absl::StatusOr<std::unique_ptr<LocalStream>> NewStream(std::shared_ptr<const Model> model,
                                                                 int loops,
                                                                 int64_t deadline_ns) = 0;
  virtual MemoryBudget* memory() = 0;
};

}  // namespace chimera
