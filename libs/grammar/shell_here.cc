// Here-documents: their delimiters as rows of frames, and their lines.
#include "grammar/shell_steps.h"

namespace chimera::shell {
namespace {

constexpr uint32_t kGeneratedDelimiterMax = 32;

bool IsDelimiterByte(uint8_t byte) { return (byte >= 'A' && byte <= 'Z') || byte == '_'; }

}  // namespace

Next Stepper::HereWord(GrammarItem item, uint8_t byte) {
  if (byte >= 0x80) return kDead;
  const uint32_t inner = InnerOf(item), count = item.a >> kCountShift;
  const bool quoted = (item.a & kHereQuoted) != 0;
  if (PlaceOf(item) == kHereGap) {
    if (byte == ' ' || byte == '\t') return item;
    if (byte == '#') return kDead;
    item.at = kHereWord;
  }
  if (inner == kNone) {
    if (IsMeta(item, byte)) {
      if (count == 0 && (generate_ || !quoted)) return kDead;
      const uint32_t after = AfterWord(RoleOf(item.a), kQuoted);
      item.stack = stacks_.Push({.at = kFrameHereEnd,
                                 .a = item.a & (kStrip | kHereQuoted),
                                 .b = count,
                                 .stack = item.stack});
      if (generate_) item.b |= kOneLine;
      return Gap(To(item, after), byte);
    }
    const bool quote = byte == '\'' || byte == '"';
    if (generate_ && (quoted || (quote && count > 0))) return kDead;
    if (quote || (byte == '\\' && !generate_)) {
      item.a |= kHereQuoted;
      return With(item, byte == '\\' ? kEscape : quote && byte == '"' ? kHereDouble : kHereSingle);
    }
  } else if ((inner == kHereSingle && byte == '\'') || (inner == kHereDouble && byte == '"')) {
    return generate_ && count == 0 ? kDead : Next(With(item, kNone));
  } else if (inner == kHereDouble && byte == '\\' && !generate_) {
    return With(item, kHereDoubleEscape);
  }
  if (byte == '\n' || !Room(item.stack, 64)) return kDead;
  if (generate_ && (!IsDelimiterByte(byte) || count >= kGeneratedDelimiterMax)) return kDead;
  item.stack = stacks_.Push({.at = kFrameHereByte, .a = byte, .stack = item.stack});
  item.a += 1u << kCountShift;
  if (inner == kEscape) return With(item, kNone);
  return inner == kHereDoubleEscape ? With(item, kHereDouble) : item;
}

Next Stepper::HereBody(GrammarItem item, uint8_t byte) {
  const GrammarItem& end = stacks_.Top(item.stack);
  const uint32_t index = item.a >> kCountShift;
  const uint32_t place = item.a & kPlaceMask;
  if (InnerOf(item) == kEscape) {
    if (byte == '\n') return generate_ ? kDead : Next(With(item, kNone));
    return Text(To(item, kHereLine, place), byte);
  }
  if (PlaceOf(item) != kHereStart) return HereLine(item, byte);
  if (byte == '\n' && index == end.b) return NextHere(item);
  if (byte == '\t' && index == 0 && (end.a & kStrip) != 0) return item;
  if (index < end.b) {
    uint32_t row = end.stack;
    for (uint32_t i = index + 1; i < end.b; ++i) row = stacks_.Top(row).stack;
    if (stacks_.Top(row).a == byte) {
      item.a += 1u << kCountShift;
      return item;
    }
  }
  // Within $( ) some shells take a line that only begins with the delimiter for the end.
  if (generate_ && index == end.b) return kDead;
  if (byte == '\\' && (end.a & kHereQuoted) == 0) return With(item, kEscape);
  return HereLine(To(item, kHereLine, place), byte);
}

Next Stepper::HereLine(GrammarItem item, uint8_t byte) {
  const bool expands = (stacks_.Top(item.stack).a & kHereQuoted) == 0;
  const uint32_t place = item.a & kPlaceMask, names = item.a >> kCountShift;
  if (PlaceOf(item) == kHereParam) {
    if (byte == '}' && names > 0) return To(item, kHereLine, place);
    return IsNameByte(byte) ? Next(To(item, kHereParam, place | 1u << kCountShift)) : kDead;
  }
  if (PlaceOf(item) == kHereDollar) {
    if (byte == '{') return To(item, kHereParam, place);
    if (byte == '(') return kDead;
    item.at = kHereLine;
  }
  if (byte == '\n') return To(item, kHereStart, place);
  if (expands && byte == '\\') return With(item, kEscape);
  // The text is expanded when it is used: only what cannot fail then.
  if (expands && generate_ && byte == '`') return kDead;
  if (expands && generate_ && byte == '$') return To(item, kHereDollar, place);
  return Text(item, byte);
}

// After the line that ends one: the next that waits, or the command goes on.
GrammarItem Stepper::NextHere(const GrammarItem& item) const {
  GrammarItem next = item;
  for (uint32_t i = 0; i <= stacks_.Top(item.stack).b; ++i) {
    next.stack = stacks_.Top(next.stack).stack;
  }
  const uint32_t place = item.a & kPlaceMask;
  if (stacks_.Top(next.stack).at == kFrameHereEnd) return To(next, kHereStart, place);
  return To(next, place);
}

}  // namespace chimera::shell
