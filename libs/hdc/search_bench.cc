#include "hdc/search_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "base/philox.h"

namespace chimera {
namespace {

constexpr uint64_t kSeed = 20261126;

}  // namespace

HyperVector RandomVector(uint32_t set, uint64_t n) {
  const PhiloxStream stream(kSeed, RngPurpose::kDataShuffle, set);
  HyperVector v;
  for (int w = 0; w < kHyperWords; w += 2) {
    const PhiloxBlock block = stream.Block(n * (kHyperWords / 2) + static_cast<uint64_t>(w / 2));
    v.words[w] = block[0] | static_cast<uint64_t>(block[1]) << 32;
    v.words[w + 1] = block[2] | static_cast<uint64_t>(block[3]) << 32;
  }
  return v;
}

HyperVector Flipped(const HyperVector& v, double probability, uint64_t n) {
  // A bit is set with probability 0.b1 b2 .. b12 when fair bits are joined from the last digit on:
  // by "or" for a one, by "and" for a zero.
  constexpr int kDigits = 12;
  const auto digits = static_cast<uint32_t>(std::lround(std::ldexp(probability, kDigits)));
  const PhiloxStream stream(kSeed, RngPurpose::kDataShuffle, ~uint32_t{0});
  HyperVector out = v;
  for (int w = 0; w < kHyperWords; w += 2) {
    uint64_t low = 0, high = 0;
    for (int digit = 0; digit < kDigits; ++digit) {
      const auto at = static_cast<uint64_t>(w / 2 * kDigits + digit);
      const PhiloxBlock block = stream.Block(n * (kHyperWords / 2 * kDigits) + at);
      const uint64_t fair_low = block[0] | static_cast<uint64_t>(block[1]) << 32;
      const uint64_t fair_high = block[2] | static_cast<uint64_t>(block[3]) << 32;
      const bool one = digits >> digit & 1;
      low = one ? low | fair_low : low & fair_low;
      high = one ? high | fair_high : high & fair_high;
    }
    out.words[w] ^= low;
    out.words[w + 1] ^= high;
  }
  return out;
}

NearQueries MakeNearQueries(const SketchIndex& index, double distance, int n) {
  const PhiloxStream targets(kSeed, RngPurpose::kDataShuffle, ~uint32_t{1});
  NearQueries near;
  for (uint64_t q = 0; q < static_cast<uint64_t>(n); ++q) {
    near.targets.push_back(targets.Word(q) % index.size());
    near.queries.push_back(Flipped(*index.Find(near.targets.back()), distance, q));
  }
  return near;
}

SearchRun RunSearches(const SketchIndex& index, const SearchPolicy& policy,
                      const NearQueries& queries, SearchScratch* scratch) {
  using Clock = std::chrono::steady_clock;
  SearchRun run;
  std::vector<SketchMatch> found;
  int hits = 0;
  for (size_t q = 0; q < queries.queries.size(); ++q) {
    const auto start = Clock::now();
    index.Nearest(queries.queries[q], 8, policy, scratch, &found);
    const std::chrono::duration<double> took = Clock::now() - start;
    run.seconds += took.count();
    run.microseconds.push_back(took.count() * 1e6);
    hits += std::any_of(found.begin(), found.end(),
                        [&](const SketchMatch& match) { return match.id == queries.targets[q]; });
  }
  std::sort(run.microseconds.begin(), run.microseconds.end());
  run.recall = static_cast<double>(hits) / static_cast<double>(queries.queries.size());
  return run;
}

double MeasureRecall(const SketchIndex& index, const SearchPolicy& policy, double distance, int n,
                     SearchScratch* scratch) {
  return RunSearches(index, policy, MakeNearQueries(index, distance, n), scratch).recall;
}

}  // namespace chimera
