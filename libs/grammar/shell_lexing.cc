// Inside words: quotes, expansions, arithmetic.
#include "grammar/shell_steps.h"

namespace chimera::shell {
namespace {

bool IsDigit(uint8_t byte) { return byte >= '0' && byte <= '9'; }
bool IsControl(uint8_t byte) {
  return (byte < ' ' && byte != '\t' && byte != '\n') || byte == 0x7F;
}
bool Contains(std::string_view set, uint8_t byte) {
  return set.find(static_cast<char>(byte)) != std::string_view::npos;
}

}  // namespace

Next Stepper::Step(GrammarItem item, uint8_t byte) {
  if (byte == 0 || (generate_ && IsControl(byte))) return kDead;
  if (Utf8Of(item) != 0) {
    const int utf8 = Utf8Step(Utf8Of(item), byte);
    if (utf8 == kUtf8Bad) return kDead;
    item.at &= (1u << kUtf8Shift) - 1;
    item.at |= static_cast<uint32_t>(utf8) << kUtf8Shift;
    return item;
  }
  if (PlaceOf(item) == kHereWord || PlaceOf(item) == kHereGap) return HereWord(item, byte);
  if (PlaceOf(item) >= kHereStart && PlaceOf(item) <= kHereParam) return HereBody(item, byte);
  if (InnerOf(item) != kNone) return Inside(item, byte);
  switch (PlaceOf(item)) {
    case kWord:
      return WordByte(item, byte);
    case kDouble:
      return DoubleByte(item, byte);
    case kParamText:
      return ParamTextByte(item, byte);
    case kArith:
      return ArithByte(item, byte);
    case kSubscript:
      return SubscriptByte(item, byte);
    default:
      return PlaceOf(item) > kWord ? ParamByte(item, byte) : Gap(item, byte);
  }
}

// A byte that stands for itself.
Next Stepper::Text(const GrammarItem& item, uint8_t byte) const {
  const int utf8 = Utf8Step(0, byte);
  if (utf8 == kUtf8Bad) return kDead;
  if (byte == '\n' && (item.b & kOneLine) != 0) return kDead;
  if ((byte == '\\' || byte == '`') && (item.b & kInBackquote) != 0) return kDead;
  GrammarItem next = item;
  next.at |= static_cast<uint32_t>(utf8) << kUtf8Shift;
  return next;
}

Next Stepper::Inside(const GrammarItem& item, uint8_t byte) {
  switch (InnerOf(item)) {
    case kEscape:
      return Escaped(item, byte);
    case kSingle:
      return byte == '\'' ? Next(With(item, kNone)) : Text(item, byte);
    case kAnsi:
      if (byte == '\'') return With(item, kNone);
      if (byte != '\\') return Text(item, byte);
      return (item.b & kInBackquote) != 0 ? kDead : Next(With(item, kAnsiEscape));
    case kAnsiEscape:
      return Text(With(item, kAnsi), byte);
    case kBackquote:
      if (byte == '`') return With(item, kNone);
      return byte == '\\' ? Next(With(item, kBackquoteEscape)) : Text(item, byte);
    case kBackquoteEscape:
      return Text(With(item, kBackquote), byte);
    case kDollar:
      return AfterDollar(item, byte);
    case kDollarParen:
      return AfterDollarParen(item, byte);
    case kArithClose:
      return ArithEnd(item, byte);
    case kAngle:
      if (byte != '(') return Step(With(item, kNone), byte);
      return Room(item.stack) ? Next(With(item, kDollarParen)) : kDead;
    default:  // kComment
      if (byte == '\n') return Gap(With(item, kNone), byte);
      return Text(item, byte);
  }
}

// After a backslash: a line's end is as if neither had been there.
Next Stepper::Escaped(const GrammarItem& item, uint8_t byte) {
  const GrammarItem plain = With(item, kNone);
  if (byte == '\n') return (item.b & kOneLine) != 0 ? kDead : Next(plain);
  if (PlaceOf(item) >= kSemi && PlaceOf(item) <= kForParen) {
    const Next gap = WithinOperator(plain, '\\');
    return gap ? Step(*gap, byte) : kDead;
  }
  GrammarItem next = plain;
  if (PlaceOf(item) <= kWord) {
    const bool begun = PlaceOf(item) == kWord;
    const uint32_t role = begun ? RoleOf(item.a) : RoleAt(plain);
    const bool assigned = begun && NodeOf(item.a) == kAssigned;
    if (OnlyReserved(role)) return kDead;
    next = To(plain, kWord, Reading(role, assigned ? kAssigned : kQuoted));
  }
  return Text(next, byte);
}

Next Stepper::AfterDollar(const GrammarItem& item, uint8_t byte) {
  const GrammarItem plain = With(item, kNone);
  const uint32_t place = PlaceOf(item);
  const bool quotes = place != kDouble;
  switch (byte) {
    case '(':
      if (generate_ && ((item.b & kOneLine) != 0 || place == kArith)) return kDead;
      return Room(item.stack) ? Next(With(item, kDollarParen)) : kDead;
    case '{':
      if (!Room(item.stack)) return kDead;
      if (!generate_ && place == kArith && InExpansion(item.stack)) return plain;
      return Enter(plain, kFrameParam, generate_ ? kParamStart : kParamText);
    case '[':
      if (generate_) return kDead;
      return Room(item.stack) ? Next(Enter(plain, kFrameSubscript, kSubscript)) : kDead;
    case '\'':
      if (!quotes) break;
      if (generate_ && place != kWord) return kDead;
      return With(item, kAnsi);
    case '"':
      if (quotes && generate_) return kDead;
      break;
    case '$':
      if (generate_ && place == kArith) return kDead;
      return plain;
    default:
      break;
  }
  if (generate_ && (byte == '\\' || (place == kArith && !IsNameByte(byte)))) return kDead;
  return Step(plain, byte);
}

// Whether arithmetic is that of $(( )): bash counts parentheses within its ${ } as well.
bool Stepper::InExpansion(uint32_t stack) const {
  while (stacks_.Top(stack).at == kFrameArithParen) stack = stacks_.Top(stack).stack;
  return stacks_.Top(stack).at == kFrameArith;
}

Next Stepper::AfterDollarParen(const GrammarItem& item, uint8_t byte) {
  const GrammarItem plain = With(item, kNone);
  if (byte == '(') return Enter(plain, kFrameArith, kArith);
  return Gap(Enter(plain, kFrameComsub, generate_ ? kListNeeds : kListStart), byte);
}

GrammarItem Stepper::Enter(const GrammarItem& item, uint32_t frame, uint32_t place) {
  GrammarItem next = To(item, place);
  next.stack = stacks_.Push(
      {.at = frame, .a = item.a | PlaceOf(item) << kBackShift, .b = item.b, .stack = item.stack});
  return next;
}

GrammarItem Stepper::Leave(const GrammarItem& item) const {
  const GrammarItem& frame = stacks_.Top(item.stack);
  return {.at = frame.a >> kBackShift,
          .a = frame.a & ((1u << kBackShift) - 1),
          .b = frame.b,
          .stack = frame.stack};
}

bool Stepper::IsMeta(const GrammarItem& item, uint8_t byte) const {
  return Contains(" \t\n;&|<>()", byte) || (byte == '`' && (item.b & kInBackquote) != 0);
}

Next Stepper::WordByte(GrammarItem item, uint8_t byte) {
  const uint32_t role = RoleOf(item.a), node = NodeOf(item.a);
  const bool command = role <= kRolePiped || role == kRolePrefix;
  const uint32_t opened = node == kAssign || node == kAssigned ? kAssigned : kQuoted;
  if (byte == '(' && node == kAssign) {
    if (!Room(item.stack) || item.b != 0) return kDead;
    item.a = Reading(role, kAssigned);
    return Enter(item, kFrameArray, kArray);
  }
  if (IsMeta(item, byte)) return EndWord(item, byte);
  if (byte == '[' && !generate_ &&
      ((command && IsName(node)) || (role == kRoleArray && node == 0))) {
    if (!Room(item.stack)) return kDead;
    item.a = Reading(role, kName);
    return Enter(item, kFrameSubscript, kSubscript);
  }
  if (byte == '\\') {
    // Before a line's end it leaves the word as it is.
    const bool one_line = generate_ && (item.b & kOneLine) != 0;
    const bool fixed = OnlyReserved(role) || role == kRoleForName;
    if ((generate_ && fixed) || (one_line && node < kNodes)) return kDead;
    if (node == kAssign) item.a = Reading(role, kAssigned);
    return Opening(item, byte);
  }
  if (Contains("'\"$`", byte)) {
    if (OnlyReserved(role) || (generate_ && role == kRoleForName)) return kDead;
    item.a = Reading(role, opened);
    return Opening(item, byte);
  }
  const bool names = command || (role == kRoleArgument && !generate_);
  const uint32_t mask = WordsOf(role, Frame(item));
  const uint32_t next = NextNode(node, byte, mask, names);
  if (OnlyReserved(role) && !Begins(next, mask)) return kDead;
  if (role >= kRoleRedirect && role <= kRoleRedirectCompound) {
    // Digits before another redirection would be its descriptor.
    item.a = Reading(role, IsDigit(byte) && (node == 0 || node == kPlain) ? kPlain : kQuoted);
    return Text(item, byte);
  }
  if (generate_) {
    if (role == kRoleForName && (!IsNameByte(byte) || (node == 0 && IsDigit(byte)))) return kDead;
    // Elsewhere in the condition these would be operators.
    if (role == kRoleCondTerm && node == 0 && Contains("-!=]", byte)) return kDead;
    if (role == kRoleCondRight && node == 0 && byte == ']') return kDead;
    if (byte == '[' && command && IsName(node)) return kDead;
    if (byte == '[' && role == kRoleArray && node == 0) return kDead;
  }
  item.a = Reading(role, next);
  return Text(item, byte);
}

// A quote, a backslash, a dollar sign or a backquote.
Next Stepper::Opening(GrammarItem item, uint8_t byte) {
  switch (byte) {
    case '\'':
      return With(item, kSingle);
    case '"':
      return Room(item.stack) ? Next(Enter(item, kFrameDouble, kDouble)) : kDead;
    case '\\':
      return (item.b & kInBackquote) != 0 ? kDead : Next(With(item, kEscape));
    case '$':
      return With(item, kDollar);
    default:
      break;
  }
  if (!generate_) return With(item, kBackquote);
  if (PlaceOf(item) != kWord || item.b != 0 || !Room(item.stack)) return kDead;
  GrammarItem next = Enter(item, kFrameBackquote, kListNeeds);
  next.b = kInBackquote;
  return next;
}

Next Stepper::DoubleByte(const GrammarItem& item, uint8_t byte) {
  if (byte == '"') return Leave(item);
  if (byte == '\\' || byte == '$' || byte == '`') return Opening(item, byte);
  return Text(item, byte);
}

// The simple parameters of what is generated, up to the word of an operator.
Next Stepper::ParamByte(const GrammarItem& item, uint8_t byte) {
  const bool name = IsNameByte(byte);
  const auto to = [&](uint32_t place) { return Next(To(item, place)); };
  if (byte == '}' && PlaceOf(item) != kParamStart && PlaceOf(item) != kParamIndex &&
      PlaceOf(item) != kParamColon) {
    return Leave(item);
  }
  switch (PlaceOf(item)) {
    case kParamStart:
      if (byte == '#') return to(kParamLength);
      if (Contains("@*?", byte) || IsDigit(byte)) return to(kParamIndexed);
      return name ? to(kParamName) : kDead;
    case kParamLength:
      return name && !IsDigit(byte) ? to(kParamName) : kDead;
    case kParamName:
      if (name) return to(kParamName);
      if (byte == '[') return to(kParamIndex);
      break;
    case kParamIndex:
      // One name, number or sign: a: 0 none yet, 1 a name, 2 a sign
      if (byte == ']') return item.a != 0 ? to(kParamIndexed) : kDead;
      if (name && item.a < 2) return To(item, kParamIndex, 1);
      return item.a == 0 && Contains("@*", byte) ? Next(To(item, kParamIndex, 2)) : kDead;
    case kParamColon:
      return Contains("-+=?", byte) ? to(kParamText) : kDead;
    default:
      break;
  }
  if (byte == ':') return to(kParamColon);
  return Contains("-+=?#%/", byte) ? to(kParamText) : kDead;
}

Next Stepper::ParamTextByte(const GrammarItem& item, uint8_t byte) {
  if (byte == '}') return Leave(item);
  if (generate_ && Contains("'\"\\`{()\n", byte)) return kDead;
  if (!generate_ && (byte == '<' || byte == '>')) return With(item, kAngle);
  if (Contains("'\"\\$`", byte)) return Opening(item, byte);
  return Text(item, byte);
}

Next Stepper::ArithByte(const GrammarItem& item, uint8_t byte) {
  const uint32_t frame = stacks_.Top(item.stack).at;
  if (byte == '(') {
    return Room(item.stack) ? Next(Enter(item, kFrameArithParen, kArith)) : kDead;
  }
  if (byte == ')') {
    return frame == kFrameArithParen ? Leave(item) : With(item, kArithClose);
  }
  if (generate_ && !IsNameByte(byte) && !Contains(" +-*/%<>=!&|^~?:,$", byte)) return kDead;
  if (Contains("'\"\\$`", byte)) return Opening(item, byte);
  return Text(item, byte);
}

// After ')' that may be the first of '))'. Otherwise it was a subshell within $( ) or ( ).
Next Stepper::ArithEnd(const GrammarItem& item, uint8_t byte) {
  const uint32_t frame = stacks_.Top(item.stack).at;
  if (byte == ')') {
    if (frame == kFrameArith) return Leave(item);
    return To(Leave(item), frame == kFrameArithFor ? kForIn : kCompound);
  }
  if (generate_ || frame == kFrameArithFor) return kDead;
  const GrammarItem outer = Leave(item);
  return Gap(frame == kFrameArith ? Enter(outer, kFrameComsub, kCompound)
                                  : Open(outer, kFrameParen, kCompound),
             byte);
}

Next Stepper::SubscriptByte(const GrammarItem& item, uint8_t byte) {
  if (byte == ']') return Leave(item);
  if (byte == '[') {
    return Room(item.stack) ? Next(Enter(item, kFrameSubscript, kSubscript)) : kDead;
  }
  if (byte == '<' || byte == '>') return With(item, kAngle);
  if (Contains("'\"\\$`", byte)) return Opening(item, byte);
  return Text(item, byte);
}

}  // namespace chimera::shell
