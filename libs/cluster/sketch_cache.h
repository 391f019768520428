// Sketches a knot process holds by content hash, so that a field travels as 8 bytes once it is
// known. The least recently used leave first; their owner sends them again when asked. Thread-safe.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "hdc/hypervector.h"

namespace chimera {

// The name a sketch travels by: XXH3-64 of its bytes.
uint64_t SketchId(const HyperVector& sketch);

class SketchCache {
 public:
  static constexpr size_t kSketchesMax = 16384;  // 16 MiB

  explicit SketchCache(size_t sketches_max = kSketchesMax) : sketches_max_(sketches_max) {}

  // InvalidArgument: another size than 1,024 bytes, or bytes that id is not the hash of.
  absl::Status Put(uint64_t id, std::string_view bytes);
  // Null when it is not held. What was returned stays valid whatever leaves the cache.
  std::shared_ptr<const HyperVector> Find(uint64_t id);

 private:
  using Entry = std::pair<uint64_t, std::shared_ptr<const HyperVector>>;

  const size_t sketches_max_;
  Mutex mutex_;
  std::list<Entry> recent_ ABSL_GUARDED_BY(mutex_);  // last used first
  std::unordered_map<uint64_t, std::list<Entry>::iterator> by_id_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace chimera
