// Exact decimal numbers, as far as the bounds of a schema need them.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace chimera {

inline constexpr int kDecimalDigitsMax = 320;  // before the point and behind it

// 0.d1d2d3... times 10^point, d1 and the last digit not 0; zero has no digits.
struct Decimal {
  bool negative = false;
  std::string digits;
  int point = 0;

  // Of the text of a JSON number. RESOURCE_EXHAUSTED beyond kDecimalDigitsMax.
  static absl::StatusOr<Decimal> Parse(std::string_view text);
  bool zero() const { return digits.empty(); }
  bool integer() const { return int(digits.size()) <= point; }
  // Digits behind the point.
  int places() const { return std::max(0, int(digits.size()) - point); }
  // Without an exponent: "-12.5".
  std::string Text() const;

  bool operator==(const Decimal& other) const = default;
  std::strong_ordering operator<=>(const Decimal& other) const;
};

}  // namespace chimera
