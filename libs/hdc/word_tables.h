// The Unicode data word splitting needs, sorted by code point; word_tables.cc is generated.
// Private to words.cc and its test. Immutable.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chimera {

// first..last inclusive.
struct CodePointRange {
  uint32_t first;
  uint32_t last;
};

// Every stride-th code point of first..last has the small letter at code point + delta.
struct LowerRun {
  uint32_t first;
  uint32_t last;
  int32_t delta;
  uint32_t stride;
};

extern const CodePointRange kWordRanges[];
extern const size_t kWordRangeCount;
extern const LowerRun kLowerRuns[];
extern const size_t kLowerRunCount;

}  // namespace chimera
