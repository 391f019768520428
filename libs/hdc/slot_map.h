// The slots of ids, in parts: a map that grows moves all it has, and so a sixteenth only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace chimera {

// Thread-compatible.
class SlotMap {
 public:
  static constexpr int kPartBits = 4;
  // The high bits of a product with the golden ratio: ids in any regular step are spread.
  static constexpr size_t PartOf(uint64_t id) {
    return id * 0x9E3779B97F4A7C15ull >> (64 - kPartBits);
  }

  // Where the slot of the id is, 0 when the id is new (second); valid until the next change.
  std::pair<uint32_t*, bool> TryEmplace(uint64_t id) {
    const auto [at, is_new] = parts_[PartOf(id)].try_emplace(id, 0);
    size_ += is_new;
    return {&at->second, is_new};
  }
  // Null when the id is not there.
  const uint32_t* Find(uint64_t id) const {
    const Part& part = parts_[PartOf(id)];
    const auto at = part.find(id);
    return at == part.end() ? nullptr : &at->second;
  }
  void Erase(uint64_t id) { size_ -= parts_[PartOf(id)].erase(id); }

  size_t size() const { return size_; }
  // Bytes allocated, without what is inside this object.
  size_t MemoryBytes() const {
    size_t places = 0;
    for (const Part& part : parts_) places += part.capacity();
    return places * (sizeof(Part::value_type) + 1);
  }

 private:
  using Part = absl::flat_hash_map<uint64_t, uint32_t>;
  std::array<Part, 1 << kPartBits> parts_;
  size_t size_ = 0;
};

}  // namespace chimera
