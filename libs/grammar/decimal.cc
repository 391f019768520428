#include "grammar/decimal.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/string_view.h"

namespace chimera {
namespace {

std::strong_ordering CompareSizes(const Decimal& a, const Decimal& b) {
  if (a.zero() || b.zero()) return b.zero() <=> a.zero();
  if (a.point != b.point) return a.point <=> b.point;
  return a.digits.compare(b.digits) <=> 0;
}

}  // namespace

absl::StatusOr<Decimal> Decimal::Parse(std::string_view text) {
  Decimal value;
  int64_t exponent = 0;
  const size_t e = text.find_first_of("eE");
  if (e != std::string_view::npos) {
    const bool minus = text[e + 1] == '-';
    for (const char c : text.substr(e + 1)) {
      if (c >= '0' && c <= '9') exponent = std::min<int64_t>(exponent * 10 + (c - '0'), 1000000);
    }
    if (minus) exponent = -exponent;
  }
  bool behind = false;
  int64_t point = 0;
  for (const char c : text.substr(0, e)) {
    if (c == '-') value.negative = true;
    if (c == '.') behind = true;
    if (c < '0' || c > '9') continue;
    if (c == '0' && value.digits.empty()) {
      point -= behind;
      continue;
    }
    value.digits += c;
    point += !behind;
  }
  while (!value.digits.empty() && value.digits.back() == '0') value.digits.pop_back();
  if (value.zero()) return Decimal{};
  point += exponent;
  if (point > kDecimalDigitsMax || int64_t(value.digits.size()) - point > kDecimalDigitsMax) {
    return absl::ResourceExhaustedError(absl::StrCat("the number ", ToAbsl(text.substr(0, 40)),
                                                     " needs more than ", kDecimalDigitsMax,
                                                     " digits before or behind its point"));
  }
  value.point = static_cast<int>(point);
  return value;
}

std::string Decimal::Text() const {
  if (zero()) return "0";
  std::string text = negative ? "-" : "";
  if (point <= 0) {
    text += "0.";
    text.append(size_t(-point), '0');
    return text + digits;
  }
  const auto whole = static_cast<size_t>(point);
  if (digits.size() <= whole) return text + digits + std::string(whole - digits.size(), '0');
  return text + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::strong_ordering Decimal::operator<=>(const Decimal& other) const {
  if (negative != other.negative) return other.negative <=> negative;
  return negative ? CompareSizes(other, *this) : CompareSizes(*this, other);
}

}  // namespace chimera
