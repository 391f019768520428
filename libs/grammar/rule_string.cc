#include "grammar/rule_string.h"

#include <algorithm>
#include <array>

#include "grammar/text_cursor.h"

namespace chimera {
namespace {

// Register b: how far an escape is, the hexadecimal digits so far, and the first half of a pair.
struct EscapePlace {
  enum Stage : uint32_t {
    kNone = 0,
    kBackslash = 1,     // after '\'
    kDigits = 2,        // after '\u' and 0 to 3 digits: kDigits + digits
    kPair = 6,          // a high surrogate is complete: '\' comes
    kPairBackslash = 7  // 'u' comes
  };
  uint32_t stage = kNone;
  uint32_t value = 0;  // of the digits
  uint32_t high = 0;   // 1 + low ten bits of the high surrogate; 0: none

  static EscapePlace Of(uint32_t b) { return {b & 15, (b >> 4) & 0xFFFF, b >> 20}; }
  uint32_t Packed() const { return stage | value << 4 | high << 20; }
  bool InDigits() const { return stage >= kDigits && stage < kPair; }
  uint32_t digits() const { return stage - kDigits; }
};

constexpr uint32_t kReplacement = 0xFFFD;

bool IsHigh(uint32_t unit) { return unit >= 0xD800 && unit < 0xDC00; }
bool IsLow(uint32_t unit) { return unit >= 0xDC00 && unit < 0xE000; }

// What '\c' stands for, or -1.
int SimpleEscape(uint8_t c) {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case '"':
    case '\\':
    case '/':
      return c;
    default:
      return -1;
  }
}

// JSON cannot hold it as it is.
bool NeedsEscape(uint32_t code_point) {
  return code_point < 0x20 || code_point == '"' || code_point == '\\';
}

int Utf8Of(uint32_t c, uint8_t bytes[4]) {
  if (c < 0x80) {
    bytes[0] = static_cast<uint8_t>(c);
    return 1;
  }
  const int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (int i = n - 1; i > 0; --i, c >>= 6) bytes[i] = static_cast<uint8_t>(0x80 | (c & 0x3F));
  constexpr uint32_t kLead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
  bytes[0] = static_cast<uint8_t>(kLead[n] | c);
  return n;
}

class StringReader {
 public:
  StringReader(const RuleTables& tables, int room) : tables_(tables), room_(room) {}

  bool Has(const GrammarItem& item, RulePlaceFlag flag) const {
    return (tables_.places[item.at].flags & flag) != 0;
  }
  const RuleInfo& RuleOf(const GrammarItem& item) const {
    return tables_.rules[tables_.places[item.at].rule];
  }
  // No character may follow: the string is as long as it can be.
  bool IsFull(const GrammarItem& item) const {
    return Has(item, kPlaceCounted) && item.a >= RuleOf(item).count_max;
  }

  // Goes over one byte of the value; false when there is no edge.
  bool Feed(GrammarItem* item, uint8_t byte) const {
    item->at = FollowEdge(tables_, item->at, byte);
    if (item->at == kNoPlace) return false;
    if (Has(*item, kPlaceCounted)) {
      const RuleInfo& rule = RuleOf(*item);
      item->a = rule.count_max == kUnbounded ? std::min(item->a + 1, rule.count_min) : item->a + 1;
    }
    return true;
  }
  // Goes over a whole character and ends the escape.
  bool FeedCodePoint(GrammarItem* item, uint32_t code_point) const {
    if (IsFull(*item)) return false;
    uint8_t bytes[4];
    const int n = Utf8Of(code_point, bytes);
    for (int i = 0; i < n; ++i) {
      if (!Feed(item, bytes[i])) return false;
    }
    item->b = 0;
    return true;
  }

  // One more byte of an escape.
  bool StepEscape(GrammarItem* item, uint8_t byte) const {
    EscapePlace at = EscapePlace::Of(item->b);
    if (at.InDigits()) return StepDigit(item, at, byte);
    const uint8_t expected = at.stage == EscapePlace::kPair ? '\\' : 'u';
    if (at.high != 0 && byte != expected) return LoneHigh(item, at, byte);
    if (at.stage == EscapePlace::kPair) {
      at.stage = EscapePlace::kPairBackslash;
    } else if (byte == 'u') {
      at.stage = EscapePlace::kDigits;
    } else {
      const int c = SimpleEscape(byte);
      if (c < 0) return false;
      if (!Has(*item, kPlaceAnyEscape) && !NeedsEscape(uint32_t(c))) return false;
      return FeedCodePoint(item, uint32_t(c));
    }
    item->b = at.Packed();
    return Has(*item, kPlaceAnyEscape) || CheapestEscape(*item) != kUnbounded;
  }

  // What stands for a byte of the value in the text of a string that may hold any character which
  // has to be escaped: bytes that an open escape still takes, and then the rest of the rule.
  // kUnbounded when no character fits.
  uint32_t CheapestEscape(const GrammarItem& item) const {
    static constexpr std::array<uint8_t, 7> kShort = {'b', 'f', 'n', 'r', 't', '"', '\\'};
    const EscapePlace at = EscapePlace::Of(item.b);
    uint32_t fewest = kUnbounded;
    const auto offer = [&](uint32_t code_point, uint32_t bytes) {
      GrammarItem after = item;
      if (!FeedCodePoint(&after, code_point)) return;
      if (tables_.places[after.at].close_frames > room_) return;
      fewest = std::min(fewest,
                        bytes + tables_.places[after.at].close_bytes + CountClose(tables_, after));
    };
    if (at.stage == EscapePlace::kBackslash) {
      for (const uint8_t c : kShort) offer(uint32_t(SimpleEscape(c)), 1);
    }
    const uint32_t digits = at.InDigits() ? at.digits() : 0;
    const uint32_t left = at.InDigits() ? 4 - digits : 5;
    for (uint32_t c = 0; c <= '\\'; ++c) {
      if (NeedsEscape(c) && c >> (4 * (4 - digits)) == at.value) offer(c, left);
    }
    return fewest;
  }

 private:
  bool StepDigit(GrammarItem* item, EscapePlace at, uint8_t byte) const {
    const int digit = HexDigit(byte);
    if (digit < 0) return false;
    at.value = at.value << 4 | uint32_t(digit);
    if (++at.stage < EscapePlace::kPair) {
      item->b = at.Packed();
      if (!Has(*item, kPlaceAnyEscape)) return CheapestEscape(*item) != kUnbounded;
      return Has(*item, kPlaceLoneSurrogates) || PairsSoFar(at);
    }
    return Unit(item, at.value, at.high);
  }
  // Whether the digits so far fit what has to come: a low half after a high one, else none.
  static bool PairsSoFar(const EscapePlace& at) {
    const bool any_d = at.digits() == 1 && at.value == 0xD;
    const uint32_t second = at.digits() >= 2 ? at.value >> (4 * (at.digits() - 2)) : 0;
    const bool low = second >= 0xDC && second <= 0xDF;
    return at.high != 0 ? any_d || low : !low;
  }
  // A complete \uXXXX.
  bool Unit(GrammarItem* item, uint32_t unit, uint32_t high) const {
    if (!Has(*item, kPlaceAnyEscape) && !NeedsEscape(unit)) return false;
    const bool lone = Has(*item, kPlaceLoneSurrogates);
    if (high != 0) {
      if (IsLow(unit)) {
        return FeedCodePoint(item, 0x10000 + ((high - 1) << 10 | (unit & 0x3FF)));
      }
      return lone && FeedCodePoint(item, kReplacement) && Unit(item, unit, 0);
    }
    if (IsHigh(unit)) {
      item->b = EscapePlace{EscapePlace::kPair, 0, 1 + (unit & 0x3FF)}.Packed();
      return true;
    }
    if (IsLow(unit)) return lone && FeedCodePoint(item, kReplacement);
    return FeedCodePoint(item, unit);
  }
  // The pair's second half does not come: the first stands alone.
  bool LoneHigh(GrammarItem* item, const EscapePlace& at, uint8_t byte) const {
    if (!Has(*item, kPlaceLoneSurrogates) || !FeedCodePoint(item, kReplacement)) return false;
    std::vector<GrammarItem> after;
    if (at.stage == EscapePlace::kPairBackslash) {
      item->b = EscapePlace{EscapePlace::kBackslash, 0, 0}.Packed();
      if (IsFull(*item)) return false;
      return StepEscape(item, byte);
    }
    StepString(tables_, *item, byte, room_, &after);
    if (after.empty()) return false;
    *item = after[0];
    return true;
  }

  const RuleTables& tables_;
  const int room_;
};

}  // namespace

uint32_t FollowEdge(const RuleTables& tables, uint32_t place, uint8_t byte) {
  const RulePlace& at = tables.places[place];
  for (uint32_t e = at.first_edge; e < at.first_edge + at.edges; ++e) {
    if (byte >= tables.edges[e].low && byte <= tables.edges[e].high) return tables.edges[e].to;
  }
  return kNoPlace;
}

uint32_t CountClose(const RuleTables& tables, const GrammarItem& item) {
  const RuleInfo& rule = tables.rules[tables.places[item.at].rule];
  return item.a < rule.count_min ? (rule.count_min - item.a) * rule.unit_bytes : 0;
}

void StepString(const RuleTables& tables, const GrammarItem& item, uint8_t byte, int room,
                std::vector<GrammarItem>* out) {
  const StringReader reader(tables, room);
  GrammarItem next = item;
  if (item.b != 0) {
    if (reader.StepEscape(&next, byte)) out->push_back(next);
    return;
  }
  if (byte == '"') {
    const RulePlace& place = tables.places[item.at];
    if (place.close_to == kNoPlace) return;
    if (reader.Has(item, kPlaceCounted) && item.a < reader.RuleOf(item).count_min) return;
    out->push_back({.at = place.close_to, .stack = item.stack});
    return;
  }
  if (byte < 0x20 || reader.IsFull(item)) return;
  if (byte == '\\') {
    if (!reader.Has(item, kPlaceBetween)) return;
    next.b = EscapePlace{EscapePlace::kBackslash, 0, 0}.Packed();
    if (reader.Has(item, kPlaceAnyEscape) || reader.CheapestEscape(next) != kUnbounded) {
      out->push_back(next);
    }
    return;
  }
  if (reader.Feed(&next, byte)) out->push_back(next);
}

uint32_t EscapeClose(const RuleTables& tables, const GrammarItem& item, int room) {
  const StringReader reader(tables, room);
  if (!reader.Has(item, kPlaceAnyEscape)) return reader.CheapestEscape(item);
  const EscapePlace at = EscapePlace::Of(item.b);
  GrammarItem after = item;
  after.a += 1;
  const uint32_t rest = tables.places[item.at].close_bytes + CountClose(tables, after);
  switch (at.stage) {
    case EscapePlace::kBackslash:
      return 1 + rest;
    case EscapePlace::kPair:
      return 6 + rest;
    case EscapePlace::kPairBackslash:
      return 5 + rest;
    default:
      break;
  }
  if (!at.InDigits()) return rest;
  // A high half asks for the low one behind it, unless other digits can still make it none.
  const bool sure =
      at.high == 0 && at.digits() >= 2 && (at.value >> (4 * (at.digits() - 2)) & 0xFC) == 0xD8;
  return 4 - at.digits() + (sure ? 6 : 0) + rest;
}

}  // namespace chimera
