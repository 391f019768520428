// Sketches a knot process holds by content hash, so that a field travels as 8 bytes once it is
// known. The least recently used leave first; their owner sends them again when asked. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "cluster/content_lru.h"
#include "hdc/hypervector.h"

namespace chimera {

// The name a sketch travels by: XXH3-64 of its bytes.
uint64_t SketchId(const HyperVector& sketch);

class SketchCache {
 public:
  static constexpr size_t kSketchesMax = 16384;  // 16 MiB

  explicit SketchCache(size_t sketches_max = kSketchesMax)
      : sketches_(static_cast<int64_t>(sketches_max * kHyperBytes)) {}

  // InvalidArgument: another size than 1,024 bytes, or bytes that id is not the hash of.
  absl::Status Put(uint64_t id, std::string_view bytes);
  // Null when it is not held. What was returned stays valid whatever leaves the cache.
  std::shared_ptr<const HyperVector> Find(uint64_t id) { return sketches_.Find(id); }

 private:
  ContentLru<HyperVector> sketches_;
};

}  // namespace chimera
