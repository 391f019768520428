// How much of an index a search looks at, what that finds, and what it costs
// (math-inference-training C.3). Everything here is pure.
#pragma once

#include <cstddef>

namespace chimera {

// Looks into the query's bucket in the first `tables` of the 64 tables, and in the first
// `flip_tables` of them also into the 14 buckets that differ in one bit. What lies in at least
// `min_votes` of those tables is a candidate; candidates are ranked by their exact distance.
// tables == 0 looks at every vector.
struct SearchPolicy {
  int tables = 0;       // 0..64
  int flip_tables = 0;  // 0..tables
  int min_votes = 1;    // 1..tables

  bool scan() const { return tables == 0; }
  friend bool operator==(const SearchPolicy&, const SearchPolicy&) = default;
};

inline constexpr SearchPolicy kScan{};
inline constexpr SearchPolicy kExactProbing{.tables = 64};  // near duplicates: distance up to 0.2
inline constexpr SearchPolicy kFlipsOn16{.tables = 64, .flip_tables = 16};
inline constexpr SearchPolicy kFlipsOnAll{.tables = 64, .flip_tables = 64};  // topics: up to 0.3

// The probability that a vector whose bits differ from the query's with probability `distance`
// becomes a candidate: 1 - (1 - (1-d)^14)^64 for exact probing.
double ExpectedRecall(const SearchPolicy& policy, double distance);

// Nanoseconds on one core of a 2.5 GHz Xeon (Cascade Lake), 200,000 vectors, from `chimera bench
// memory`. They are constants and not measured at start, so that the same question is answered in
// the same way everywhere (DESIGN D20); only their ratios matter.
struct SearchCosts {
  double scan_vector = 105;  // the next vector of a scan
  double query = 1000;       // the buckets of a query, the answer
  double look = 75;          // a bucket
  double meet = 4;           // an entry of a bucket
  double rank = 225;         // a candidate's distance
};

// Expected nanoseconds of a search among n unrelated vectors.
double ExpectedCost(const SearchPolicy& policy, size_t n, const SearchCosts& costs = {});

// The cheapest policy that finds a vector at this distance with at least this probability; kScan
// when nothing else does or nothing is cheaper. Takes about a millisecond: ask once, not a search.
SearchPolicy CheapestPolicy(size_t n, double distance, double recall,
                            const SearchCosts& costs = {});

}  // namespace chimera
