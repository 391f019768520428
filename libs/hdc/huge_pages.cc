#include "hdc/huge_pages.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <cstdlib>

#include "base/check.h"

namespace chimera {

void* AllocateHuge(size_t bytes) {
  const size_t whole = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  void* const memory = std::aligned_alloc(kHugePage, whole);
  CHIMERA_CHECK(memory != nullptr);
#ifdef __linux__
  ::madvise(memory, whole, MADV_HUGEPAGE);  // a wish: nothing fails without it
#endif
  return memory;
}

}  // namespace chimera
