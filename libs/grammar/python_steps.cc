#include "grammar/python_steps.h"

#include <algorithm>

namespace chimera::python {

Next Stepper::Step(const GrammarItem& item, uint8_t byte) {
  if (byte == 0) return kDead;
  if (Utf8Of(item) != 0) return Character(item, byte);
  switch (PlaceOf(item)) {
    case kLineStart:
      return LineStart(item, byte);
    case kComment:
      return Comment(item, byte);
    case kCarriage:
      return byte == '\n' ? Next(LineEnd(item, item.a)) : kDead;
    case kBackslash:
    case kContinued:
      return Continuation(item, byte);
    case kQuoteOne:
    case kQuoteTwo:
      return Opening(item, byte);
    case kFieldEnd:
    case kString:
      return String(item, byte);
    case kEscape:
      return Escape(item, byte);
    case kBraceOpen:
    case kBraceClose:
      return Brace(item, byte);
    case kFieldEmpty:
    case kSpec:
    case kSpecOpen:
      return Field(item, byte);
    case kInnerOne:
    case kInnerTwo:
    case kInner:
      return Inner(item, byte);
    default:
      return Token(item, byte);
  }
}

Next Stepper::LineStart(GrammarItem item, uint8_t byte) {
  const bool expect = (item.at & kExpectBlock) != 0;
  if (byte == '\r') return generate_ ? kDead : Next(At(item, kCarriage, expect ? 1 : 0));
  if (byte == '\n') {
    item.a = item.b = 0;
    if (item.at >= kHeaderLine) item.at -= kHeaderLine;
    return item;
  }
  if (byte == '#') {
    item.at = item.at - kLineStart + kComment;
    item.a = item.b = 0;
    return item;
  }
  if (!IsBlank(byte)) {
    if (generate_ && byte == '\\') return kDead;
    const Next token = Block(item);
    return token ? Between(*token, byte) : kDead;
  }
  if (byte == '\f') item.a = item.b = 0;
  if (byte == '\t') item.a = item.a / 8 * 8 + 8;
  if (byte == ' ') ++item.a;
  if (byte != '\f') ++item.b;
  const GrammarItem& block = stacks_.Top(item.stack);
  if (!expect && item.a > block.a) {
    // Only a blank line or a comment can begin here: one column for all.
    item.a = block.a + 1;
    item.b = 0;
  } else if (generate_ && expect) {
    const uint32_t missing = item.b > block.b ? 0 : block.b + 1 - item.b;
    if (item.a + missing > block.a + kIndentStepMax) return kDead;
  }
  return item;
}

// Opens or closes blocks before the first token of a line; tabs and spaces must agree.
Next Stepper::Block(GrammarItem item) {
  const bool expect = (item.at & kExpectBlock) != 0;
  GrammarItem next{.at = kCode, .stack = item.stack};
  const GrammarItem block = stacks_.Top(item.stack);
  if (item.a > block.a) {
    if (!expect || item.b <= block.b || Full(item.stack)) return kDead;
    next.stack = stacks_.Push({.at = kFrameIndent, .a = item.a, .b = item.b, .stack = item.stack});
    return next;
  }
  if (generate_ && expect) return kDead;
  while (item.a < stacks_.Top(next.stack).a) next.stack = stacks_.Top(next.stack).stack;
  const GrammarItem& known = stacks_.Top(next.stack);
  return item.a == known.a && item.b == known.b ? Next(next) : kDead;
}

Next Stepper::Comment(GrammarItem item, uint8_t byte) const {
  const uint32_t expect = item.at & kExpectBlock;
  if (byte == '\r') return generate_ ? kDead : Next(At(item, kCarriage, expect != 0 ? 1 : 0));
  if (byte == '\n') {
    GrammarItem next = LineEnd(item, expect);
    if (item.at >= kHeaderLine) next.at += (item.at & ~(kHeaderLine - 1)) - kHeaderLine;
    return next;
  }
  if (item.at >= kHeaderLine) {
    // Such a line would decide in which coding the text is read.
    if (item.a == kCoding.size() && (byte == ':' || byte == '=')) return kDead;
    const bool more = item.a < kCoding.size() && byte == static_cast<uint8_t>(kCoding[item.a]);
    item.a = more ? item.a + 1 : byte == 'c' ? 1 : 0;
  }
  return Character(item, byte);
}

Next Stepper::Continuation(const GrammarItem& item, uint8_t byte) {
  const uint32_t expect = item.at & kExpectBlock;
  if (PlaceOf(item) == kBackslash) {
    if (byte == '\r') return generate_ ? kDead : Next(item);
    if (byte != '\n') return kDead;
    return At(item, InBrackets(item.stack) ? uint32_t{kCode} : kContinued | expect);
  }
  if (IsBlank(byte)) return item;
  if (generate_ && (byte == '\n' || byte == '#' || byte == '\\')) return kDead;
  return Between(At(item, expect != 0 ? kColon : kCode), byte);
}

// After one or two quotes.
Next Stepper::Opening(const GrammarItem& item, uint8_t byte) {
  if (PlaceOf(item) == kQuoteOne) {
    if (byte == QuoteOf(item.a)) return At(item, kQuoteTwo, item.a);
    return String(At(item, kString, item.a), byte);
  }
  if (byte == QuoteOf(item.a)) return At(item, kString, item.a | kTriple);
  return Between(At(item, kCode), byte);
}

Next Stepper::String(GrammarItem item, uint8_t byte) {
  const bool field_end = PlaceOf(item) == kFieldEnd;
  const uint32_t closing = item.a & (kOneClosing | kTwoClosing);
  item.at = kString;
  item.a -= closing;
  if (byte == QuoteOf(item.a)) {
    if ((item.a & kTriple) == 0 || closing == kTwoClosing) return At(item, kCode);
    item.a |= closing == 0 ? kOneClosing : kTwoClosing;
    return item;
  }
  if (byte == '\\') return At(item, kEscape, item.a);
  if (byte == '\r' && generate_) return kDead;
  if ((byte == '\n' || byte == '\r') && (item.a & kTriple) == 0) return kDead;
  if ((item.a & kFormatted) != 0) {
    if (byte == '{') return At(item, kBraceOpen, item.a);
    if (byte == '}') return field_end ? kDead : Next(At(item, kBraceClose, item.a));
  }
  return Character(item, byte);
}

Next Stepper::Escape(GrammarItem item, uint8_t byte) const {
  if (byte == '\r') return generate_ ? kDead : Next(At(item, kEscape, item.a | kReturn));
  if ((item.a & kReturn) != 0 && byte != '\n') return kDead;
  item.a &= ~kReturn;
  // \N{..} has braces that are none; before other braces the backslash stands for itself.
  const bool brace = byte == 'N' || byte == '{' || byte == '}';
  if (brace && (item.a & kFormatted) != 0) return kDead;
  item.at = kString;
  return Character(item, byte);
}

Next Stepper::Brace(const GrammarItem& item, uint8_t byte) {
  if (PlaceOf(item) == kBraceClose) {
    return byte == '}' ? Next(At(item, kString, item.a)) : kDead;
  }
  if (byte == '{') return At(item, kString, item.a);
  const Next field = Push(item, kFrameField, item.a, 0, kFieldEmpty);
  if (!field) return kDead;
  GrammarItem next = *field;
  next.b = 1 + (item.a & (kDouble | kTriple));
  return Field(next, byte);
}

Next Stepper::Field(const GrammarItem& item, uint8_t byte) {
  const uint32_t string = item.b - 1;
  if (PlaceOf(item) == kFieldEmpty) {
    if (IsBlank(byte)) return item;
    if (byte == '\n') return (string & kTriple) != 0 ? Next(item) : kDead;
    if (byte == '}' || byte == ':' || byte == '!' || byte == '=') return kDead;
    return Between(At(item, kCode), byte);
  }
  if (PlaceOf(item) == kSpecOpen) {
    if (byte == '{') return kDead;  // read in two ways
    const Next field = Push(item, kFrameSpecField, 0, 0, kFieldEmpty);
    return field ? Field(*field, byte) : kDead;
  }
  if (byte == '{') return Full(item.stack) ? kDead : Next(At(item, kSpecOpen));
  if (byte == '}') return Closer(item, byte);
  if (byte == QuoteOf(string) || byte == '\\' || byte == '\n' || byte == '\r') return kDead;
  return Character(item, byte);
}

// Strings within a field: neither prefix nor escape nor triple quote.
Next Stepper::Inner(const GrammarItem& item, uint8_t byte) {
  const uint8_t outer = QuoteOf(item.b - 1);
  const uint8_t quote = outer == '"' ? '\'' : '"';
  if (byte == quote) {
    if (PlaceOf(item) == kInnerTwo) return kDead;
    return At(item, PlaceOf(item) == kInnerOne ? kInnerTwo : kCode);
  }
  if (PlaceOf(item) == kInnerTwo) return Between(At(item, kCode), byte);
  if (byte == outer || byte == '\\' || byte == '\n' || byte == '\r') return kDead;
  return Character(At(item, kInner), byte);
}

// Within a token of one line that may end with the next byte.
Next Stepper::Token(const GrammarItem& item, uint8_t byte) {
  const uint32_t place = PlaceOf(item);
  if (place >= kZero && place <= kImaginary) return Number(item, byte);
  if (place >= kWord && place <= kWordFr) {
    if (byte == '"' || byte == '\'') return Quote(item, byte, place >= kWordF);
    const bool r = byte == 'r' || byte == 'R', f = byte == 'f' || byte == 'F';
    if ((place == kWordR && f) || (place == kWordF && r)) return At(item, kWordFr);
    if (byte >= 0x80) return generate_ ? kDead : Character(At(item, kWord), byte);
    if (IsWordByte(byte)) return At(item, kWord);
  }
  if (place == kDot || place == kDotDot) {
    if (byte == '.') return At(item, place == kDot ? kDotDot : kCode);
    if (IsDigit(byte)) return At(item, generate_ ? kFraction : kWord);
  }
  if (place == kBang) {
    const bool conversion = byte == 'r' || byte == 's' || byte == 'a';
    if (conversion && item.b != 0 && stacks_.Top(item.stack).at >= kFrameField) {
      return At(item, kConversion);
    }
    return byte == '=' ? Next(At(item, kCode)) : kDead;
  }
  if (place == kConversion && byte != '}' && byte != ':') return kDead;
  if (place == kColon && IsBlank(byte)) return item;
  return Between(item, byte);
}

// Numbers of what is generated: no other byte of a word may touch them.
Next Stepper::Number(const GrammarItem& item, uint8_t byte) {
  const uint32_t place = PlaceOf(item);
  const auto to = [&](uint32_t next) { return Next(At(item, next)); };
  const bool digit = IsDigit(byte), under = byte == '_';
  const bool exponent = byte == 'e' || byte == 'E', imaginary = byte == 'j' || byte == 'J';
  switch (place) {
    case kZero:
      if (byte == 'x' || byte == 'X') return to(kRadix16);
      if (byte == 'o' || byte == 'O') return to(kRadix8);
      if (byte == 'b' || byte == 'B') return to(kRadix2);
      [[fallthrough]];
    case kZeros:
      if (byte == '0') return to(kZeros);
      if (under) return to(kZeroUnder);
      if (digit) return kDead;
      break;
    case kZeroUnder:
      return byte == '0' ? to(kZeros) : kDead;
    case kDecimalUnder:
      return digit ? to(kDecimal) : kDead;
    case kRadix16:
      return IsHex(byte) ? to(kHex) : kDead;
    case kRadix8:
      return digit && byte < '8' ? to(kOctal) : kDead;
    case kRadix2:
      return digit && byte < '2' ? to(kBinary) : kDead;
    case kHex:
      if (IsHex(byte)) return to(kHex);
      break;
    case kOctal:
      if (digit) return byte < '8' ? to(kOctal) : kDead;
      break;
    case kBinary:
      if (digit) return byte < '2' ? to(kBinary) : kDead;
      break;
    case kExponent:
      if (byte == '+' || byte == '-') return to(kExponentSign);
      return digit ? to(kExponentDigits) : kDead;
    case kFractionUnder:
    case kExponentSign:
      return digit ? to(place == kFractionUnder ? kFraction : kExponentDigits) : kDead;
    default:
      break;
  }
  if (place == kHex || place == kOctal || place == kBinary) {
    if (under) return to(place - 1);  // the place that needs a digit
  } else if (place != kImaginary) {
    if (imaginary) return to(kImaginary);
    if (exponent && place != kExponentDigits) return to(kExponent);
    if (byte == '.' && (place <= kZeros || place == kDecimal)) return to(kPoint);
    if (digit) return to(place == kPoint ? uint32_t{kFraction} : place);
    if (under && place == kExponentDigits) return to(kExponentSign);
    if (under && place != kPoint) return to(place + 1);
  }
  return IsWordByte(byte) ? kDead : Between(item, byte);
}

// The first byte of a token, or one between tokens.
Next Stepper::Between(const GrammarItem& item, uint8_t byte) {
  const bool colon = PlaceOf(item) == kColon;
  const uint32_t expect = colon ? kExpectBlock : 0;
  const bool one_line = item.b != 0 && ((item.b - 1) & kTriple) == 0;
  if (IsBlank(byte)) return At(item, kCode);
  // The block would be one too deep.
  if (generate_ && colon && (byte == '\n' || byte == '#') && Full(item.stack)) return kDead;
  if (byte >= 0x80) return generate_ ? kDead : Character(At(item, kWord), byte);
  if (IsDigit(byte)) return At(item, !generate_ ? kWord : byte == '0' ? kZero : kDecimal);
  if (byte == 'r' || byte == 'R') return At(item, generate_ ? kWordR : kWord);
  if (byte == 'f' || byte == 'F') return At(item, generate_ ? kWordF : kWord);
  if (IsLetter(byte)) return At(item, kWord);
  switch (byte) {
    case '\n':
      return one_line ? kDead : Next(LineEnd(item, expect));
    case '\r':
      return generate_ ? kDead : Next(At(item, kCarriage, colon ? 1 : 0));
    case '#':
      return item.b != 0 ? kDead : Next(At(item, kComment | expect));
    case '\\':
      return item.b != 0 ? kDead : Next(At(item, kBackslash | expect));
    case '"':
    case '\'':
      return Quote(item, byte, false);
    case '(':
      return Push(item, kFrameParen, 0, 0, kCode);
    case '[':
      return Push(item, kFrameSquare, 0, 0, kCode);
    case '{':
      return Push(item, kFrameCurly, 0, 0, kCode);
    case ')':
    case ']':
    case '}':
      return Closer(item, byte);
    case '.':
      return At(item, kDot);
    case '!':
      return At(item, kBang);
    case ':':
      if (!InBrackets(item.stack)) return At(item, kColon);
      if (stacks_.Top(item.stack).at == kFrameSpecField) return kDead;
      return At(item, stacks_.Top(item.stack).at == kFrameField ? kSpec : kCode);
    default:
      return byte < ' ' || byte == 0x7F || byte == '$' || byte == '?' || byte == '`'
                 ? kDead
                 : Next(At(item, kCode));
  }
}

Next Stepper::Closer(const GrammarItem& item, uint8_t byte) {
  const GrammarItem frame = stacks_.Top(item.stack);
  if (item.stack == kEmptyStack || frame.at == kFrameIndent) return kDead;
  const bool curly = frame.at >= kFrameCurly;
  if (byte != (curly ? '}' : frame.at == kFrameParen ? ')' : ']')) return kDead;
  GrammarItem next = At(item, kCode);
  next.stack = frame.stack;
  if (frame.at == kFrameSpecField) next.at = kSpec;
  if (frame.at == kFrameField) {
    next.at = PlaceOf(item) == kSpec ? kFieldEnd : kString;
    next.a = frame.a;
    next.b = 0;
  }
  return next;
}

Next Stepper::Quote(const GrammarItem& item, uint8_t byte, bool formatted) {
  if (item.b != 0) {
    return formatted || byte == QuoteOf(item.b - 1) ? kDead : Next(At(item, kInnerOne));
  }
  return At(item, kQuoteOne, (byte == '"' ? kDouble : 0) | (formatted ? kFormatted : 0));
}

}  // namespace chimera::python
