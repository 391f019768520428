#include "ternary/machine_peak.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/huge_pages.h"
#include "ternary/machine_peak_kernels.h"

namespace chimera {

namespace baseline {
extern const PeakKernels kPeakKernels;
}  // namespace baseline
#if defined(__x86_64__)
namespace avx2 {
extern const PeakKernels kPeakKernels;
}  // namespace avx2
namespace avxvnni {
extern const PeakKernels kPeakKernels;
}  // namespace avxvnni
namespace avxvnni_evex {
extern const PeakKernels kPeakKernels;
}  // namespace avxvnni_evex
namespace avx512 {
extern const PeakKernels kPeakKernels;
}  // namespace avx512
#elif defined(__aarch64__)
namespace neondot {
extern const PeakKernels kPeakKernels;
}  // namespace neondot
#endif

const PeakKernels& PeakFor(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return avx512::kPeakKernels;
  if (isa == Isa::kAvxVnni) {
    return HasVexVnni() ? avxvnni::kPeakKernels : avxvnni_evex::kPeakKernels;
  }
  if (isa == Isa::kAvx2) return avx2::kPeakKernels;
#elif defined(__aarch64__)
  if (isa == Isa::kNeonDot) return neondot::kPeakKernels;
#endif
  (void)isa;
  return baseline::kPeakKernels;
}

namespace {

constexpr size_t kPiece = size_t{4} << 20;  // bytes a thread takes at a time
constexpr int64_t kDotPieces = 64;
constexpr int64_t kDotRounds = 200000;

double Seconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

ReadProbe::ReadProbe(bool huge_pages, size_t bytes)
    : bytes_(bytes / kPiece * kPiece),
      data_(static_cast<uint8_t*>(AllocateHuge(bytes_)), std::free) {
  CHIMERA_CHECK(bytes_ > 0);
  if (!huge_pages) ::madvise(data_.get(), bytes_, MADV_NOHUGEPAGE);
  std::memset(data_.get(), 1, bytes_);
  huge_pages_ = HugePageShare(data_.get(), bytes_) > 0.5;
}

double ReadProbe::GbPerS(ExecContext* exec) const {
  const PeakKernels& kernels = PeakFor(BestIsa());
  std::atomic<uint64_t> sink{0};
  const auto start = std::chrono::steady_clock::now();
  exec->ParallelFor(static_cast<int64_t>(bytes_ / kPiece), [&](int64_t i) {
    sink.fetch_xor(kernels.read(data_.get() + static_cast<size_t>(i) * kPiece, kPiece));
  });
  return static_cast<double>(bytes_) * 1e-9 / Seconds(start);
}

double DotGmacsPerS(ExecContext* exec) {
  const PeakKernels& kernels = PeakFor(BestIsa());
  std::atomic<int64_t> sink{0}, total{0};
  const auto start = std::chrono::steady_clock::now();
  exec->ParallelFor(kDotPieces, [&](int64_t) {
    int64_t macs = 0;
    sink.fetch_add(kernels.dot(kDotRounds, &macs));
    total.fetch_add(macs);
  });
  return static_cast<double>(total.load()) * 1e-9 / Seconds(start);
}

}  // namespace chimera
