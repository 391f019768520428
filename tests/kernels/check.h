// What the kernel check is made of: a main() without GoogleTest and Abseil, so that it also runs
// where only a compiler is (cross builds, WebAssembly). Every result is compared with its naive
// twin and goes into one hash, which must be the same for every level and on every platform.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/cpu.h"

namespace chimera {

// Comparisons of one level. Thread-compatible.
class Check {
 public:
  explicit Check(Isa isa) : isa_(isa) {}
  Isa isa() const { return isa_; }

  // |got - want| <= tol (1 + |want|) for each of n values; prints the worst when not.
  void Close(const std::string& what, const float* got, const double* want, size_t n,
             double tol = 1e-5);
  void Close(const std::string& what, const std::vector<float>& got,
             const std::vector<double>& want, double tol = 1e-5);
  // The same bits.
  template <typename T>
  void Same(const std::string& what, const std::vector<T>& got, const std::vector<T>& want) {
    const bool same = got.size() == want.size() &&
                      std::memcmp(got.data(), want.data(), got.size() * sizeof(T)) == 0;
    Record(what, same, got.data(), got.size() * sizeof(T), got.size());
  }

  // The same bits, of a kernel that not every level has: no part of the hash.
  void Agree(const std::string& what, const std::vector<float>& got,
             const std::vector<float>& want);

  uint64_t hash() const { return hash_; }
  int64_t values() const { return values_; }
  int failures() const { return failures_; }

 private:
  void Record(const std::string& what, bool good, const void* data, size_t bytes, size_t values);

  const Isa isa_;
  uint64_t hash_ = 14695981039346656037u;  // FNV-1a
  int64_t values_ = 0;
  int failures_ = 0;
};

// Short binary fractions in [offset - scale, offset + scale), one stream per seed.
std::vector<float> Noise(size_t n, float scale, float offset, uint32_t seed);
std::vector<double> Wide(const std::vector<float>& x);

// Packed formats, quantizers and products (libs/ternary).
void CheckQuantizers(Check* check);
void CheckProducts(Check* check);
// Norms, gates, steps of the recurrences (libs/layers).
void CheckSmallLayers(Check* check);
void CheckRecurrences(Check* check);
void CheckMemories(Check* check);
// Elementwise loops, sums (libs/tensor, libs/model, libs/decode).
void CheckSums(Check* check);
// Hypervectors (libs/hdc).
void CheckHypervectors(Check* check);

}  // namespace chimera
