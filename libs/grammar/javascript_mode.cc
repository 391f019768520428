// JavaScript: brackets matched, strings, templates, regular expressions and comments closed.
//
// What a slash means hangs on all that came before it, so the machine remembers what the last token
// was (JsPrev), and with each open bracket what the token that closes it will be: the end of an
// `if`'s condition, of a block, of an operand. For text that is checked this follows the grammar as
// far as real programs need. Generated text simply has no slash where a lexer without a parser
// could go wrong, and its functions and classes have the shape by which one finds their bodies.
#include "grammar/javascript_machine.h"
#include "grammar/modes.h"

namespace chimera::javascript {

void JavascriptMachine::Classify(uint8_t byte) {
  constexpr std::string_view kAlone = "\n\r!\"#$'()*+-./01:;<=>?@E[\\]`{}abcdefghilmnoprstuvwxy";
  constexpr std::string_view kRest[] = {" \t\v\f", "%&,|^~", "234567", "89", "ABCDF"};
  enum { kControl = 60, kLetter, kSpecial, kKinds };
  const char c = static_cast<char>(byte);
  const size_t alone = kAlone.find(c);
  uint8_t& to = classes_[byte];
  if (byte >= 0x80) {
    constexpr std::string_view kOwn = "\xC2\xE2\xEF\x80\xA0\xBB\xBF";
    const size_t own = kOwn.find(c);
    if (own != std::string_view::npos) {
      to = static_cast<uint8_t>(kKinds + 12 + own);
    } else if (byte == 0xA8 || byte == 0xA9) {
      to = kSpecial;
    } else {
      to = static_cast<uint8_t>(kKinds + Utf8ByteKind(byte));
    }
  } else if (alone != std::string_view::npos) {
    to = static_cast<uint8_t>(alone);
  } else if (IsWordStart(byte) && !IsHex(byte)) {
    to = kLetter;
  } else {
    to = kControl;
    for (size_t i = 0; i < std::size(kRest); ++i) {
      if (kRest[i].find(c) != std::string_view::npos) to = static_cast<uint8_t>(54 + i);
    }
  }
}

GrammarItem JavascriptMachine::Next(GrammarItem item, uint8_t byte, StackPool* stacks) const {
  switch (item.at) {
    case kBegin:
      return byte == '#' ? At(item, kBeginHash) : Between(At(item, kBetween), byte, stacks);
    case kBeginHash:
      if (byte == '!') return At(item, kLineComment);
      [[fallthrough]];
    case kHash:
      if (!IsWordStart(byte) && (generate_ || (byte < 0x80 && byte != '\\'))) return {};
      return Between(After(item, JsPrev::kDot), byte, stacks);
    case kBetween:
      return Between(item, byte, stacks);
    case kWord:
      return Word(item, byte, stacks);
    case kHigh:
      return High(item, byte);
    case kWordEscape:
    case kWordEscapeU:
    case kWordEscapeBrace:
      return WordEscape(item, byte);
    case kSlash:
      return Slash(item, byte, stacks);
    case kLineComment:
    case kBlockComment:
    case kBlockStar:
      return Comment(item, byte);
    case kLooseNumber:
    case kLooseFraction:
      return LooseNumber(item, byte, stacks);
    default:
      break;
  }
  if (item.at <= kDotTwo) return Operators(item, byte, stacks);
  if (item.at <= kNumberEnd) return Number(item, byte, stacks);
  if (item.at <= kDollar) return String(item, byte, stacks);
  return Regex(item, byte, stacks);
}

// Whether a token that begins like that may follow in generated text.
bool JavascriptMachine::Fits(JsPrev prev, uint8_t byte) const {
  if (IsSpace(byte) || byte == '/') return true;
  switch (prev) {
    case JsPrev::kFunction:
      return byte == '*' || byte == '(' || IsWordStart(byte);
    case JsPrev::kFunctionName:
      return byte == '(';
    case JsPrev::kBody:
      return byte == '{';
    case JsPrev::kClass:
      return byte == '{' || IsWordStart(byte);
    case JsPrev::kClassName:
      return byte == '{' || byte == 'e';
    case JsPrev::kExtends:
    case JsPrev::kHeritageDot:
      return IsWordStart(byte);
    case JsPrev::kHeritage:
      return byte == '{' || byte == '.';
    default:
      return true;
  }
}

GrammarItem JavascriptMachine::Between(GrammarItem item, uint8_t byte, StackPool* stacks) const {
  const Context context = Context::Of(item.a);
  if (generate_ && !Fits(context.prev, byte)) return {};
  if (IsSpace(byte)) {
    if (IsNewline(byte) && !generate_) {
      item.a = Context{context.prev, true, context.ternaries}.Packed();
    }
    return item;
  }
  if (IsWordStart(byte)) return Word(At(item, kWord, kJsWordRoot), byte, stacks);
  if (IsDigit(byte)) {
    item = After(item, JsPrev::kOperand);
    return At(item, !generate_ ? kLooseNumber : byte == '0' ? kZero : kInteger);
  }
  if (byte >= 0x80) {
    return generate_ ? GrammarItem{} : High(At(item, kHigh, uint32_t(context.prev) << 8), byte);
  }
  return Punctuation(item, byte, stacks);
}

GrammarItem JavascriptMachine::Punctuation(GrammarItem item, uint8_t byte,
                                           StackPool* stacks) const {
  const JsPrev prev = PrevOf(item);
  switch (byte) {
    case '\'':
      return At(After(item, JsPrev::kOperand), kString, kSingle);
    case '"':
      return At(After(item, JsPrev::kOperand), kString, kDouble);
    case '`':
      return At(After(item, JsPrev::kOperand), kString, kBacktick);
    case '(':
    case '[':
    case '{':
      return Open(item, byte, stacks);
    case ')':
    case ']':
    case '}':
      return Close(item, byte, *stacks);
    case '+':
      return At(item, kPlus);
    case '-':
      return At(item, kMinus);
    case '<':
      return At(item, kLess);
    case '?':
      return At(item, kQuestion);
    case '/':
      return At(item, kSlash);
    case '#':
      return At(item, kHash);
    case '.':
      if (prev == JsPrev::kHeritage) return After(item, JsPrev::kHeritageDot);
      return At(item, kDotOne);
    case '=':
      return generate_ ? After(item, JsPrev::kOperator) : At(item, kEquals);
    case ':':
      return Colon(item, *stacks);
    case ';':
      item.a = 0;
      return After(item, JsPrev::kStatement);
    case '*':
      return After(item, prev == JsPrev::kFunction ? prev : JsPrev::kOperator);
    case '\\':
      return generate_ ? GrammarItem{} : At(item, kWordEscape);
    case '@':
      return generate_ ? GrammarItem{} : After(item, JsPrev::kOperator);
    default:
      if (byte < ' ' || byte == 0x7F) return {};
      return After(item, JsPrev::kOperator);
  }
}

// In a block a `:` without a `?` ends a label or a case.
GrammarItem JavascriptMachine::Colon(GrammarItem item, const StackPool& stacks) const {
  Context context = Context::Of(item.a);
  if (generate_) return After(item, JsPrev::kOperator);
  const bool in_block = item.stack == kEmptyStack || stacks.Top(item.stack).at == kBlockBrace;
  if (in_block && context.ternaries == 0) return After(item, JsPrev::kStatement);
  if (context.ternaries > 0) --context.ternaries;
  item.a = context.Packed();
  return After(item, JsPrev::kOperator);
}

// Punctuators of which more than one byte is read.
GrammarItem JavascriptMachine::Operators(GrammarItem item, uint8_t byte, StackPool* stacks) const {
  const GrammarItem one = After(item, JsPrev::kOperator);
  switch (item.at) {
    case kPlus:
      if (byte == '+') return After(item, PrevOf(item));  // before or behind an operand, alike
      break;
    case kMinus:
      if (byte == '-') return At(item, kMinusMinus);
      break;
    case kMinusMinus:
      if (byte == '>' && generate_) return {};
      if (byte == '>' && Context::Of(item.a).fresh) return At(item, kLineComment);
      return Between(After(item, PrevOf(item)), byte, stacks);
    case kLess:
      if (byte == '!') return At(item, kLessBang);
      break;
    case kLessBang:
      if (byte == '-') return At(item, kLessBangMinus);
      break;
    case kLessBangMinus:
      if (byte == '-') return generate_ ? GrammarItem{} : At(item, kLineComment);
      return Operators(At(one, kMinus), byte, stacks);
    case kEquals:
      if (byte == '>') return After(item, JsPrev::kArrow);
      break;
    case kQuestion: {
      if (byte == '.') return At(item, kQuestionDot);
      if (byte == '?') return one;
      Context context = Context::Of(one.a);
      const bool in_block = item.stack == kEmptyStack || stacks->Top(item.stack).at == kBlockBrace;
      if (!generate_ && in_block && context.ternaries < kTernariesMax) ++context.ternaries;
      item.a = context.Packed();
      return Between(At(item, kBetween), byte, stacks);
    }
    case kQuestionDot: {
      if (!IsDigit(byte)) return Between(After(item, JsPrev::kDot), byte, stacks);
      const GrammarItem asked = Operators(At(item, kQuestion), ' ', stacks);
      return At(After(asked, JsPrev::kOperand), generate_ ? kFraction : kLooseFraction);
    }
    case kDotOne:
      if (byte == '.') return At(item, kDotTwo);
      [[fallthrough]];
    case kDotTwo:
      if (byte == '.') return one;
      if (!IsDigit(byte)) return Between(After(item, JsPrev::kDot), byte, stacks);
      return At(After(item, JsPrev::kOperand), generate_ ? kFraction : kLooseFraction);
    default:
      break;
  }
  return Between(one, byte, stacks);
}

GrammarItem JavascriptMachine::Slash(GrammarItem item, uint8_t byte, StackPool* stacks) const {
  if (byte == '/') return At(item, kLineComment);
  if (byte == '*') return At(item, kBlockComment);
  switch (PrevOf(item)) {
    case JsPrev::kStatement:
    case JsPrev::kOperator:
      return Regex(At(After(item, JsPrev::kOperand), kRegex), byte, stacks);
    case JsPrev::kOperand:
      return Between(After(item, JsPrev::kOperator), byte, stacks);
    case JsPrev::kArrow:
    case JsPrev::kHead:
    case JsPrev::kFor:
      if (generate_) return {};
      return Regex(At(After(item, JsPrev::kOperand), kRegex), byte, stacks);
    default:
      if (generate_) return {};
      return Between(After(item, JsPrev::kOperator), byte, stacks);
  }
}

GrammarItem JavascriptMachine::Open(GrammarItem item, uint8_t byte, StackPool* stacks) const {
  if (stacks->Full(item.stack)) return {};
  const Context context = Context::Of(item.a);
  const JsPrev prev = context.prev;
  Frame kind = byte == '[' ? kBracket : kParen;
  JsPrev inside = JsPrev::kOperator;
  JsPrev after = IsClassWord(prev) && !generate_ ? prev : JsPrev::kOperand;
  if (byte == '(') {
    if (prev == JsPrev::kHead || prev == JsPrev::kFor) after = JsPrev::kStatement;
    if (prev == JsPrev::kFor && !generate_) kind = kForParen;
    if (prev == JsPrev::kFunction || prev == JsPrev::kFunctionName) after = JsPrev::kBody;
    if (prev == JsPrev::kUnsafeCall) after = JsPrev::kUnsafe;
  } else if (byte == '{' && generate_) {
    kind = kBlockBrace;
    inside = JsPrev::kStatement;
    after = JsPrev::kUnsafe;
  } else if (byte == '{') {
    const bool object = prev == JsPrev::kOperator || IsClassWord(prev);
    kind = object ? kObjectBrace : kBlockBrace;
    inside = prev == JsPrev::kOperator ? JsPrev::kOperator : JsPrev::kStatement;
    const bool operand = prev == JsPrev::kOperator || prev == JsPrev::kBody ||
                         prev == JsPrev::kFunction || prev == JsPrev::kClassOperand;
    after = operand ? JsPrev::kOperand : JsPrev::kStatement;
  }
  const uint32_t below = item.stack == kEmptyStack ? 0 : stacks->Top(item.stack).b;
  item.stack = stacks->Push({.at = kind,
                             .a = Context{after, false, context.ternaries}.Packed(),
                             .b = below + 1 + ShapeBytes(after),
                             .stack = item.stack});
  item.a = Context{inside}.Packed();
  return At(item, kBetween);
}

GrammarItem JavascriptMachine::Close(GrammarItem item, uint8_t byte,
                                     const StackPool& stacks) const {
  if (item.stack == kEmptyStack) return {};
  const GrammarItem& frame = stacks.Top(item.stack);
  const bool curly = frame.at >= kBlockBrace;
  const uint8_t closer = curly ? '}' : frame.at == kBracket ? ']' : ')';
  if (byte != closer) return {};
  const GrammarItem closed{.a = frame.a, .stack = frame.stack};
  return frame.at == kHole ? At(closed, kString, kBacktick) : At(closed, kBetween);
}

}  // namespace chimera::javascript

namespace chimera {

std::shared_ptr<const Machine> MakeJavascriptMachine(GrammarUse use) {
  return std::make_shared<javascript::JavascriptMachine>(use);
}

}  // namespace chimera
