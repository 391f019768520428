// Forks of streams that wait for the call that takes them over. Internal to services/knot.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "decode/knot.h"

namespace chimera {

// Each has a slot of the knot, which bounds their number. Thread-safe.
class ParkedForks {
 public:
  explicit ParkedForks(int claim_ms) : claim_ms_(claim_ms) {}

  // Returns the token to claim it with: 32 hex digits that nobody guesses.
  std::string Park(std::unique_ptr<KnotStream> stream, int64_t now_ns);
  // NOT_FOUND when nothing waits for this token, or not any more.
  absl::StatusOr<std::unique_ptr<KnotStream>> Claim(const std::string& token);
  // Frees the slots of those that waited longer than claim_ms.
  void DropExpired(int64_t now_ns);

 private:
  struct Parked {
    std::unique_ptr<KnotStream> stream;
    int64_t until_ns = 0;
  };
  const int claim_ms_;
  Mutex mutex_;
  std::map<std::string, Parked> parked_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace chimera
