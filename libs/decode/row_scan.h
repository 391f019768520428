// Passes over the scores of all rows: division, finiteness, and where the largest may be. Plain
// lanes, compiled once per instruction set, the same values on each. Pure.
#pragma once

#include <cstdint>
#include <span>

namespace chimera {

// A strand is every sixteenth value of a run of 512: up to 32 values, strand 16 c + j those at
// 512 c + j, 512 c + j + 16, ... below the end. Its largest value stands for it, so that a search
// for the largest rows looks into few strands only.
inline constexpr int kStrandsPerRun = 16;
inline constexpr int kRunValues = 512;

static constexpr int Strands(int n) { return (n + kRunValues - 1) / kRunValues * kStrandsPerRun; }

// values[i] = values[i] / divisor. False when a value was or becomes NaN or infinite.
bool DivideAll(std::span<float> values, float divisor);

// maxima[Strands(n)]: -infinity for a strand without values. Returns the largest of all. False in
// *finite when a value is NaN or infinite. n >= 1.
float StrandMaxima(std::span<const float> values, std::span<float> maxima, bool* finite);

struct RowScanBody {
  bool (*divide)(float* values, int n, float divisor);
  float (*maxima)(const float* values, int n, float* maxima, bool* finite);
};
namespace baseline {
extern const RowScanBody kRowScan;
}
namespace avx2 {
extern const RowScanBody kRowScan;
}
namespace avx512 {
extern const RowScanBody kRowScan;
}

}  // namespace chimera
