// The JavaScript machine within tokens: words, numbers, strings, templates, regular expressions and
// comments, and what it takes to close them.
#include <algorithm>

#include "grammar/javascript_machine.h"

namespace chimera::javascript {

GrammarItem JavascriptMachine::Word(GrammarItem item, uint8_t byte, StackPool* stacks) const {
  if (IsWordByte(byte)) {
    item.b = kJsWords.Next(item.b, byte);
    const bool other = PrevOf(item) == JsPrev::kClassName && kJsWords.ToExtends(item.b) < 0;
    return other ? GrammarItem{} : item;
  }
  if (byte == '\\' && !generate_) return At(item, kWordEscape);
  const std::optional<JsPrev> end = WordEnd(item, *stacks);
  if (!end) return {};
  if (byte < 0x80) return Between(After(item, *end), byte, stacks);
  return generate_ ? GrammarItem{} : High(At(item, kHigh, uint32_t(*end) << 8), byte);
}

// What the token was that ends here; nothing where it must not end.
std::optional<JsPrev> JavascriptMachine::WordEnd(const GrammarItem& item,
                                                 const StackPool& stacks) const {
  if (generate_) return ShapedWordEnd(item, stacks);
  const Context context = Context::Of(item.a);
  const JsPrev prev = context.prev;
  if (prev == JsPrev::kDot) return JsPrev::kOperand;
  if (prev == JsPrev::kFunction || IsClassWord(prev)) return prev;
  const bool operand = prev == JsPrev::kOperand;
  const bool begins = prev == JsPrev::kStatement || (operand && context.fresh);
  switch (kJsWords.Of(item.b)) {
    case JsWord::kOperator:
    case JsWord::kDeclare:
      return JsPrev::kOperator;
    case JsWord::kWait:
      return prev == JsPrev::kFor ? prev : JsPrev::kOperator;
    case JsWord::kStatement:
      return JsPrev::kStatement;
    case JsWord::kHead:
      return JsPrev::kHead;
    case JsWord::kFor:
      return JsPrev::kFor;
    case JsWord::kFunction:
      return begins || prev == JsPrev::kAsync ? JsPrev::kOperand : JsPrev::kFunction;
    case JsWord::kClass: {
      const bool declares = operand || begins || prev == JsPrev::kAsync;
      return declares ? JsPrev::kClass : JsPrev::kClassOperand;
    }
    case JsWord::kAsync:
      return begins ? JsPrev::kAsync : JsPrev::kOperand;
    case JsWord::kOf: {
      const bool in_for = item.stack != kEmptyStack && stacks.Top(item.stack).at == kForParen;
      return in_for && operand ? JsPrev::kOperator : JsPrev::kOperand;
    }
    default:
      return JsPrev::kOperand;
  }
}

// The same for generated text, where functions and classes have names that are no such words, and
// begin only where their brackets can be opened.
std::optional<JsPrev> JavascriptMachine::ShapedWordEnd(const GrammarItem& item,
                                                       const StackPool& stacks) const {
  const JsPrev prev = PrevOf(item);
  const JsWord word = kJsWords.Of(item.b);
  const bool name = word == JsWord::kName;
  const bool shape = word == JsWord::kFunction || word == JsWord::kClass;
  if (prev == JsPrev::kDot) {
    if (shape) return std::nullopt;
    return name ? JsPrev::kOperand : JsPrev::kUnsafeCall;
  }
  if (ShapeBytes(prev) > 0) {
    const bool heritage = prev == JsPrev::kClass || prev == JsPrev::kClassName;
    if (heritage && word == JsWord::kExtends) return JsPrev::kExtends;
    if (!name || prev == JsPrev::kClassName) return std::nullopt;
    return AfterShapedName(prev);
  }
  switch (word) {
    case JsWord::kName:
    case JsWord::kAsync:
      return JsPrev::kOperand;
    case JsWord::kOperator:
      return JsPrev::kOperator;
    case JsWord::kHead:
      return JsPrev::kHead;
    case JsWord::kFor:
      return JsPrev::kFor;
    case JsWord::kWait:
      return prev == JsPrev::kFor ? JsPrev::kUnsafeCall : JsPrev::kUnsafe;
    case JsWord::kFunction:
    case JsWord::kClass:
      if (stacks.Full(item.stack)) return std::nullopt;
      return word == JsWord::kFunction ? JsPrev::kFunction : JsPrev::kClass;
    default:
      return JsPrev::kUnsafe;
  }
}

// In a character beyond ASCII: a letter of a word, unless it is white space.
GrammarItem JavascriptMachine::High(GrammarItem item, uint8_t byte) const {
  const JsUtf8 step = JsUtf8Step(static_cast<int>(item.b & 0xFF), byte);
  const auto if_space = static_cast<JsPrev>(item.b >> 8);
  switch (step.character) {
    case JsChar::kOpen:
      item.b = (item.b & ~0xFFu) | static_cast<uint32_t>(step.place);
      return item;
    case JsChar::kOther:
      return At(item, kWord, kJsNoWord);
    case JsChar::kSpace:
      return After(item, if_space);
    case JsChar::kNewline:
      item.a = Context{if_space, true, Context::Of(item.a).ternaries}.Packed();
      return At(item, kBetween);
    case JsChar::kBad:
      break;
  }
  return {};
}

GrammarItem JavascriptMachine::WordEscape(GrammarItem item, uint8_t byte) const {
  if (item.at == kWordEscape) return byte == 'u' ? At(item, kWordEscapeU) : GrammarItem{};
  if (item.at == kWordEscapeU && byte == '{') return At(item, kWordEscapeBrace);
  if (item.at == kWordEscapeBrace && byte == '}') return At(item, kWord, kJsNoWord);
  if (!IsHex(byte)) return {};
  return item.at == kWordEscapeU ? At(item, kWord, kJsNoWord) : item;
}

// Numbers of generated text; a word right behind one is an error.
GrammarItem JavascriptMachine::Number(GrammarItem item, uint8_t byte, StackPool* stacks) const {
  const bool digit = IsDigit(byte);
  switch (item.at) {
    case kZero:
      if (byte == 'x') return At(item, kRadixMark, 16);
      if (byte == 'o') return At(item, kRadixMark, 8);
      if (byte == 'b') return At(item, kRadixMark, 2);
      if (digit) return {};
      [[fallthrough]];
    case kInteger:
      if (byte == '.') return At(item, kFraction);
      if (byte == 'n') return At(item, kNumberEnd);
      [[fallthrough]];
    case kFraction:
      if (digit) return item;
      if (byte == 'e' || byte == 'E') return At(item, kExponentMark);
      break;
    case kExponentMark:
      if (byte == '+' || byte == '-') return At(item, kExponentSign);
      [[fallthrough]];
    case kExponentSign:
      return digit ? At(item, kExponent) : GrammarItem{};
    case kExponent:
      if (digit) return item;
      break;
    case kRadixMark:
    case kRadix: {
      const bool within = item.b == 16 ? IsHex(byte) : digit && byte - '0' < int(item.b);
      if (within) return At(item, kRadix, item.b);
      if (item.at == kRadixMark) return {};
      if (byte == 'n') return At(item, kNumberEnd);
      break;
    }
    default:
      break;
  }
  if (IsWordByte(byte) || byte == '.') return {};
  return Between(At(item, kBetween), byte, stacks);
}

GrammarItem JavascriptMachine::LooseNumber(GrammarItem item, uint8_t byte,
                                           StackPool* stacks) const {
  if (IsWordByte(byte)) return item;
  if (byte == '.' && item.at == kLooseNumber) return At(item, kLooseFraction);
  return Between(At(item, kBetween), byte, stacks);
}

GrammarItem JavascriptMachine::String(GrammarItem item, uint8_t byte, StackPool* stacks) const {
  const uint32_t quote = item.b & 3;
  if (item.at != kString && item.at != kDollar && item.at != kEscapeCr) return Escape(item, byte);
  if (item.at == kEscapeCr && byte == '\n') return At(item, kString, quote);
  if (item.at == kDollar && byte == '{') {
    if (stacks->Full(item.stack)) return {};
    const uint32_t below = item.stack == kEmptyStack ? 0 : stacks->Top(item.stack).b;
    item.stack = stacks->Push({.at = kHole, .a = item.a, .b = below + 2, .stack = item.stack});
    item.a = Context{JsPrev::kOperator}.Packed();
    return At(item, kBetween);
  }
  const int place = Utf8Step(static_cast<int>(item.b >> 8), byte);
  if (place == kUtf8Bad) return {};
  constexpr uint8_t kQuotes[] = {'\'', '"', '`'};
  if (byte == kQuotes[quote]) return At(item, kBetween);
  if (byte == '\\') return At(item, kEscape, quote);
  if (byte == '$' && quote == kBacktick) return At(item, kDollar, quote);
  if (IsNewline(byte) && quote != kBacktick) return {};
  return At(item, kString, quote | static_cast<uint32_t>(place) << 8);
}

GrammarItem JavascriptMachine::Escape(GrammarItem item, uint8_t byte) const {
  const uint32_t quote = item.b & 3;
  const uint32_t digits = item.b >> 2 & 63;
  const auto left = [&](uint32_t n) {
    return n > 0 ? At(item, kEscapeHex, quote | n << 2) : At(item, kString, quote);
  };
  switch (item.at) {
    case kEscapeHex:
      return IsHex(byte) ? left(digits - 1) : GrammarItem{};
    case kEscapeU:
      if (byte == '{') return At(item, kEscapeBrace, quote);
      return IsHex(byte) ? left(3) : GrammarItem{};
    case kEscapeBrace:  // five digits stay below U+110000
      if (byte == '}' && digits > 0) return left(0);
      if (!IsHex(byte) || digits == 5) return {};
      return At(item, kEscapeBrace, quote | (digits + 1) << 2);
    default:
      break;
  }
  if (generate_) {
    if (byte == '\r' || IsDigit(byte)) return {};
    if (byte == 'x') return left(2);
    if (byte == 'u') return At(item, kEscapeU, quote);
  }
  if (byte == '\r') return At(item, kEscapeCr, quote);
  const int place = Utf8Step(0, byte);
  if (place == kUtf8Bad) return {};
  return At(item, kString, quote | static_cast<uint32_t>(place) << 8);
}

GrammarItem JavascriptMachine::Regex(GrammarItem item, uint8_t byte, StackPool* stacks) const {
  if (item.at == kRegexFlags) {
    constexpr std::string_view kFlags = "dgimsuy";
    if (!IsWordByte(byte)) return Between(At(item, kBetween), byte, stacks);
    if (!generate_) return item;
    // In the order of the alphabet: no flag comes twice.
    const bool flag = kFlags.find(static_cast<char>(byte)) != std::string_view::npos;
    return flag && byte > item.b ? At(item, kRegexFlags, byte) : GrammarItem{};
  }
  const JsUtf8 step = JsUtf8Step(static_cast<int>(item.b), byte);
  const bool newline = IsNewline(byte) || step.character == JsChar::kNewline;
  if (newline || step.character == JsChar::kBad) return {};
  const auto place = static_cast<uint32_t>(step.place);
  if (item.at == kRegexEscape) return At(item, kRegex, place);
  if (item.at == kRegexClassEscape) return At(item, kRegexClass, place);
  if (item.at == kRegexClass) {
    if (byte == '\\') return At(item, kRegexClassEscape);
    return At(item, byte == ']' ? kRegex : kRegexClass, place);
  }
  if (byte == '/') return At(item, kRegexFlags);
  if (byte == '\\') return At(item, kRegexEscape);
  return At(item, byte == '[' ? kRegexClass : kRegex, place);
}

GrammarItem JavascriptMachine::Comment(GrammarItem item, uint8_t byte) const {
  const JsUtf8 step = JsUtf8Step(static_cast<int>(item.b), byte);
  if (step.character == JsChar::kBad) return {};
  const bool newline = IsNewline(byte) || step.character == JsChar::kNewline;
  if (newline && step.character == JsChar::kNewline && generate_) return {};
  if (newline && !generate_) item.a |= Context{JsPrev::kStatement, true}.Packed();
  const auto place = static_cast<uint32_t>(step.place);
  if (item.at == kLineComment) return newline ? At(item, kBetween) : At(item, item.at, place);
  if (byte == '/' && item.at == kBlockStar) return At(item, kBetween);
  return byte == '*' ? At(item, kBlockStar) : At(item, kBlockComment, place);
}

uint32_t JavascriptMachine::CloseBytes(std::span<const GrammarItem> items,
                                       const StackPool& stacks) const {
  const GrammarItem& item = items[0];
  const uint32_t frames = item.stack == kEmptyStack ? 0 : stacks.Top(item.stack).b;
  if (!generate_) return PlaceBytes(item, frames);
  if (item.at == kWord) return WordBytes(item, stacks) + frames;
  return PlaceBytes(item, ShapeBytes(PrevOf(item)) + frames);
}

// `rest`: what the context and the frames need once the token at hand is done.
uint32_t JavascriptMachine::PlaceBytes(const GrammarItem& item, uint32_t rest) const {
  const auto character = [&](uint32_t shift) {
    return static_cast<uint32_t>(JsUtf8Missing(static_cast<int>(item.b >> shift & 15)));
  };
  const uint32_t digits = item.b >> 2 & 63;
  switch (item.at) {
    case kBeginHash:
    case kHash:
    case kExponentMark:
    case kExponentSign:
    case kRadixMark:
    case kWordEscapeU:
    case kWordEscapeBrace:
    case kDollar:
    case kEscapeCr:
    case kBlockStar:
      return rest + 1;
    case kWordEscape:
    case kEscape:
    case kRegexEscape:
      return rest + 2;
    case kHigh:
      return rest + character(0);
    case kSlash:
      return SlashBytes(PrevOf(item), rest);
    case kString:
      return rest + 1 + character(8);
    case kEscapeHex:
      return rest + 1 + digits;
    case kEscapeU:
      return rest + 4;
    case kEscapeBrace:
      return rest + (digits > 0 ? 2 : 3);
    case kRegex:
      return rest + 1 + character(0);
    case kRegexClass:
    case kBlockComment:
      return rest + 2 + character(0);
    case kRegexClassEscape:
      return rest + 3;
    case kLineComment:
      return rest + character(0) + (rest > 0 ? 1 : 0);
    default:
      return rest;
  }
}

uint32_t JavascriptMachine::SlashBytes(JsPrev prev, uint32_t rest) const {
  const bool regex = prev == JsPrev::kStatement || prev == JsPrev::kOperator ||
                     prev == JsPrev::kArrow || prev == JsPrev::kHead || prev == JsPrev::kFor;
  const bool divides = generate_ ? prev == JsPrev::kOperand : !regex;
  if (divides) return rest;
  return rest > 0 ? rest + 2 : 1;  // a comment, with its newline if more follows
}

// A word may end, or become some name with one more letter, or go on to `extends`.
uint32_t JavascriptMachine::WordBytes(const GrammarItem& item, const StackPool& stacks) const {
  const JsPrev prev = PrevOf(item);
  const int to_extends = kJsWords.ToExtends(item.b);
  const uint32_t heritage = 1 + ShapeBytes(JsPrev::kExtends);  // and white space before it
  if (prev == JsPrev::kClassName) return static_cast<uint32_t>(to_extends) + heritage;
  const uint32_t longer = 1 + ShapeBytes(AfterShapedName(prev));
  const std::optional<JsPrev> end = WordEnd(item, stacks);
  if (!end) return longer;
  return std::min(longer, *end == JsPrev::kExtends ? heritage : ShapeBytes(*end));
}

}  // namespace chimera::javascript
