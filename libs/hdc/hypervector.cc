#include "hdc/hypervector.h"

#include "hdc/bundle_counter.h"
#include "hdc/hyper_kernels.h"

namespace chimera {

HyperVector Bind(const HyperVector& a, const HyperVector& b) {
  HyperVector out;
  BestHyper().bind(a.words.data(), b.words.data(), out.words.data());
  return out;
}

HyperVector Rotate(const HyperVector& a, int64_t k) {
  const int left = static_cast<int>((k % kHyperBits + kHyperBits) % kHyperBits);
  HyperVector out;
  BestHyper().rotate(a.words.data(), left, out.words.data());
  return out;
}

HyperVector Bundle(std::span<const HyperVector> vectors, const HyperVector& tie) {
  BundleCounter counter;
  for (const HyperVector& vector : vectors) counter.Add(vector, 1);
  return counter.Majority(tie);
}

int Hamming(const HyperVector& a, const HyperVector& b) {
  return static_cast<int>(BestHyper().hamming(a.words.data(), b.words.data()));
}

std::array<uint8_t, kHyperBytes> ToBytes(const HyperVector& a) {
  std::array<uint8_t, kHyperBytes> bytes;
  for (size_t i = 0; i < kHyperBytes; ++i) {
    bytes[i] = static_cast<uint8_t>(a.words[i / 8] >> (8 * (i % 8)));
  }
  return bytes;
}

HyperVector FromBytes(std::span<const uint8_t, kHyperBytes> bytes) {
  HyperVector out{};
  for (size_t i = 0; i < kHyperBytes; ++i) {
    out.words[i / 8] |= static_cast<uint64_t>(bytes[i]) << (8 * (i % 8));
  }
  return out;
}

}  // namespace chimera
