// What a knot process keeps by content hash, within a budget of bytes; the least recently used
// leave first. What was returned stays valid whatever leaves. Thread-safe.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>

#include "base/mutex.h"

namespace chimera {

// T has size() and value_type.
template <typename T>
class ContentLru {
 public:
  explicit ContentLru(int64_t bytes_max) : bytes_max_(bytes_max) {}

  // The newest stays even when it alone exceeds the budget.
  void Put(uint64_t id, std::shared_ptr<const T> content) {
    MutexLock lock(&mutex_);
    if (by_id_.contains(id)) return;
    recent_.emplace_front(id, std::move(content));
    by_id_[id] = recent_.begin();
    bytes_ += BytesOf(*recent_.front().second);
    while (bytes_ > bytes_max_ && recent_.size() > 1) {
      bytes_ -= BytesOf(*recent_.back().second);
      by_id_.erase(recent_.back().first);
      recent_.pop_back();
    }
  }

  // Null when it is not held.
  std::shared_ptr<const T> Find(uint64_t id) {
    MutexLock lock(&mutex_);
    const auto it = by_id_.find(id);
    if (it == by_id_.end()) return nullptr;
    recent_.splice(recent_.begin(), recent_, it->second);
    return it->second->second;
  }

 private:
  using Entry = std::pair<uint64_t, std::shared_ptr<const T>>;

  static int64_t BytesOf(const T& content) {
    return static_cast<int64_t>(content.size() * sizeof(typename T::value_type));
  }

  const int64_t bytes_max_;
  Mutex mutex_;
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::list<Entry> recent_ ABSL_GUARDED_BY(mutex_);  // last used first
  std::unordered_map<uint64_t, typename std::list<Entry>::iterator> by_id_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace chimera
