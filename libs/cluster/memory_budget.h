// The bytes a knot holds, by component, under one limit (FEATURES O7, DESIGN D14). Counted before
// they are allocated: what would go beyond the limit is refused with a sentence.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "base/mutex.h"

namespace chimera {

enum class MemoryPart {
  kWeights,    // mapped files of every model that is held; pages are shared between processes
  kStates,     // recurrent states of open streams
  kSnapshots,  // held by streams, or on their way in
  kScratch,    // buffers of passes
};
inline constexpr int kMemoryParts = 4;

// "weights", "braid_state", "snapshots", "scratch": the label values of chimera_memory_bytes.
const char* MemoryPartName(MemoryPart part);

class MemoryBudget;

// Bytes that count until it is destroyed. Move-only.
class MemoryHold {
 public:
  MemoryHold() = default;
  ~MemoryHold();
  MemoryHold(MemoryHold&& other) noexcept;
  MemoryHold& operator=(MemoryHold&& other) noexcept;

  int64_t bytes() const { return bytes_; }
  // Takes over what another hold of the same budget and part counts; either may be empty.
  void Add(MemoryHold more);

 private:
  friend class MemoryBudget;
  MemoryHold(std::shared_ptr<MemoryBudget> budget, MemoryPart part, int64_t bytes)
      : budget_(std::move(budget)), part_(part), bytes_(bytes) {}

  std::shared_ptr<MemoryBudget> budget_;
  MemoryPart part_ = MemoryPart::kWeights;
  int64_t bytes_ = 0;
};

// Thread-safe; holds keep it alive.
class MemoryBudget : public std::enable_shared_from_this<MemoryBudget> {
 public:
  // limit_bytes 0: it counts and refuses nothing.
  static std::shared_ptr<MemoryBudget> Create(int64_t limit_bytes);

  // what names the thing in the error: "a snapshot". RESOURCE_EXHAUSTED beyond the limit, naming
  // both.
  absl::StatusOr<MemoryHold> Hold(MemoryPart part, int64_t bytes, const std::string& what);

  // Whether Hold would succeed now.
  absl::Status CheckRoom(int64_t bytes, const std::string& what) const;

  int64_t limit_bytes() const { return limit_bytes_; }
  int64_t held(MemoryPart part) const;
  int64_t held() const;  // of all parts

 private:
  friend class MemoryHold;
  explicit MemoryBudget(int64_t limit_bytes) : limit_bytes_(limit_bytes) {}
  int64_t Total() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckRoomLocked(int64_t bytes, const std::string& what) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Release(MemoryPart part, int64_t bytes);

  const int64_t limit_bytes_;
  mutable Mutex mutex_;
  std::array<int64_t, kMemoryParts> held_ ABSL_GUARDED_BY(mutex_){};
};

}  // namespace chimera
