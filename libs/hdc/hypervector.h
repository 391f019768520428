// Binary spatter code over 8,192 bits (math-inference-training C.1). Bit i of a vector is bit i %
// 64 of word i / 64; on disk a vector is its 128 words, little endian, 1,024 bytes. Chance distance
// of two unrelated vectors is 4,096 with a standard deviation of 45.3. Every function gives the
// same bits on every instruction set (hyper_kernels.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace chimera {

inline constexpr int kHyperBits = 8192;
inline constexpr int kHyperWords = kHyperBits / 64;
inline constexpr size_t kHyperBytes = kHyperBits / 8;

// Plain data, aligned to a cache line. Thread-compatible.
struct alignas(64) HyperVector {
  std::array<uint64_t, kHyperWords> words;

  bool Bit(int i) const { return words[i / 64] >> (i % 64) & 1; }
  friend bool operator==(const HyperVector&, const HyperVector&) = default;
};

// a XOR b: its own inverse, keeps distances.
HyperVector Bind(const HyperVector& a, const HyperVector& b);

// The whole string rotated left: bit i moves to bit i + k modulo 8,192. k and -k are inverse.
HyperVector Rotate(const HyperVector& a, int64_t k);

// Per-bit majority; a bit with as many ones as zeros (also: no vectors at all) comes from tie.
// About 63 members can be recognised in a bundle, not more.
HyperVector Bundle(std::span<const HyperVector> vectors, const HyperVector& tie);

// Number of differing bits, 0..8192.
int Hamming(const HyperVector& a, const HyperVector& b);

// 1 for equal vectors, about 0 for unrelated ones, -1 for complements: 1 - 2 * distance / 8192.
constexpr float Similarity(int distance) {
  return 1.0f - 2.0f * static_cast<float>(distance) / static_cast<float>(kHyperBits);
}

// The 1,024-byte memory image, the same on every machine.
std::array<uint8_t, kHyperBytes> ToBytes(const HyperVector& a);
HyperVector FromBytes(std::span<const uint8_t, kHyperBytes> bytes);

}  // namespace chimera
