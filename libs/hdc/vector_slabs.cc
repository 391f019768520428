#include "hdc/vector_slabs.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <new>

#include "base/check.h"

namespace chimera {

void VectorSlabs::Free::operator()(HyperVector* slab) const { std::free(slab); }

uint32_t VectorSlabs::Add() {
  const uint32_t slab = SlabOf(size_);
  if (slab == slabs_.size()) {
    const size_t bytes = (FirstOf(slab + 1) - FirstOf(slab)) * sizeof(HyperVector);
    const size_t alignment =
        std::max(std::min(bytes, kSlab * sizeof(HyperVector)), alignof(HyperVector));
    void* const memory = std::aligned_alloc(alignment, bytes);
    CHIMERA_CHECK(memory != nullptr);
#ifdef __linux__
    // Searches jump between vectors; with huge pages the jumps find their addresses sooner.
    if (bytes == kSlab * sizeof(HyperVector)) ::madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    slabs_.emplace_back(static_cast<HyperVector*>(memory));
  }
  new (At(size_)) HyperVector{};
  return size_++;
}

std::span<const HyperVector> VectorSlabs::From(uint32_t slot) const {
  const uint32_t end = std::min(size_, FirstOf(SlabOf(slot) + 1));
  return {At(slot), end - slot};
}

size_t VectorSlabs::MemoryBytes() const {
  const uint32_t slabs = static_cast<uint32_t>(slabs_.size());
  return FirstOf(slabs) * sizeof(HyperVector) + slabs_.capacity() * sizeof(slabs_[0]);
}

}  // namespace chimera
