// The answers of MemoryService that a UserLearning gives: Cases, Guidelines, Entities.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "chimera/memory/v1/memory.pb.h"
#include "memory/user_learning.h"

namespace chimera {

// One call each, on the caller's thread. learning may be null: UNIMPLEMENTED. Texts beyond
// text_bytes_max and answers beyond answer_bytes_max are refused.
struct LearningCalls {
  UserLearning* learning;
  size_t text_bytes_max;
  size_t answer_bytes_max;

  absl::Status Cases(const memory::v1::CasesRequest& request,
                     memory::v1::CasesResponse* response) const;
  absl::Status Guidelines(const memory::v1::GuidelinesRequest& request,
                          memory::v1::GuidelinesResponse* response) const;
  absl::Status Entities(const memory::v1::EntitiesRequest& request,
                        memory::v1::EntitiesResponse* response) const;
};

}  // namespace chimera
