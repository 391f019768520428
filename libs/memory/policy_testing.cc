#include "memory/policy_testing.h"

#include <algorithm>

#include "base/file.h"
#include "base/philox.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

std::string WithChecksum(std::string bytes) {
  if (bytes.size() < 8) return bytes;
  const uint64_t check = Xxh3(std::string_view(bytes).substr(0, bytes.size() - 8));
  for (size_t i = 0; i < 8; ++i) {
    bytes[bytes.size() - 8 + i] = static_cast<char>(check >> (8 * i));
  }
  return bytes;
}

// An error, or the same bytes again.
void ExpectErrorOrEqual(const std::string& bytes, const Reencode& reencode) {
  const absl::StatusOr<std::string> again = reencode(bytes);
  if (!again.ok()) {
    EXPECT_FALSE(again.status().message().empty());
    return;
  }
  EXPECT_TRUE(*again == bytes) << "decoded and lost something, " << bytes.size() << " bytes";
}

std::string Mutated(std::string bytes, const PhiloxStream& random, uint64_t* next) {
  const auto below = [&](size_t n) { return random.Word((*next)++) % std::max<size_t>(n, 1); };
  switch (below(3)) {
    case 0:
      for (size_t i = 0, n = 1 + below(8); i < n; ++i) {
        bytes[below(bytes.size())] = static_cast<char>(below(256));
      }
      break;
    case 1:
      bytes.erase(below(bytes.size()), 1 + below(40));
      break;
    default:
      bytes.insert(below(bytes.size()), 1 + below(40), static_cast<char>(below(256)));
      break;
  }
  return bytes;
}

}  // namespace

void ExpectHardenedDecode(const std::string& sample, const Reencode& reencode, int mutations,
                          size_t skip_body) {
  const absl::StatusOr<std::string> same = reencode(sample);
  ASSERT_TRUE(same.ok()) << same.status();
  ASSERT_TRUE(*same == sample);
  for (size_t n = 0; n<sample.size(); n += n> 64 ? skip_body : 1) {
    EXPECT_FALSE(reencode(std::string_view(sample).substr(0, n)).ok()) << n << " bytes";
  }
  for (size_t at = 0; at<sample.size(); at += at> 64 ? skip_body : 1) {
    std::string bytes = sample;
    for (int bit = 0; bit < 8; ++bit) {
      bytes[at] = static_cast<char>(sample[at] ^ (1 << bit));
      EXPECT_FALSE(reencode(bytes).ok()) << "byte " << at << " bit " << bit;
      ExpectErrorOrEqual(WithChecksum(bytes), reencode);
    }
  }
  const PhiloxStream random(11, RngPurpose::kDataShuffle, 0);
  uint64_t next = 0;
  for (int i = 0; i < mutations; ++i) {
    ExpectErrorOrEqual(WithChecksum(Mutated(sample, random, &next)), reencode);
  }
}

HyperVector RandomVector(uint64_t seed, uint64_t n) {
  const PhiloxStream random(seed, RngPurpose::kDataShuffle, 1);
  HyperVector vector;
  for (uint64_t i = 0; i < kHyperWords; ++i) {
    const PhiloxBlock block = random.Block(n * kHyperWords + i);
    vector.words[i] = uint64_t{block[0]} << 32 | block[1];
  }
  return vector;
}

HyperVector Flipped(const HyperVector& vector, int bits, uint64_t seed) {
  const PhiloxStream random(seed, RngPurpose::kDataShuffle, 2);
  HyperVector out = vector;
  for (uint64_t n = 0; Hamming(out, vector) < bits; ++n) {
    const uint32_t bit = random.Word(n) % kHyperBits;
    out.words[bit / 64] = (out.words[bit / 64] & ~(uint64_t{1} << (bit % 64))) |
                          (~vector.words[bit / 64] & (uint64_t{1} << (bit % 64)));
  }
  return out;
}

}  // namespace chimera
