// A user's memory as a session sees it: reads that are asked for early and used later (DESIGN D20).
// The adapter over a Memory lives in cluster.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hdc/hypervector.h"

namespace chimera {

struct RecalledText {
  std::string fact_id;
  std::string text;
  float similarity = 0;    // to what was asked, in [-1, 1]
  bool uncertain = false;  // hardly like it, or inferred and of little weight
  bool evaluate = false;   // RecalledFact::evaluate
  std::shared_ptr<const HyperVector> sketch;
};

// Of one session. Thread-compatible.
class MemoryView {
 public:
  virtual ~MemoryView() = default;
  // Begins a read of what is like the text, named by its position. Never blocks.
  virtual void Issue(int64_t position, std::string text) = 0;
  // What the read of that position found, best first; waits for it, within the adapter's bound.
  // After an error the read is missed for good.
  virtual absl::StatusOr<std::vector<RecalledText>> Collect(int64_t position) = 0;
};

}  // namespace chimera
