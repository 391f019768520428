#include "base/huge_pages.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

#include "base/check.h"

namespace chimera {
namespace {

size_t RoundUp(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

// The first huge_bytes of them are asked for as huge pages.
void* Allocate(size_t alignment, size_t bytes, size_t huge_bytes) {
  void* memory = nullptr;
  CHIMERA_CHECK(::posix_memalign(&memory, alignment, bytes) == 0);
  if (huge_bytes > 0) AskForHugePages(memory, huge_bytes);
  return memory;
}

}  // namespace

void AskForHugePages([[maybe_unused]] void* begin, [[maybe_unused]] size_t bytes) {
#ifdef __linux__
  ::madvise(begin, bytes, MADV_HUGEPAGE);
#endif
}

void* AllocateHuge(size_t bytes) {
  const size_t whole = RoundUp(bytes, kHugePage);
  return Allocate(kHugePage, whole, whole);
}

void* AllocateBuffer(size_t bytes) {
  constexpr size_t kCacheLine = 64;
  const size_t lines = RoundUp(std::max<size_t>(bytes, 1), kCacheLine);
  const bool huge = lines >= kHugePage;
  return Allocate(huge ? kHugePage : kCacheLine, lines, lines / kHugePage * kHugePage);
}

double HugePageShare(const void* begin, size_t bytes) {
  const auto first = reinterpret_cast<uintptr_t>(begin);
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  uint64_t huge_kib = 0;
  while (std::getline(maps, line)) {
    uint64_t from = 0, to = 0, kib = 0;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2) {
      inside = from < first + bytes && to > first;
    } else if (inside && (std::sscanf(line.c_str(), "AnonHugePages: %" SCNu64, &kib) == 1 ||
                          std::sscanf(line.c_str(), "FilePmdMapped: %" SCNu64, &kib) == 1 ||
                          std::sscanf(line.c_str(), "ShmemPmdMapped: %" SCNu64, &kib) == 1)) {
      huge_kib += kib;
    }
  }
  if (bytes == 0) return 0.0;
  return std::min(1.0, static_cast<double>(huge_kib) * 1024.0 / static_cast<double>(bytes));
}

}  // namespace chimera
