#include "hdc/vector_slabs.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "base/huge_pages.h"

namespace chimera {

static_assert(VectorSlabs::kSlab * sizeof(HyperVector) == kHugePage);

void VectorSlabs::Free::operator()(HyperVector* slab) const { std::free(slab); }

uint32_t VectorSlabs::Add(const HyperVector& vector) {
  const uint32_t slab = SlabOf(size_);
  if (slab == slabs_.size()) {
    const size_t bytes = (FirstOf(slab + 1) - FirstOf(slab)) * sizeof(HyperVector);
    slabs_.emplace_back(static_cast<HyperVector*>(AllocateBuffer(bytes)));
  }
  new (At(size_)) HyperVector(vector);
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
