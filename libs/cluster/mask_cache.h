// Grammar masks a knot process holds by content hash, so that a mask travels as 8 bytes once it is
// known (DESIGN D4). The least recently used leave first; their owner sends them again when asked.
// Thread-safe.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "decode/knot.h"

namespace chimera {

// As it travels: the words in order, least significant byte first.
std::string MaskBytes(const NodeMask& mask);
// The name it travels by: XXH3-64 of those bytes.
uint64_t MaskId(const NodeMask& mask);

class MaskCache {
 public:
  static constexpr int64_t kBytesMax = 64 << 20;
  static constexpr size_t kMaskBytesMax = 1 << 20;  // of one mask: 8 million tokens

  explicit MaskCache(int64_t bytes_max = kBytesMax) : bytes_max_(bytes_max) {}

  // InvalidArgument: no whole words, more than kMaskBytesMax, or bytes that id is not the hash of.
  absl::Status Put(uint64_t id, std::string_view bytes);
  // Null when it is not held. What was returned stays valid whatever leaves the cache.
  std::shared_ptr<const NodeMask> Find(uint64_t id);

 private:
  using Entry = std::pair<uint64_t, std::shared_ptr<const NodeMask>>;

  const int64_t bytes_max_;
  Mutex mutex_;
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::list<Entry> recent_ ABSL_GUARDED_BY(mutex_);  // last used first
  std::unordered_map<uint64_t, std::list<Entry>::iterator> by_id_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace chimera
