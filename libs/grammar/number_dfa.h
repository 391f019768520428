// Sets of numbers as automata over their JSON spelling.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "grammar/byte_dfa.h"
#include "grammar/decimal.h"
#include "grammar/machine.h"

namespace chimera {

inline constexpr uint32_t kNumberStepMax = 2000;

// Between two bounds, and on a grid: step / 10^step_places times an integer, step 0: no grid.
struct NumberSet {
  std::optional<Decimal> min, max;
  bool min_open = false, max_open = false;
  uint32_t step = 0;
  int step_places = 0;

  static NumberSet Only(Decimal value);
  static NumberSet Integers() { return {.step = 1}; }
  // INVALID_ARGUMENT for a step that is not positive; RESOURCE_EXHAUSTED when its digits make more
  // than kNumberStepMax.
  static absl::StatusOr<NumberSet> Multiples(const Decimal& step);
  static absl::StatusOr<NumberSet> And(const NumberSet& a, const NumberSet& b);

  bool everything() const { return !min && !max && step == 0; }
  // No number is between the bounds. The grid is not looked at.
  bool empty() const;
  auto operator<=>(const NumberSet&) const = default;
};

// Generating has plain spellings of as many digits as a double keeps: no exponent, no "-0".
// Checking has every spelling of every number, but of those that would need many zeros to be
// written without their exponent (8 more than a bound, 6 more than a step) some are left out.
absl::StatusOr<ByteDfa> NumberDfa(const NumberSet& set, GrammarUse use);

}  // namespace chimera
