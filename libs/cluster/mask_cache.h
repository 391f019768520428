// Grammar masks a knot process holds by content hash, so that a mask travels as 8 bytes once it is
// known (DESIGN D4). The least recently used leave first; their owner sends them again when asked.
// Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "cluster/content_lru.h"
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

  explicit MaskCache(int64_t bytes_max = kBytesMax) : masks_(bytes_max) {}

  // InvalidArgument: no whole words, more than kMaskBytesMax, or bytes that id is not the hash of.
  absl::Status Put(uint64_t id, std::string_view bytes);
  // Null when it is not held. What was returned stays valid whatever leaves the cache.
  std::shared_ptr<const NodeMask> Find(uint64_t id) { return masks_.Find(id); }

 private:
  ContentLru<NodeMask> masks_;
};

}  // namespace chimera
