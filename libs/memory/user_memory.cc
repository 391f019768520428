#include "memory/user_memory.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace chimera {
namespace {

// A write that adds nothing of a kind is allowed even beyond its limit.
absl::Status CheckLimit(const std::string& who, const char* what, int64_t used, int64_t growth,
                        int64_t limit) {
  if (growth <= 0 || growth <= limit - used) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(who, " has ", used, " ", what, ", ", growth, " more exceed the limit ", limit));
}

}  // namespace

Growth& Growth::operator+=(const Growth& other) {
  facts += other.facts;
  relations += other.relations;
  entries += other.entries;
  bytes += other.bytes;
  return *this;
}

Growth Growth::operator-() const {
  return {.facts = -facts, .relations = -relations, .entries = -entries, .bytes = -bytes};
}

bool TokenBucket::Take(const MemoryQuota& quota, int64_t now_ns, int64_t tokens) {
  if (quota.writes_per_second == 0) return true;
  const auto burst = static_cast<double>(quota.write_burst);
  const double elapsed_s = static_cast<double>(now_ns - last_ns_) * 1e-9;
  tokens_ = started_ ? std::min(burst, tokens_ + elapsed_s * quota.writes_per_second) : burst;
  started_ = true;
  last_ns_ = now_ns;
  if (tokens_ < static_cast<double>(tokens)) return false;
  tokens_ -= static_cast<double>(tokens);
  return true;
}

absl::Status StoreTotals::Reserve(const LocalMemoryOptions& options, const Growth& growth) {
  const std::string who = "memory store";
  const MemoryCeilings& ceilings = options.ceilings;
  MutexLock lock(&mutex_);
  CHIMERA_RETURN_IF_ERROR(CheckLimit(who, "facts", used_.facts, growth.facts, options.facts_max));
  CHIMERA_RETURN_IF_ERROR(
      CheckLimit(who, "relations", used_.relations, growth.relations, ceilings.relations));
  CHIMERA_RETURN_IF_ERROR(CheckLimit(who, "bytes", used_.bytes, growth.bytes, ceilings.bytes));
  used_ += growth;
  return absl::OkStatus();
}

void StoreTotals::Add(const Growth& growth) {
  MutexLock lock(&mutex_);
  used_ += growth;
}

Growth StoreTotals::Get() {
  MutexLock lock(&mutex_);
  return used_;
}

absl::Status CheckUserRoom(const LocalMemoryOptions& options, const std::string& user,
                           const Growth& used, const Growth& growth) {
  const std::string who = absl::StrCat("user ", user);
  const MemoryQuota& quota = options.quota;
  CHIMERA_RETURN_IF_ERROR(
      CheckLimit(who, "facts", used.facts, growth.facts, options.facts_per_user_max));
  CHIMERA_RETURN_IF_ERROR(
      CheckLimit(who, "entries", used.entries, growth.entries, quota.entries_max));
  return CheckLimit(who, "bytes", used.bytes, growth.bytes, quota.bytes_max);
}

}  // namespace chimera
