// Memory on pages of 2 MiB where the system gives them (transparent_hugepage "madvise" or
// "always"): an address is found sooner, and the first touch costs one fault in place of 512, which
// on some virtual machines take 10 microseconds each. Small pages serve as well. All of it is given
// back with std::free. Aborts when there is no memory.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <vector>

#include "base/check.h"

namespace chimera {

inline constexpr size_t kHugePage = size_t{2} << 20;

// Asks for huge pages in a mapping, before it is touched. A wish: nothing fails without it.
void AskForHugePages(void* begin, size_t bytes);

// Bytes rounded up to whole huge pages and aligned to one.
void* AllocateHuge(size_t bytes);

// At a multiple of a cache line; huge pages for the whole ones that fit, so that no memory is
// wasted.
void* AllocateBuffer(size_t bytes);

// Of the memory that begins there, the share that its mappings hold in huge pages, once it has been
// touched; 0 where the system does not tell. Takes milliseconds.
double HugePageShare(const void* begin, size_t bytes);

template <typename T>
struct BufferAllocator {
  using value_type = T;
  BufferAllocator() = default;
  template <typename U>
  BufferAllocator(const BufferAllocator<U>&) {}  // NOLINT(google-explicit-constructor)

  T* allocate(size_t n) {
    CHIMERA_CHECK(n <= static_cast<size_t>(-1) / sizeof(T) / 2);
    return static_cast<T*>(AllocateBuffer(n * sizeof(T)));
  }
  void deallocate(T* buffer, size_t) { std::free(buffer); }
  friend bool operator==(const BufferAllocator&, const BufferAllocator&) { return true; }
};

// Of buffers that may be of many MiB.
template <typename T>
using BufferVector = std::vector<T, BufferAllocator<T>>;

}  // namespace chimera
