#include "cluster/memory_budget.h"

#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace chimera {

const char* MemoryPartName(MemoryPart part) {
  switch (part) {
    case MemoryPart::kWeights:
      return "weights";
    case MemoryPart::kStates:
      return "braid_state";
    case MemoryPart::kSnapshots:
      return "snapshots";
    case MemoryPart::kScratch:
      return "scratch";
  }
  return "";
}

MemoryHold::~MemoryHold() {
  if (budget_ != nullptr) budget_->Release(part_, bytes_);
}

MemoryHold::MemoryHold(MemoryHold&& other) noexcept
    : budget_(std::move(other.budget_)), part_(other.part_), bytes_(other.bytes_) {
  other.budget_ = nullptr;
}

MemoryHold& MemoryHold::operator=(MemoryHold&& other) noexcept {
  std::swap(budget_, other.budget_);
  std::swap(part_, other.part_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void MemoryHold::Add(MemoryHold more) {
  if (more.budget_ == nullptr) return;
  if (budget_ == nullptr) {
    *this = std::move(more);
    return;
  }
  CHIMERA_CHECK(more.budget_ == budget_ && more.part_ == part_);
  bytes_ += more.bytes_;
  more.budget_ = nullptr;  // nothing is released
}

std::shared_ptr<MemoryBudget> MemoryBudget::Create(int64_t limit_bytes) {
  return std::shared_ptr<MemoryBudget>(new MemoryBudget(limit_bytes));
}

absl::StatusOr<MemoryHold> MemoryBudget::Hold(MemoryPart part, int64_t bytes,
                                              const std::string& what) {
  MutexLock lock(&mutex_);
  const absl::Status room = CheckRoomLocked(bytes, what);
  if (!room.ok()) return room;
  held_[static_cast<size_t>(part)] += bytes;
  return MemoryHold(shared_from_this(), part, bytes);
}

absl::Status MemoryBudget::CheckRoom(int64_t bytes, const std::string& what) const {
  MutexLock lock(&mutex_);
  return CheckRoomLocked(bytes, what);
}

absl::Status MemoryBudget::CheckRoomLocked(int64_t bytes, const std::string& what) const {
  const int64_t held = Total();
  if (limit_bytes_ == 0 || bytes <= limit_bytes_ - held) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(what, " of ", bytes, " bytes exceeds the memory limit of ", limit_bytes_,
                   " bytes, of which ", held, " are held"));
}

int64_t MemoryBudget::held(MemoryPart part) const {
  MutexLock lock(&mutex_);
  return held_[static_cast<size_t>(part)];
}

int64_t MemoryBudget::held() const {
  MutexLock lock(&mutex_);
  return Total();
}

int64_t MemoryBudget::Total() const {
  return std::accumulate(held_.begin(), held_.end(), int64_t{0});
}

void MemoryBudget::Release(MemoryPart part, int64_t bytes) {
  MutexLock lock(&mutex_);
  held_[static_cast<size_t>(part)] -= bytes;
}

}  // namespace chimera
