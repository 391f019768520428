// Memory for what is read at random: with pages of 2 MiB an address is found sooner.
#pragma once

#include <cstddef>

namespace chimera {

inline constexpr size_t kHugePage = size_t{2} << 20;

// Bytes rounded up to whole huge pages and aligned to one, huge where the system allows it; small
// pages serve as well. Given back with std::free. Aborts when there is no memory.
void* AllocateHuge(size_t bytes);

}  // namespace chimera
