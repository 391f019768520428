// What the tests and the bench of the index share: random vectors, vectors near others, and the
// share of them that a search finds.
#pragma once

#include <cstdint>

#include "hdc/sketch_index.h"

namespace chimera {

// Vector n of a set; the bits are independent and fair.
HyperVector RandomVector(uint32_t set, uint64_t n);

// Every bit of v flipped with this probability, rounded to 1/4096; another n flips others.
HyperVector Flipped(const HyperVector& v, double probability, uint64_t n);

// The share of `queries` vectors at this distance from one of the index, whose ids are 0..size()-1,
// that find it among their nearest eight.
double MeasureRecall(const SketchIndex& index, const SearchPolicy& policy, double distance,
                     int queries, SearchScratch* scratch);

}  // namespace chimera
