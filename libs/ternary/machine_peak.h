// The two limits of this machine that a kernel's figure is a fraction of (DESIGN D13): bytes a
// second out of DRAM, and int8 multiply-adds a second out of registers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/exec_context.h"

namespace chimera {

// Memory that no cache holds, read with the widest loads. Thread-compatible.
class ReadProbe {
 public:
  static constexpr size_t kBytes = size_t{2} << 30;

  // Takes and touches the memory; smaller sizes are for tests. huge_pages: as what it is compared
  // with has them, where the system gives them.
  explicit ReadProbe(bool huge_pages = true, size_t bytes = kBytes);
  ReadProbe(const ReadProbe&) = delete;
  ReadProbe& operator=(const ReadProbe&) = delete;

  // Whether it stands on huge pages.
  bool huge_pages() const { return huge_pages_; }
  // 10^9 bytes a second of one pass over all of it by all threads.
  double GbPerS(ExecContext* exec) const;

 private:
  const size_t bytes_;
  std::unique_ptr<uint8_t, void (*)(void*)> data_;
  bool huge_pages_;
};

// 10^9 int8 multiply-adds a second of the best dot-product instruction of the level, on operands
// that never leave registers, all threads together.
double DotGmacsPerS(ExecContext* exec);

}  // namespace chimera
