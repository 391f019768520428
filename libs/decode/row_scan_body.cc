// Compiled once per instruction set. Nothing here rounds but the one division of each value, and
// the largest of some values is the same in any order, so the results agree (decode/row_scan.h).
#include <cstdint>
#include <cstring>
#include <limits>

#include "decode/row_scan.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kLanes = kStrandsPerRun;
constexpr float kNone = -std::numeric_limits<float>::infinity();

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));

// All ones in the lanes of NaN and infinity.
inline Ints Broken(Floats x) { return ((Ints)x & 0x7f800000) == 0x7f800000; }

inline bool Any(Ints lanes) {
  int32_t any = 0;
  for (int i = 0; i < kLanes; ++i) any |= lanes[i];
  return any != 0;
}

// Up to 16 values, the rest `fill`.
inline Floats LoadUpTo(const float* p, int n, float fill) {
  Floats v = Floats{} + fill;
  std::memcpy(&v, p, sizeof(float) * static_cast<unsigned>(n < kLanes ? n : kLanes));
  return v;
}

bool Divide(float* values, int n, float divisor) {
  Ints broken = {};
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Floats x;
    std::memcpy(&x, values + i, sizeof(x));
    const Floats y = x / divisor;
    broken |= Broken(x) | Broken(y);
    std::memcpy(values + i, &y, sizeof(y));
  }
  if (i < n) {
    const Floats x = LoadUpTo(values + i, n - i, 0.0f), y = x / divisor;
    broken |= Broken(x) | Broken(y);
    std::memcpy(values + i, &y, sizeof(float) * static_cast<unsigned>(n - i));
  }
  return !Any(broken);
}

float Maxima(const float* values, int n, float* maxima, bool* finite) {
  Ints broken = {};
  Floats most = Floats{} + kNone;
  for (int run = 0; run < n; run += kRunValues, maxima += kLanes) {
    const int end = n - run < kRunValues ? n : run + kRunValues;
    Floats best = Floats{} + kNone;
    int i = run;
    for (; i + kLanes <= end; i += kLanes) {
      Floats x;
      std::memcpy(&x, values + i, sizeof(x));
      broken |= Broken(x);
      best = x > best ? x : best;
    }
    if (i < end) {
      const Floats x = LoadUpTo(values + i, end - i, values[run]);
      broken |= Broken(x);
      const Floats inside = LoadUpTo(values + i, end - i, kNone);
      best = inside > best ? inside : best;
    }
    std::memcpy(maxima, &best, sizeof(best));
    most = best > most ? best : most;
  }
  *finite = !Any(broken);
  float max = most[0];
  for (int i = 1; i < kLanes; ++i) max = most[i] > max ? most[i] : max;
  return max;
}

}  // namespace

extern const RowScanBody kRowScan;
const RowScanBody kRowScan = {Divide, Maxima};

}  // namespace CHIMERA_ISA
}  // namespace chimera
