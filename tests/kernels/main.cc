// Compares every kernel of every level that runs here with its naive twin and prints one line a
// level and the hash of all results. Exit code 1 when a kernel disagrees with its twin, or a level
// with another. Usage: kernel_check
#include <cinttypes>
#include <cmath>
#include <cstdio>

#include "kernels/check.h"

namespace chimera {

void Check::Record(const std::string& what, bool good, const void* data, size_t bytes,
                   size_t values) {
  const auto mix = [this](const void* p, size_t n) {
    for (size_t i = 0; i < n; ++i) {
      hash_ = (hash_ ^ static_cast<const uint8_t*>(p)[i]) * 1099511628211u;
    }
  };
  mix(what.data(), what.size());
  mix(data, bytes);
  values_ += static_cast<int64_t>(values);
  if (good) return;
  ++failures_;
  std::printf("%s: %s disagrees with its twin\n", IsaName(isa_), what.c_str());
}

void Check::Close(const std::string& what, const float* got, const double* want, size_t n,
                  double tol) {
  double worst = 0;
  size_t at = 0;
  for (size_t i = 0; i < n; ++i) {
    const double error = std::abs(double{got[i]} - want[i]) / (1 + std::abs(want[i]));
    if (!(error <= worst)) worst = error, at = i;  // also takes NaN
  }
  const bool good = worst <= tol;
  if (!good) std::printf("%s[%zu] = %.9g, want %.9g\n", what.c_str(), at, got[at], want[at]);
  Record(what, good, got, n * sizeof(float), n);
}

void Check::Close(const std::string& what, const std::vector<float>& got,
                  const std::vector<double>& want, double tol) {
  if (got.size() != want.size()) return Record(what, false, nullptr, 0, 0);
  Close(what, got.data(), want.data(), got.size(), tol);
}

void Check::Agree(const std::string& what, const std::vector<float>& got,
                  const std::vector<float>& want) {
  Check alone(isa_);
  alone.Same(what, got, want);
  failures_ += alone.failures();
}

std::vector<float> Noise(size_t n, float scale, float offset, uint32_t seed) {
  std::vector<float> x(n);
  uint32_t state = seed * 2654435761u + 97u;
  for (float& value : x) {
    state = state * 1664525u + 1013904223u;
    value =
        offset + scale * (static_cast<float>(static_cast<int32_t>(state >> 16) - 32768) / 32768);
  }
  return x;
}

std::vector<double> Wide(const std::vector<float>& x) { return {x.begin(), x.end()}; }

}  // namespace chimera

int main() {
  using chimera::Check;
  int failures = 0;
  uint64_t first = 0;
  for (chimera::Isa isa : chimera::kEveryIsa) {
    if (!chimera::Runs(isa)) continue;
    Check check(isa);
    chimera::CheckQuantizers(&check);
    chimera::CheckProducts(&check);
    chimera::CheckSmallLayers(&check);
    chimera::CheckRecurrences(&check);
    chimera::CheckMemories(&check);
    chimera::CheckSums(&check);
    chimera::CheckHypervectors(&check);
    std::printf("%-8s %" PRId64 " values, %d disagree with their twin, hash %016" PRIx64 "\n",
                chimera::IsaName(isa), check.values(), check.failures(), check.hash());
    failures += check.failures();
    if (isa == chimera::Isa::kBaseline) first = check.hash();
    if (check.hash() != first) {
      std::printf("%s: another hash than baseline\n", chimera::IsaName(isa));
      ++failures;
    }
  }
  std::printf("hash %016" PRIx64 "\n", first);
  return failures == 0 ? 0 : 1;
}
