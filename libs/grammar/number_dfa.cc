// The automaton reads a number's digits from the left and keeps of them what decides later: how
// they compare with the digits of a bound, where the point is, the remainder by the step and how
// many zeros more would make a multiple of it. All of that fixes for which exponents x the number
// is in the set, and since a number grows with its exponent, and a multiple of the step stays one,
// they are an interval. Behind the 'e' only the interval is left.
#include "grammar/number_dfa.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grammar/json_rules.h"

namespace chimera {
namespace {

constexpr int kFar = 1 << 20;  // an interval without end
constexpr int16_t kNever = 1000;
constexpr int kShiftMax = 8;  // places that an exponent may move the point beside the bounds

// The numbers of one sign, by size.
struct Side {
  bool any = true;
  const Decimal* low = nullptr;
  const Decimal* high = nullptr;
  bool low_open = false, high_open = false;
  bool bounded() const { return low != nullptr || high != nullptr; }
};

enum Phase : int16_t {
  kBegin,
  kSigned,
  kZero,
  kWhole,
  kPoint,
  kPart,
  kPower,
  kPowerSigned,
  kPowerDigits,
  kPowerFull  // no digit can follow, and it fits
};

constexpr int16_t kLess = -1, kGreater = -2;  // else: that many digits of the bound were met

struct Digits {
  int16_t phase = kBegin;
  int16_t negative = 0;
  int16_t started = 0;        // a digit other than 0 was read
  int16_t point = 0;          // where the point is, from the first such digit on
  int16_t low = 0, high = 0;  // how the digits compare with the bounds
  int16_t places = 0;         // behind the point
  int16_t shift = 0;          // the least exponent that makes the digits a multiple of the step
  int32_t rest = 0;           // of the digits by the step
  int32_t from = 0, to = 0;   // exponents that fit
  int32_t exponent = 0;       // read so far
  bool operator==(const Digits&) const = default;
};

struct HashDigits {
  size_t operator()(const Digits& d) const {
    const uint64_t words[] = {
        uint64_t(uint16_t(d.phase)) << 48 | uint64_t(uint16_t(d.negative * 2 + d.started)) << 32 |
            uint64_t(uint16_t(d.point)) << 16 | uint16_t(d.low),
        uint64_t(uint16_t(d.high)) << 48 | uint64_t(uint16_t(d.shift)) << 32 |
            uint64_t(uint16_t(d.places)) << 16 | uint16_t(d.exponent),
        uint64_t(uint32_t(d.rest)), uint64_t(uint32_t(d.from)) << 32 | uint32_t(d.to)};
    uint64_t h = 0;
    for (const uint64_t word : words) {
      h = (h ^ word) * 0x9E3779B97F4A7C15u;
      h ^= h >> 31;
    }
    return h;
  }
};

class NumberAutomaton {
 public:
  NumberAutomaton(const NumberSet& set, GrammarUse use)
      : set_(set), checking_(use == GrammarUse::kCheck) {
    for (const auto* bound : {&set.min, &set.max}) {
      if (!*bound || (*bound)->zero()) continue;
      point_max_ = std::max(point_max_, (*bound)->point);
      point_min_ = std::min(point_min_, (*bound)->point);
      places_max_ = std::max(places_max_, (*bound)->places());
    }
    zero_fits_ = (!set.min || *set.min < Decimal{} || (set.min->zero() && !set.min_open)) &&
                 (!set.max || Decimal{} < *set.max || (set.max->zero() && !set.max_open));
    SetSides();
    for (uint32_t step = set.step; step > 1; step /= 2) ++zeros_max_;
    point_min_ -= kShiftMax;
    if (checking_) {
      point_max_ += kShiftMax;
      places_max_ = set.step_places + 6;
    } else {
      point_max_ = std::max(point_max_ + 1, kJsonDigitsMax);
      places_max_ = set.step != 0 ? set.step_places : std::max(places_max_ + 2, 6);
    }
  }

  absl::StatusOr<ByteDfa> Build() {
    ByteDfa::Parts parts;
    std::fill(parts.classes.begin(), parts.classes.end(), uint8_t{14});
    constexpr std::string_view kBytes = "0123456789-+.e";
    for (size_t i = 0; i < kBytes.size(); ++i) {
      parts.classes[uint8_t(kBytes[i])] = static_cast<uint8_t>(i);
    }
    parts.classes['E'] = parts.classes['e'];
    parts.n_classes = 15;
    parts.next.assign(15, 0);
    parts.accepts.push_back(false);
    parts.start = Number(Digits{});
    for (size_t i = 1; i <= states_.size(); ++i) {
      if (i > size_t{kDfaStatesMax}) {
        return absl::ResourceExhaustedError(
            absl::StrCat("an automaton of numbers needs more than ", kDfaStatesMax, " states"));
      }
      const Digits at = states_[i - 1];
      parts.accepts.push_back(Accepts(at));
      for (const char byte : kBytes) {
        Digits next = at;
        parts.next.push_back(Step(&next, byte) ? Number(next) : 0);
      }
      parts.next.push_back(0);
    }
    return ByteDfa(std::move(parts));
  }

 private:
  uint32_t Number(const Digits& digits) {
    const auto [it, fresh] = numbers_.insert({digits, uint32_t(states_.size() + 1)});
    if (fresh) states_.push_back(digits);
    return it->second;
  }

  void SetSides() {
    const Decimal zero;
    Side& plus = sides_[0];
    Side& minus = sides_[1];
    plus.any = !set_.max || zero < *set_.max;
    minus.any = !set_.min || *set_.min < zero;
    if (set_.min && zero < *set_.min) plus.low = &*set_.min, plus.low_open = set_.min_open;
    if (set_.max && zero < *set_.max) plus.high = &*set_.max, plus.high_open = set_.max_open;
    if (set_.max && *set_.max < zero) minus.low = &*set_.max, minus.low_open = set_.max_open;
    if (set_.min && *set_.min < zero) minus.high = &*set_.min, minus.high_open = set_.min_open;
  }

  static void Compare(const Decimal* bound, int digit, int16_t* state) {
    if (bound == nullptr || *state < 0) return;
    const auto met = static_cast<size_t>(*state);
    if (met == bound->digits.size()) {
      if (digit != 0) *state = kGreater;
      return;
    }
    const int other = bound->digits[met] - '0';
    *state = digit == other ? static_cast<int16_t>(*state + 1) : digit < other ? kLess : kGreater;
  }

  // One more digit of the mantissa.
  bool Digit(Digits* d, int digit) const {
    const bool behind = d->phase == kPart;
    if (digit != 0) d->started = 1;
    if (!TrackPoint(d, behind)) return false;
    if (d->started) {
      const Side& side = sides_[d->negative];
      Compare(side.low, digit, &d->low);
      Compare(side.high, digit, &d->high);
    }
    if (set_.step == 0 && checking_) return true;
    if (behind && d->places == places_max_) return checking_ && digit == 0;
    d->places = static_cast<int16_t>(d->places + behind);
    if (set_.step == 0) return true;
    d->rest = static_cast<int32_t>((uint32_t(d->rest) * 10 + uint32_t(digit)) % set_.step);
    if (!checking_) return true;  // there is no exponent
    if (digit != 0) {
      d->shift = static_cast<int16_t>(Shift(uint32_t(d->rest)));
    } else if (d->started && d->shift != kNever) {
      d->shift =
          static_cast<int16_t>(std::max(d->shift - 1, -zeros_max_ - (behind ? places_max_ : 0)));
    }
    return true;
  }
  bool TrackPoint(Digits* d, bool behind) const {
    if (checking_ && !sides_[d->negative].bounded()) return true;
    if (!behind && d->started) {
      if (!checking_ && d->point >= point_max_) return false;
      d->point = static_cast<int16_t>(std::min(d->point + 1, point_max_));
    } else if (behind && !d->started) {
      d->point = static_cast<int16_t>(std::max(d->point - 1, point_min_));
    }
    return true;
  }

  // How many zeros behind digits make a multiple of the step of them.
  int Shift(uint64_t rest) const {
    int zeros = 0;
    for (; rest != 0 && zeros <= zeros_max_; ++zeros) rest = rest * 10 % set_.step;
    return rest == 0 ? zeros : kNever;
  }

  // The exponents with which the number so far is in the set; false when there are none.
  bool Exponents(const Digits& d, int* from, int* to) const {
    *from = -kFar;
    *to = kFar;
    if (!d.started) return zero_fits_ && (checking_ || !d.negative);
    const Side& side = sides_[d.negative];
    if (!side.any) return false;
    if (side.low != nullptr) {
      const bool met = d.low >= 0 && size_t(d.low) == side.low->digits.size();
      const bool enough = d.low == kGreater || (met && !side.low_open);
      *from = side.low->point - d.point + !enough;
    }
    if (side.high != nullptr) {
      const bool met = d.high >= 0 && size_t(d.high) == side.high->digits.size();
      const bool enough = d.high == kLess || (d.high >= 0 && !met) || (met && !side.high_open);
      *to = side.high->point - d.point - !enough;
    }
    // Where the point is was no longer counted.
    if (side.bounded() && d.point == point_max_) *from = std::max(*from, 0);
    if (side.bounded() && d.point == point_min_) *to = std::min(*to, 0);
    if (set_.step != 0) {
      int shift = d.shift;
      if (!checking_) shift = Shift(uint32_t(d.rest));
      if (shift == kNever) return false;
      *from = std::max(*from, shift + d.places - set_.step_places);
    }
    return *from <= *to;
  }

  bool Accepts(const Digits& d) const {
    if (d.phase == kPowerFull) return true;
    if (d.phase == kPowerDigits) return d.from <= d.exponent && d.exponent <= d.to;
    if (d.phase != kZero && d.phase != kWhole && d.phase != kPart) return false;
    int from, to;
    return Exponents(d, &from, &to) && from <= 0 && 0 <= to;
  }

  bool Step(Digits* d, char byte) const {
    if (byte >= '0' && byte <= '9') return StepDigit(d, byte - '0');
    switch (byte) {
      case '-':
        if (d->phase == kPower) return Power(d, std::max(0, -d->to), -d->from);
        if (d->phase != kBegin) return false;
        d->phase = kSigned;
        d->negative = 1;
        return true;
      case '+':
        return d->phase == kPower && Power(d, std::max(0, d->from), d->to);
      case '.':
        if (d->phase != kZero && d->phase != kWhole) return false;
        d->phase = kPoint;
        return checking_ || places_max_ > 0;
      default: {
        if (!checking_ || (d->phase != kZero && d->phase != kWhole && d->phase != kPart)) {
          return false;
        }
        Digits next{.phase = kPower};
        if (!Exponents(*d, &next.from, &next.to)) return false;
        *d = next;
        return true;
      }
    }
  }
  static bool Power(Digits* d, int from, int to) {
    *d = {.phase = kPowerSigned, .from = from, .to = to};
    return from <= to;
  }
  bool StepDigit(Digits* d, int digit) const {
    switch (d->phase) {
      case kBegin:
      case kSigned:
        d->phase = digit == 0 ? kZero : kWhole;
        return digit == 0 || Digit(d, digit);
      case kWhole:
        return Digit(d, digit);
      case kPoint:
      case kPart:
        d->phase = kPart;
        return Digit(d, digit);
      case kPower:
        return Power(d, std::max(0, d->from), d->to) && StepDigit(d, digit);
      case kPowerSigned:
      case kPowerDigits:
        d->phase = kPowerDigits;
        d->exponent = d->exponent * 10 + digit;
        if (d->to < kFar) {
          if (d->exponent > d->to) return false;
          if (d->exponent == 0 || d->exponent * 10 <= d->to) return true;
          const bool fits = d->exponent >= d->from;
          *d = {.phase = kPowerFull};
          return fits;
        }
        d->exponent = std::min(d->exponent, d->from);
        return true;
      default:
        return false;
    }
  }

  const NumberSet& set_;
  const bool checking_;
  bool zero_fits_ = true;
  Side sides_[2];
  int point_max_ = 0, point_min_ = 0, places_max_ = 0;
  int zeros_max_ = 6;
  std::unordered_map<Digits, uint32_t, HashDigits> numbers_;
  std::vector<Digits> states_;
};

}  // namespace

NumberSet NumberSet::Only(Decimal value) {
  NumberSet set;
  set.min = value;
  set.max = std::move(value);
  return set;
}

absl::StatusOr<NumberSet> NumberSet::Multiples(const Decimal& step) {
  if (step.zero() || step.negative) return absl::InvalidArgumentError("a step is not above 0");
  uint64_t whole = 0;
  for (int i = 0; i < step.point + step.places(); ++i) {
    whole =
        whole * 10 + (size_t(i) < step.digits.size() ? uint64_t(step.digits[size_t(i)] - '0') : 0);
    if (whole > kNumberStepMax) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the step ", step.Text(), " has digits above ", kNumberStepMax, ", the limit"));
    }
  }
  return NumberSet{.step = static_cast<uint32_t>(whole), .step_places = step.places()};
}

absl::StatusOr<NumberSet> NumberSet::And(const NumberSet& a, const NumberSet& b) {
  NumberSet both = a;
  if (b.min && (!a.min || *a.min < *b.min || (*a.min == *b.min && b.min_open))) {
    both.min = b.min;
    both.min_open = b.min_open;
  }
  if (b.max && (!a.max || *b.max < *a.max || (*a.max == *b.max && b.max_open))) {
    both.max = b.max;
    both.max_open = b.max_open;
  }
  if (a.step == 0 || b.step == 0) {
    both.step = a.step + b.step;
    both.step_places = a.step == 0 ? b.step_places : a.step_places;
    return both;
  }
  uint64_t x = a.step, y = b.step;
  int places = std::max(a.step_places, b.step_places);
  for (int i = a.step_places; i < places && x < (1u << 30); ++i) x *= 10;
  for (int i = b.step_places; i < places && y < (1u << 30); ++i) y *= 10;
  uint64_t step = x / std::gcd(x, y) * y;
  for (; places > 0 && step % 10 == 0; --places) step /= 10;
  if (step > kNumberStepMax || x >= (1u << 30) || y >= (1u << 30)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("numbers on two grids are on one with a step above ", kNumberStepMax));
  }
  both.step = static_cast<uint32_t>(step);
  both.step_places = places;
  return both;
}

bool NumberSet::empty() const {
  return min && max && (*max < *min || (*min == *max && (min_open || max_open)));
}

absl::StatusOr<ByteDfa> NumberDfa(const NumberSet& set, GrammarUse use) {
  return NumberAutomaton(set, use).Build();
}

}  // namespace chimera
