// What the tests and the bench of the index share: random vectors, vectors near others, and how
// well and how fast they are found. One thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "hdc/sketch_index.h"

namespace chimera {

// Vector n of a set; the bits are independent and fair.
HyperVector RandomVector(uint32_t set, uint64_t n);

// Every bit of v flipped with this probability, rounded to 1/4096; another n flips others.
HyperVector Flipped(const HyperVector& v, double probability, uint64_t n);

// Queries near vectors of an index whose ids are 0..size()-1.
struct NearQueries {
  std::vector<HyperVector> queries;
  std::vector<uint64_t> targets;
};
NearQueries MakeNearQueries(const SketchIndex& index, double distance, int n);

// How one pass over queries went, with the nearest eight of each.
struct SearchRun {
  double recall = 0;                 // share of the queries that find their target
  double seconds = 0;                // of all searches together
  std::vector<double> microseconds;  // of each search, sorted
  double qps() const { return static_cast<double>(microseconds.size()) / seconds; }
  double p50_us() const { return microseconds[microseconds.size() / 2]; }
  double p99_us() const { return microseconds[microseconds.size() * 99 / 100]; }
};
SearchRun RunSearches(const SketchIndex& index, const SearchPolicy& policy,
                      const NearQueries& queries, SearchScratch* scratch);

// The recall alone, of n queries at this distance.
double MeasureRecall(const SketchIndex& index, const SearchPolicy& policy, double distance, int n,
                     SearchScratch* scratch);

}  // namespace chimera
