#include "memory/store_options.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "memory/memory_types.h"

namespace chimera {
namespace {

constexpr int64_t kCountLimit = int64_t{1} << 31;
constexpr int64_t kBytesLimit = int64_t{1} << 40;
constexpr int64_t kGroupMsLimit = 10'000;
constexpr int64_t kGroupItemsLimit = 1'000'000;

absl::Status CheckRange(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("memory store ", name, " ", value, "; it is ", low, " to ", high));
}

}  // namespace

absl::Status ValidateStoreOptions(const LocalMemoryOptions& options) {
  if (options.path.empty()) return absl::InvalidArgumentError("memory store has no path");
  const MemoryQuota& quota = options.quota;
  if (!(quota.writes_per_second >= 0 && quota.writes_per_second <= 1e9)) {
    return absl::InvalidArgumentError(absl::StrCat("memory store quota.writes_per_second ",
                                                   quota.writes_per_second,
                                                   "; it is 0 to 1000000000"));
  }
  const struct {
    const char* name;
    int64_t value, low, high;
  } ranges[] = {
      {"facts_max", options.facts_max, 1, kMemoryFactsMaxLimit},
      {"facts_per_user_max", options.facts_per_user_max, 1, kMemoryFactsMaxLimit},
      {"quota.entries_max", quota.entries_max, 1, kCountLimit},
      {"quota.bytes_max", quota.bytes_max, 1, kBytesLimit},
      {"quota.write_burst", quota.write_burst, kItemsPerCallMax, kCountLimit},
      {"ceilings.users", options.ceilings.users, 1, kCountLimit},
      {"ceilings.relations", options.ceilings.relations, 1, kCountLimit},
      {"ceilings.bytes", options.ceilings.bytes, 1, kBytesLimit},
      {"group_commit.max_ms", options.group_commit.max_ms, 1, kGroupMsLimit},
      {"group_commit.max_items", options.group_commit.max_items, 1, kGroupItemsLimit},
  };
  for (const auto& range : ranges) {
    CHIMERA_RETURN_IF_ERROR(CheckRange(range.name, range.value, range.low, range.high));
  }
  return absl::OkStatus();
}

}  // namespace chimera
