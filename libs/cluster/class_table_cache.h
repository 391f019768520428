// Class tables a knot process holds by content hash, so that a table travels as 8 bytes once it is
// known (DESIGN D4). The least recently used leave first; their owner sends them again when asked.
// Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "cluster/content_lru.h"
#include "decode/knot.h"

namespace chimera {

// As it travels: one byte a token.
std::string_view ClassTableBytes(const ClassTable& table);
// The name it travels by: XXH3-64 of those bytes.
uint64_t ClassTableId(const ClassTable& table);

class ClassTableCache {
 public:
  static constexpr int64_t kBytesMax = 4 << 20;
  static constexpr size_t kTableBytesMax = 1 << 20;  // of one table

  explicit ClassTableCache(int64_t bytes_max = kBytesMax) : tables_(bytes_max) {}

  // InvalidArgument: no bytes, more than kTableBytesMax, a class beyond the last, or bytes that id
  // is not the hash of.
  absl::Status Put(uint64_t id, std::string_view bytes);
  // Null when it is not held. What was returned stays valid whatever leaves the cache.
  std::shared_ptr<const ClassTable> Find(uint64_t id) { return tables_.Find(id); }

 private:
  ContentLru<ClassTable> tables_;
};

}  // namespace chimera
