// What a knot process keeps by content hash (sketches, masks, class tables), within a budget of
// bytes; the least recently used leave first. What was returned stays valid whatever leaves.
// Thread-safe.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "base/mutex.h"

namespace chimera {

// INVALID_ARGUMENT unless the content of a `what` has the hash it travels by.
absl::Status CheckContentId(const char* what, uint64_t id, uint64_t hash);

template <typename T>
class ContentLru {
 public:
  explicit ContentLru(int64_t bytes_max) : bytes_max_(bytes_max) {}

  // The newest stays even when it alone exceeds the budget.
  void Put(uint64_t id, std::shared_ptr<const T> content, int64_t bytes) {
    MutexLock lock(&mutex_);
    if (by_id_.contains(id)) return;
    recent_.push_front({id, std::move(content), bytes});
    by_id_[id] = recent_.begin();
    bytes_ += bytes;
    while (bytes_ > bytes_max_ && recent_.size() > 1) {
      bytes_ -= recent_.back().bytes;
      by_id_.erase(recent_.back().id);
      recent_.pop_back();
    }
  }

  // Null when it is not held.
  std::shared_ptr<const T> Find(uint64_t id) {
    MutexLock lock(&mutex_);
    const auto it = by_id_.find(id);
    if (it == by_id_.end()) return nullptr;
    recent_.splice(recent_.begin(), recent_, it->second);
    return it->second->content;
  }

 private:
  struct Entry {
    uint64_t id = 0;
    std::shared_ptr<const T> content;
    int64_t bytes = 0;
  };

  const int64_t bytes_max_;
  Mutex mutex_;
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::list<Entry> recent_ ABSL_GUARDED_BY(mutex_);  // last used first
  std::unordered_map<uint64_t, typename std::list<Entry>::iterator> by_id_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace chimera
