// The memory a service talks to (DESIGN D9): a user's facts, found again by likeness. LocalMemory
// keeps them in RocksDB; a remote adapter speaks to the memory service. Users never see each
// other's facts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace chimera {

inline constexpr size_t kUserIdBytesMax = 64;
inline constexpr size_t kFactTextBytesMax = 16384;
inline constexpr int kRecallFactsMax = 64;
inline constexpr size_t kFactIdDigits = 16;

struct RememberedFact {
  std::string fact_id;   // 16 lower-case hex digits: see FactIdOf
  bool created = false;  // false when the fact was there already
};

struct RecalledFact {
  std::string fact_id;
  std::string text;
  float similarity = 0;    // 1 - 2 * hamming / 8192, in [-1, 1]
  int64_t created_ms = 0;  // since 1970, when it was first remembered
};

struct MemoryStats {
  int64_t facts = 0;
  int64_t users = 0;  // with at least one fact; 0 or 1 for one user
  int64_t text_bytes = 0;
  int64_t facts_max = 0;                // per user, or of the whole store
  int64_t corrupt_records_skipped = 0;  // of the whole store, since it was opened
};

// Every call checks its arguments (the functions below) and returns INVALID_ARGUMENT naming the
// value and the limit. Errors and logs name users and ids, never texts. Thread-safe.
class Memory {
 public:
  virtual ~Memory() = default;

  // Stores a fact; OK means it is synced to disk. The same text twice is one fact, and no error.
  // RESOURCE_EXHAUSTED when the user's or the store's limit, or the disk, is full.
  virtual absl::StatusOr<RememberedFact> Remember(const std::string& user,
                                                  std::string_view text) = 0;
  // At most k facts of the user, ordered by (-similarity, fact_id). k is 1..64. Unrelated texts
  // have a similarity near 0; the caller decides what is near enough.
  virtual absl::StatusOr<std::vector<RecalledFact>> Recall(const std::string& user,
                                                           std::string_view query, int k) = 0;
  // Deletes for good and returns how many facts went: 0 is no error, so a retry is harmless.
  virtual absl::StatusOr<int64_t> Forget(const std::string& user, const std::string& fact_id) = 0;
  virtual absl::StatusOr<int64_t> ForgetAll(const std::string& user) = 0;
  // Of one user, or of the whole store when user is empty.
  virtual absl::StatusOr<MemoryStats> Stats(const std::string& user) = 0;
};

// 1..64 characters of [A-Za-z0-9_.-].
absl::Status ValidateUserId(std::string_view user);
// what names the argument in the message; 1..16,384 bytes of valid UTF-8.
absl::Status ValidateFactText(std::string_view text, std::string_view what);
// 1..64.
absl::Status ValidateRecallCount(int k);
// 16 lower-case hex digits.
absl::Status ValidateFactId(std::string_view fact_id);

// The first 64 bits of SHA-256(user, byte 00, text): the user is part of it, so that equal texts of
// two users cannot be linked by their ids.
uint64_t FactIdOf(std::string_view user, std::string_view text);
std::string FactIdToHex(uint64_t id);
// fact_id must be valid.
uint64_t FactIdFromHex(std::string_view fact_id);

}  // namespace chimera
