// Vectors in memory that never moves, so that growing copies nothing.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "hdc/hypervector.h"

namespace chimera {

// Slots 0..size()-1 of 1 KiB. The first slabs double from 16 to 1,024 vectors, so few vectors take
// little memory; all others hold 2,048, which is one huge page of 2 MiB where the system has them.
// Thread-compatible.
class VectorSlabs {
 public:
  static constexpr uint32_t kSlab = 2048;

  // The slot of a copy.
  uint32_t Add(const HyperVector& vector);
  uint32_t size() const { return size_; }

  HyperVector& operator[](uint32_t slot) { return *At(slot); }
  const HyperVector& operator[](uint32_t slot) const { return *At(slot); }

  // Vectors one after the other from `slot` on, to the end of its slab or of all; slot < size().
  std::span<const HyperVector> From(uint32_t slot) const;

  size_t MemoryBytes() const;

 private:
  struct Free {
    void operator()(HyperVector* slab) const;
  };
  static constexpr uint32_t kFirst = 16;
  static constexpr uint32_t kSmallSlabs = 8;  // 16, 16, 32, 64 .. 1024: together kSlab

  static uint32_t SlabOf(uint32_t slot) {
    if (slot >= kSlab) return kSmallSlabs - 1 + slot / kSlab;
    return static_cast<uint32_t>(std::bit_width(slot / kFirst));
  }
  static uint32_t FirstOf(uint32_t slab) {
    if (slab >= kSmallSlabs) return (slab - kSmallSlabs + 1) * kSlab;
    return slab == 0 ? 0 : kFirst << (slab - 1);
  }
  HyperVector* At(uint32_t slot) const {
    const uint32_t slab = SlabOf(slot);
    return slabs_[slab].get() + (slot - FirstOf(slab));
  }

  std::vector<std::unique_ptr<HyperVector[], Free>> slabs_;
  uint32_t size_ = 0;
};

}  // namespace chimera
