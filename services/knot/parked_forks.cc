#include "services/knot/parked_forks.h"

#include <sys/random.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace chimera {
namespace {

// Secret, not reproducible: it is the key to somebody's stream.
std::string NewToken() {
  uint64_t words[2];
  CHIMERA_CHECK(::getrandom(words, sizeof(words), 0) == sizeof(words));
  return absl::StrCat(absl::Hex(words[0], absl::kZeroPad16), absl::Hex(words[1], absl::kZeroPad16));
}

}  // namespace

std::string ParkedForks::Park(std::unique_ptr<KnotStream> stream, int64_t now_ns) {
  std::string token = NewToken();
  MutexLock lock(&mutex_);
  parked_[token] = {std::move(stream), now_ns + int64_t{claim_ms_} * 1000000};
  return token;
}

absl::StatusOr<std::unique_ptr<KnotStream>> ParkedForks::Claim(const std::string& token) {
  MutexLock lock(&mutex_);
  const auto it = parked_.find(token);
  if (it == parked_.end()) {
    return absl::NotFoundError(absl::StrCat("no fork waits for this token: it is taken, or waited ",
                                            "longer than ", claim_ms_, " ms"));
  }
  std::unique_ptr<KnotStream> stream = std::move(it->second.stream);
  parked_.erase(it);
  return stream;
}

void ParkedForks::DropExpired(int64_t now_ns) {
  std::vector<Parked> dropped;  // destroyed after the lock is free
  MutexLock lock(&mutex_);
  for (auto it = parked_.begin(); it != parked_.end();) {
    if (now_ns < it->second.until_ns) {
      ++it;
      continue;
    }
    dropped.push_back(std::move(it->second));
    it = parked_.erase(it);
  }
}

}  // namespace chimera
