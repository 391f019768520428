// Asking for memory before it is needed.
#pragma once

namespace chimera {

// Starts loading the cache line of this address, which need not be readable. Not the builtin
// itself: gcc 12 takes a function of nothing but prefetches for one without effects, and drops its
// calls.
[[gnu::always_inline]] inline void PrefetchLine(const void* address) {
#if defined(__x86_64__)
  __asm__ volatile("prefetcht0 %0" : : "m"(*static_cast<const char*>(address)));
#else
  __builtin_prefetch(address);
  __asm__ volatile("");
#endif
}

}  // namespace chimera
