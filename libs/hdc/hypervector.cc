#include "hdc/hypervector.h"

#include "hdc/bundle_counter.h"
#include "hdc/hamming.h"

namespace chimera {

HyperVector Bind(const HyperVector& a, const HyperVector& b) {
  HyperVector out;
  for (int w = 0; w < kHyperWords; ++w) out.words[w] = a.words[w] ^ b.words[w];
  return out;
}

HyperVector Rotate(const HyperVector& a, int64_t k) {
  const int left = static_cast<int>((k % kHyperBits + kHyperBits) % kHyperBits);
  const int words = left / 64;
  const int bits = left % 64;
  HyperVector out;
  for (int w = 0; w < kHyperWords; ++w) {
    const uint64_t high = a.words[(w - words + kHyperWords) % kHyperWords];
    const uint64_t low = a.words[(w - words - 1 + kHyperWords) % kHyperWords];
    out.words[w] = bits == 0 ? high : high << bits | low >> (64 - bits);
  }
  return out;
}

HyperVector Bundle(std::span<const HyperVector> vectors, const HyperVector& tie) {
  BundleCounter counter;
  for (const HyperVector& vector : vectors) counter.Add(vector, 1);
  return counter.Majority(tie);
}

int Hamming(const HyperVector& a, const HyperVector& b) {
  static const HammingFn kBody = HammingFor(BestHammingIsa());
  return static_cast<int>(kBody(a.words.data(), b.words.data()));
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
