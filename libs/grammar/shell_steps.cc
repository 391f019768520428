// Between words: lists of commands, reserved words, operators.
#include "grammar/shell_steps.h"

namespace chimera::shell {

// The end of a line: what waits is read now, the first one first.
Next Stepper::NewLine(const GrammarItem& item) {
  if (stacks_.Top(item.stack).at != kFrameHereEnd) return item;
  std::vector<GrammarItem> rows, ordered;
  GrammarItem next = item;
  next.stack = Lift(item.stack, &rows);
  for (size_t end = rows.size(); end > 0;) {
    size_t begin = end - 1;
    while (rows[begin].at != kFrameHereEnd) --begin;
    ordered.insert(ordered.end(), rows.begin() + static_cast<std::ptrdiff_t>(begin),
                   rows.begin() + static_cast<std::ptrdiff_t>(end));
    end = begin;
  }
  next.stack = Lay(next.stack, &ordered);
  next.b &= ~kOneLine;
  return To(next, kHereStart, PlaceOf(item));
}

Next Stepper::Gap(const GrammarItem& item, uint8_t byte) {
  const uint32_t place = PlaceOf(item);
  if (place == kSoup) return Soup(item, byte);
  if (place >= kCondTerm && place <= kCondBrackets) return Condition(item, byte);
  if (place >= kSemi && place <= kForParen) {
    if (byte != '\\') return WithinOperator(item, byte);
    // Before a line's end it would not end the operator.
    const bool one_line = generate_ && (item.b & kOneLine) != 0;
    return WithinOperator(item, byte) && !one_line ? Next(With(item, kEscape)) : kDead;
  }
  const bool digit = byte >= '0' && byte <= '9';
  if (digit && (place == kCompound || place == kDescriptor)) {
    // A number that is no int would be a word.
    constexpr uint32_t kDigitsMax = 9;
    const uint32_t digits = place == kDescriptor ? item.a + 1 : 1;
    return digits <= kDigitsMax ? Next(To(item, kDescriptor, digits)) : kDead;
  }
  if (place == kDescriptor) {
    return byte == '<' || byte == '>' ? Operator(To(item, kCompound), byte) : kDead;
  }
  const bool ended =
      place == kFirst || place == kPrefix || place == kArguments || place == kCompound;
  switch (byte) {
    case ' ':
    case '\t':
      return item;
    case '\\':
      if (generate_ && ((item.b & kInBackquote) != 0 || OnlyReserved(RoleAt(item)))) return kDead;
      if (generate_ && place == kForName) return kDead;
      return With(item, kEscape);
    case '#':
      if (place == kRedirect || place == kCaseWord || place == kForName || place == kPattern ||
          place == kPatternEnd || place == kFunctionName || (item.b & kInBackquote) != 0) {
        return kDead;
      }
      return With(item, kComment);
    case '\n':
      if (ended) return NewLine(To(item, kListStart));
      // Within case, bash takes no `in` on a later line.
      if (place == kForIn) return NewLine(To(item, generate_ ? kForDo : kForInLine));
      if (place == kForWords) return NewLine(To(item, kForDo));
      if (place == kArray) return item;
      if (place == kRedirect || place == kCaseWord || place == kForName || place == kPattern ||
          place == kPatternEnd || place == kFunctionName) {
        return kDead;
      }
      return NewLine(item);
    case '`':
      if ((item.b & kInBackquote) == 0) break;
      if (!ended && place != kListStart) return kDead;
      return stacks_.Top(item.stack).at == kFrameBackquote ? Next(Leave(item)) : kDead;
    default:
      break;
  }
  return IsMeta(item, byte) ? Operator(item, byte) : StartWord(item, byte);
}

Next Stepper::StartWord(const GrammarItem& item, uint8_t byte) {
  const uint32_t place = PlaceOf(item);
  if (place == kPatternEnd || (place == kCompound && generate_)) return kDead;
  return WordByte(To(item, kWord, Reading(RoleAt(item), 0)), byte);
}

// The first byte of an operator.
Next Stepper::Operator(const GrammarItem& item, uint8_t byte) {
  const uint32_t place = PlaceOf(item);
  const bool ended =
      place == kFirst || place == kPrefix || place == kArguments || place == kCompound;
  const bool begins = place == kListStart || place == kListNeeds || place == kListPiped;
  const uint32_t role = place == kCompound           ? kRoleRedirectCompound
                        : begins || place == kPrefix ? kRoleRedirectPrefix
                                                     : kRoleRedirect;
  switch (byte) {
    case ';':
      if (ended) return To(item, kSemi);
      if (place == kForIn || place == kForWords) return To(item, kForDo);
      return place == kListStart && Frame(item) == kFrameCase ? Next(To(item, kSemiNeeds)) : kDead;
    case '&':
      return ended ? Next(To(item, kAmp, role)) : kDead;
    case '|':
      if (place == kPatternEnd) return To(item, kPattern);
      return ended ? Next(To(item, kPipe)) : kDead;
    case '<':
    case '>':
      if (ended || begins) return To(item, byte == '<' ? kLess : kGreat, role);
      if (generate_ || (place != kRedirect && place != kArray && place != kForWords)) return kDead;
      return To(item, kProcess, RoleAt(item));
    case '(':
      return OpenParen(item);
    default:
      if (place == kPatternEnd) return To(item, kListStart);
      if (place == kArray) return Leave(item);
      return ended || place == kListStart ? CloseParen(item) : kDead;
  }
}

Next Stepper::OpenParen(const GrammarItem& item) {
  if (PlaceOf(item) == kCaseItem) return To(item, kPattern);
  if (!Room(item.stack) || (item.b & kOneLine) != 0) return kDead;
  switch (PlaceOf(item)) {
    case kListStart:
    case kListNeeds:
    case kListPiped:
    case kFunctionBody:
      return To(item, kParenOpen);
    case kFirst:
      return To(item, kNameParen);
    case kFunctionAfter:
      return To(item, kFunctionParen);
    case kForName:
      return generate_ ? kDead : Next(To(item, kForParen));
    default:
      return kDead;
  }
}

Next Stepper::CloseParen(const GrammarItem& item) {
  const uint32_t frame = Frame(item);
  const bool waits = stacks_.Top(item.stack).at == kFrameHereEnd;
  if (frame == kFrameParen && !(waits && generate_)) return Close(item, kCompound);
  return frame == kFrameComsub && !waits ? Next(Leave(item)) : kDead;
}

// <( ) or >( ) as a word or the begin of one.
Next Stepper::Process(const GrammarItem& item, uint32_t role) {
  if (!Room(item.stack) || item.b != 0) return kDead;
  return With(To(item, kWord, Reading(role, kQuoted)), kDollarParen);
}

Next Stepper::WithinOperator(const GrammarItem& item, uint8_t byte) {
  const bool in_case = Frame(item) == kFrameCase;
  const bool blank = byte == ' ' || byte == '\t';
  const bool simple = item.a == kRoleRedirect || item.a == kRoleRedirectPrefix;
  const GrammarItem file = To(item, kRedirect, item.a);
  switch (PlaceOf(item)) {
    case kSemi:
      if (byte == ';') return in_case ? Next(To(item, kSemiSemi)) : kDead;
      if (byte == '&') return in_case && !generate_ ? Next(To(item, kCaseItem)) : kDead;
      return Gap(To(item, kListStart), byte);
    case kSemiNeeds:
      if (byte == ';') return To(item, kSemiSemi);
      return byte == '&' && !generate_ ? Next(To(item, kCaseItem)) : kDead;
    case kSemiSemi:
      if (byte == '&' && !generate_) return To(item, kCaseItem);
      return Gap(To(item, kCaseItem), byte);
    case kAmp:
      if (byte == '&') return To(item, kListNeeds);
      if (byte == '>') return To(item, kAmpGreat, item.a);
      return Gap(To(item, kListStart), byte);
    case kAmpGreat:
      return byte == '>' ? Next(file) : Gap(file, byte);
    case kPipe:
      if (byte == '|') return To(item, kListNeeds);
      if (byte == '&' && !generate_) return To(item, kListPiped);
      return Gap(To(item, kListPiped), byte);
    case kGreat:
      if (byte == '>' || byte == '&' || byte == '|') return file;
      if (byte == '(') return simple && !generate_ ? Process(item, kRoleArgument) : kDead;
      return Gap(file, byte);
    case kLess:
      if (byte == '<') {
        const bool here = Room(item.stack) && (item.b & kInBackquote) == 0;
        return here ? Next(To(item, kLessLess, item.a)) : kDead;
      }
      if (byte == '&' || byte == '>') return file;
      if (byte == '(') return simple ? Process(item, kRoleArgument) : kDead;
      return Gap(file, byte);
    case kLessLess:
      if (byte == '<') return file;
      if (byte == '-') return To(item, kHereGap, item.a | kStrip);
      return HereWord(To(item, kHereGap, item.a), byte);
    case kProcess:
      return byte == '(' ? Process(item, item.a) : kDead;
    case kParenOpen:
      if (byte == '(') return Enter(To(item, kCompound), kFrameArithCommand, kArith);
      return Gap(Open(item, kFrameParen, kListNeeds), byte);
    case kNameParen:
      if (byte == ')') return To(item, kFunctionBody);
      return blank && !generate_ ? Next(item) : kDead;
    case kFunctionParen:
      if (blank) return item;
      if (byte == ')') return To(item, kFunctionBody);
      return Gap(Open(item, kFrameParen, kListNeeds), byte);
    default:  // kForParen
      return byte == '(' ? Next(Enter(To(item, kForIn), kFrameArithFor, kArith)) : kDead;
  }
}

uint32_t Stepper::AfterWord(uint32_t role, uint32_t node) const {
  switch (role) {
    case kRoleStart:
    case kRoleNeeded:
    case kRolePiped:
      if (node == kAssign || node == kAssigned) return kPrefix;
      return IsName(node) || (node == kPlain && !generate_) ? kFirst : kArguments;
    case kRolePrefix:
      return node == kAssign || node == kAssigned ? kPrefix : kArguments;
    case kRoleRedirectPrefix:
      return kPrefix;
    case kRoleRedirectCompound:
      return kCompound;
    case kRoleForName:
      return kForIn;
    case kRoleForWord:
      return kForWords;
    case kRoleCaseWord:
      return kCaseIn;
    case kRolePatternFirst:
    case kRolePattern:
      return kPatternEnd;
    case kRoleFunctionName:
      return kFunctionAfter;
    case kRoleArray:
      return kArray;
    case kRoleSoup:
      return kSoup;
    case kRoleCondTerm:
      return kCondAfter;
    case kRoleCondRight:
      return kCondDone;
    default:
      return kArguments;
  }
}

// The byte after a word.
Next Stepper::EndWord(const GrammarItem& item, uint8_t byte) {
  const uint32_t role = RoleOf(item.a), node = NodeOf(item.a);
  const Word word = WordAt(node, WordsOf(role, Frame(item)));
  if (word == kWords) {
    const bool file = role >= kRoleRedirect && role <= kRoleRedirectCompound;
    const bool redirects = byte == '<' || byte == '>';
    if (file && redirects && (generate_ || node == kPlain)) return kDead;
    // Digits there are a descriptor, not the command: what follows would still be one.
    const bool command = role <= kRolePiped || role == kRolePrefix;
    if (generate_ && command && redirects && node == kPlain) return kDead;
    return OnlyReserved(role) ? kDead : Gap(To(item, AfterWord(role, node)), byte);
  }
  const bool opens = (Bit(word) & kOpeners) != 0;
  if (role == kRolePiped && (word == kBang || word == kTime)) return kDead;
  if (!opens && role <= kRolePiped) {
    if (role != kRoleStart || (ClosersOf(Frame(item)) & Bit(word)) == 0) return kDead;
  }
  const bool ends = word == kFi || word == kDone || word == kEsac || word == kCloseBrace;
  const bool blank = byte == ' ' || byte == '\t' || byte == '\n';
  // Where time is a reserved word depends on too much.
  const bool bound = word == kFunction || word == kCoproc || word == kTime;
  if (generate_ && !ends && (!blank || bound)) return kDead;
  const Next next = Reserved(item, word);
  return next ? Gap(*next, byte) : kDead;
}

Next Stepper::Reserved(const GrammarItem& item, Word word) {
  const uint32_t opens = kCompounds & ~(Bit(kFor) | Bit(kSelect));
  if ((Bit(word) & opens) != 0 && !Room(item.stack)) return kDead;
  switch (word) {
    case kIf:
      return Open(item, kFrameIf, kListNeeds);
    case kElif:
      return Open(Close(item, kListNeeds), kFrameIf, kListNeeds);
    case kThen:
      return Open(Close(item, kListNeeds), kFrameThen, kListNeeds);
    case kElse:
      return Open(Close(item, kListNeeds), kFrameElse, kListNeeds);
    case kWhile:
    case kUntil:
      return Open(item, kFrameWhile, kListNeeds);
    case kFor:
    case kSelect:
      return Room(item.stack) ? Next(To(item, kForName)) : kDead;
    case kDo:
      if (RoleOf(item.a) == kRoleForIn || RoleOf(item.a) == kRoleForDo) {
        return Open(item, kFrameDo, kListNeeds);
      }
      return Open(Close(item, kListNeeds), kFrameDo, kListNeeds);
    case kCase:
      return Open(item, kFrameCase, kCaseWord);
    case kIn:
      return To(item, RoleOf(item.a) == kRoleForIn ? kForWords : kCaseItem);
    case kFunction:
      return Room(item.stack) ? Next(To(item, kFunctionName)) : kDead;
    case kTime:
    case kCoproc:
    case kBang:
      return To(item, kListNeeds);
    case kOpenBrace:
      return Open(item, kFrameBrace, kListNeeds);
    case kOpenCondition:
      return Open(item, kFrameCond, generate_ ? kCondTerm : kSoup);
    case kCloseCondition:
      if (Frame(item) != kFrameCond) return To(item, kSoup);
      return Close(item, kCompound);
    default:  // fi, done, esac, }
      return Close(item, kCompound);
  }
}

}  // namespace chimera::shell
