// What the tests of this library share: tokenizers and random strings. Never linked into a service.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/philox.h"
#include "text/tokenizer.h"

namespace chimera {

// The first n ranks (at most 8192) of o200k_base.
std::shared_ptr<const Tokenizer> TruncatedTokenizer(int n);
// The rank text TruncatedTokenizer reads.
const std::string& TruncatedRankText();
// All of o200k_base, or null when scripts/fetch_tokenizer.sh was not run.
std::shared_ptr<const Tokenizer> FullTokenizer();
inline constexpr char kNoFullTokenizer[] =
    "needs .cache/tokenizer/o200k_base.tiktoken (scripts/fetch_tokenizer.sh)";

// Draws, one after another. Thread-compatible.
class TestRandom {
 public:
  explicit TestRandom(uint64_t seed) : stream_(seed, RngPurpose::kDataShuffle, 0) {}

  uint32_t Below(uint32_t bound) { return stream_.Word(next_++) % bound; }
  // Bytes of every value.
  std::string Bytes(size_t size);
  // Up to `chars` symbols from the class alphabet of F.5; with `broken`, also bytes that are no
  // UTF-8.
  std::string ClassText(size_t chars, bool broken);

 private:
  PhiloxStream stream_;
  uint64_t next_ = 0;
};

}  // namespace chimera
