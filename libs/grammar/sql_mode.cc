// SQL as PostgreSQL reads it: parentheses and array brackets matched, strings, quoted identifiers,
// dollar quotes and comments closed.
//
// Dialects differ in what a backslash does within '..', in ` and in comments within comments;
// generated text has none of the places where they would read on differently.
#include <algorithm>
#include <string_view>

#include "grammar/modes.h"
#include "grammar/utf8_steps.h"

namespace chimera {
namespace {

enum Place : uint32_t {
  kDead,
  kBetween,  // tokens
  kWord,     // b: UTF-8 place
  kWordE,    // the word `e` so far: a quote makes it a string with escapes
  kDot,
  kNumber,
  kPoint,  // right behind the digits of a number
  kFraction,
  kExponentMark,
  kExponentSign,
  kExponent,
  kParameter,
  kOperator,  // b: its bytes so far, capped; a: the last one, if - or /
  kString,    // b: UTF-8 place, a: 1 behind an odd number of backslashes
  kEscapeString,
  kEscape,
  kAfterEscapeString,  // b: what stands between it and here, as EscapeGap
  kAfterEscapeMinus,   // a - behind that
  kIdentifier,         // b: UTF-8 place, a: 1 when generated text must not end it yet
  kDollar,
  kDollarTag,     // b: bytes of the tag, which are the top frames
  kDollarBody,    // b: the same | UTF-8 place << 16, a: bytes of the closing tag so far
  kLineComment,   // b: UTF-8 place, a: 1 when it follows a string with escapes
  kBlockComment,  // b: UTF-8 place, a: how deep; the same for the next two
  kBlockStar,
  kBlockSlash,
};

// A quote after such a string goes on with it, even on a later line. Whether it does behind a
// comment, lexers disagree about: it is refused there.
enum EscapeGap : uint32_t { kNone, kSpaces, kNewline, kComment };

// Frames: at is the kind, b what closing it and all below takes. Bytes of a tag stand in a.
enum Frame : uint32_t { kParen, kBracket, kTagByte };

constexpr uint32_t kGeneratedOperatorMax = 6;  // PostgreSQL takes 63
constexpr uint32_t kCommentDepthMax = 4096;

constexpr bool IsDigit(uint8_t c) { return c >= '0' && c <= '9'; }
constexpr bool IsNewline(uint8_t c) { return c == '\n' || c == '\r'; }
constexpr bool IsSpace(uint8_t c) { return IsNewline(c) || c == ' ' || c == '\t' || c == '\f'; }
constexpr bool IsTagStart(uint8_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
constexpr bool IsOperator(uint8_t c) {
  return std::string_view("~!@#^&|`?+-*/%<>=").find(static_cast<char>(c)) != std::string_view::npos;
}

GrammarItem At(const GrammarItem& item, uint32_t place, uint32_t a = 0, uint32_t b = 0) {
  return {.at = place, .a = a, .b = b, .stack = item.stack};
}

class SqlMachine : public Machine {
 public:
  explicit SqlMachine(GrammarUse use) : generate_(use == GrammarUse::kGenerate) {
    for (int byte = 0; byte < 256; ++byte) {
      classes_[size_t(byte)] = ClassOf(static_cast<uint8_t>(byte));
    }
  }
  const std::array<uint8_t, 256>& byte_classes() const override { return classes_; }
  void Start(StackPool*, std::vector<GrammarItem>* out) const override {
    out->push_back({.at = kBetween});
  }
  void Step(std::span<const GrammarItem> from, uint8_t byte, StackPool* stacks,
            std::vector<GrammarItem>* out) const override {
    const GrammarItem next = byte != 0 ? Next(from[0], byte, stacks) : GrammarItem{};
    if (next.at != kDead) out->push_back(next);
  }
  uint32_t CloseBytes(std::span<const GrammarItem> items, const StackPool& stacks) const override {
    const GrammarItem& item = items[0];
    return PlaceBytes(item, item.stack == kEmptyStack ? 0 : stacks.Top(item.stack).b);
  }

 private:
  static uint8_t ClassOf(uint8_t byte);
  GrammarItem Next(const GrammarItem& item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Between(const GrammarItem& item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Bracket(const GrammarItem& item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Number(const GrammarItem& item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Operator(const GrammarItem& item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Quoted(const GrammarItem& item, uint8_t byte) const;
  GrammarItem AfterEscapeString(const GrammarItem& item, uint8_t byte, StackPool* stacks) const;
  GrammarItem DollarTag(const GrammarItem& item, uint8_t byte, StackPool* stacks) const;
  GrammarItem DollarBody(const GrammarItem& item, uint8_t byte, const StackPool& stacks) const;
  GrammarItem Comment(const GrammarItem& item, uint8_t byte) const;
  uint32_t PlaceBytes(const GrammarItem& item, uint32_t rest) const;

  bool generate_;
  std::array<uint8_t, 256> classes_;
};

// Letters and digits differ in the tags of dollar quotes.
uint8_t SqlMachine::ClassOf(uint8_t byte) {
  constexpr std::string_view kAlone = "\"$'()*+-./[\\]_`";
  enum { kNul, kOther, kBlank, kLine, kSign, kFirstAlone };
  constexpr auto kFirstWord = static_cast<uint8_t>(kFirstAlone + kAlone.size());
  constexpr uint8_t kFirstHigh = kFirstWord + 62;
  const size_t alone = kAlone.find(static_cast<char>(byte));
  if (byte == 0) return kNul;
  if (byte >= 0x80) return static_cast<uint8_t>(kFirstHigh + Utf8ByteKind(byte) - 1);
  if (alone != std::string_view::npos) return static_cast<uint8_t>(kFirstAlone + alone);
  if (IsDigit(byte)) return static_cast<uint8_t>(kFirstWord + byte - '0');
  if (IsTagStart(byte)) {
    return static_cast<uint8_t>(kFirstWord + (byte >= 'a' ? 36 + byte - 'a' : 10 + byte - 'A'));
  }
  if (IsNewline(byte)) return kLine;
  if (IsSpace(byte)) return kBlank;
  return IsOperator(byte) ? kSign : kOther;
}

GrammarItem SqlMachine::Next(const GrammarItem& item, uint8_t byte, StackPool* stacks) const {
  switch (item.at) {
    case kBetween:
      return Between(item, byte, stacks);
    case kWord:
    case kWordE: {
      if (byte == '\'' && item.at == kWordE) return At(item, kEscapeString);
      if (byte == '$' && item.b == 0) return generate_ ? GrammarItem{} : At(item, kWord);
      const int place = Utf8Step(static_cast<int>(item.b), byte);
      if (place == kUtf8Bad) return {};
      if (byte < 0x80 && !IsTagStart(byte) && !IsDigit(byte)) return Between(item, byte, stacks);
      return At(item, kWord, 0, static_cast<uint32_t>(place));
    }
    case kOperator:
      return Operator(item, byte, stacks);
    case kString:
    case kEscapeString:
    case kEscape:
    case kIdentifier:
      return Quoted(item, byte);
    case kAfterEscapeString:
      return AfterEscapeString(item, byte, stacks);
    case kAfterEscapeMinus:
      if (byte == '-') return At(item, kLineComment, 1);
      return Operator(At(item, kOperator, '-', 1), byte, stacks);
    case kDollar:
    case kDollarTag:
      return DollarTag(item, byte, stacks);
    case kDollarBody:
      return DollarBody(item, byte, *stacks);
    case kLineComment:
    case kBlockComment:
    case kBlockStar:
    case kBlockSlash:
      return Comment(item, byte);
    default:
      return Number(item, byte, stacks);
  }
}

GrammarItem SqlMachine::Between(const GrammarItem& item, uint8_t byte, StackPool* stacks) const {
  if (IsSpace(byte)) return At(item, kBetween);
  if (byte == 'e' || byte == 'E') return At(item, kWordE);
  if (IsTagStart(byte)) return At(item, kWord);
  if (IsDigit(byte)) return At(item, kNumber);
  if (byte >= 0x80) return Next(At(item, kWord), byte, stacks);
  switch (byte) {
    case '\'':
      return At(item, kString);
    case '"':
      return At(item, kIdentifier, generate_ ? 1 : 0);
    case '$':
      return At(item, kDollar);
    case '.':
      return At(item, kDot);
    case '(':
    case '[':
    case ')':
    case ']':
      return Bracket(item, byte, stacks);
    default:
      break;
  }
  if (IsOperator(byte)) return Operator(At(item, kOperator), byte, stacks);
  return At(item, kBetween);
}

GrammarItem SqlMachine::Bracket(const GrammarItem& item, uint8_t byte, StackPool* stacks) const {
  const uint32_t kind = byte == '(' || byte == ')' ? kParen : kBracket;
  GrammarItem next = At(item, kBetween);
  if (byte == '(' || byte == '[') {
    if (stacks->Full(item.stack)) return {};
    const uint32_t below = item.stack == kEmptyStack ? 0 : stacks->Top(item.stack).b;
    next.stack = stacks->Push({.at = kind, .b = below + 1, .stack = item.stack});
    return next;
  }
  if (item.stack == kEmptyStack || stacks->Top(item.stack).at != kind) return {};
  next.stack = stacks->Top(item.stack).stack;
  return next;
}

// A word right behind a number or a parameter is an error since PostgreSQL 15.
GrammarItem SqlMachine::Number(const GrammarItem& item, uint8_t byte, StackPool* stacks) const {
  const bool point = item.at == kDot || item.at == kPoint;
  if (point && IsDigit(byte)) return At(item, kFraction);
  if (point && byte == '.') return At(item, kBetween);  // two dots are a token, 1.. begins with 1
  if (item.at == kDot) return Between(At(item, kBetween), byte, stacks);
  const bool exponent = item.at == kExponentMark || item.at == kExponentSign;
  if (IsDigit(byte)) return At(item, exponent ? uint32_t{kExponent} : item.at);
  if (item.at == kExponentMark && (byte == '+' || byte == '-')) return At(item, kExponentSign);
  if (byte == '.' && item.at == kNumber) return At(item, kPoint);
  const bool mantissa = item.at == kNumber || item.at == kPoint || item.at == kFraction;
  if (mantissa && (byte == 'e' || byte == 'E')) return At(item, kExponentMark);
  const bool junk = IsTagStart(byte) || byte >= 0x80;
  if (generate_ && (exponent || junk)) return {};
  return Between(At(item, kBetween), byte, stacks);
}

GrammarItem SqlMachine::Operator(const GrammarItem& item, uint8_t byte, StackPool* stacks) const {
  if (byte == '-' && item.a == '-') return At(item, kLineComment);
  if (byte == '*' && item.a == '/') return At(item, kBlockComment, 1);
  if (!IsOperator(byte)) return Between(At(item, kBetween), byte, stacks);
  if (generate_ && (byte == '`' || item.b == kGeneratedOperatorMax)) return {};
  const uint32_t last = byte == '-' || byte == '/' ? byte : 0;
  return At(item, kOperator, last, generate_ ? item.b + 1 : 0);
}

// Strings and quoted identifiers. A doubled quote is the end and a new beginning.
GrammarItem SqlMachine::Quoted(const GrammarItem& item, uint8_t byte) const {
  const int step = Utf8Step(static_cast<int>(item.b), byte);
  if (step == kUtf8Bad) return {};
  const auto place = static_cast<uint32_t>(step);
  switch (item.at) {
    case kEscape:
      // Codes of characters can be wrong in too many ways.
      if (generate_ && (IsDigit(byte) || byte == 'x' || byte == 'u' || byte == 'U')) return {};
      return At(item, kEscapeString, 0, place);
    case kEscapeString:
      if (byte == '\'') return At(item, kAfterEscapeString);
      return byte == '\\' ? At(item, kEscape) : At(item, kEscapeString, 0, place);
    case kIdentifier:
      if (byte != '"') return At(item, kIdentifier, 0, place);
      return item.a == 1 ? GrammarItem{} : At(item, kBetween);
    default:
      break;
  }
  if (byte == '\'') return item.a == 1 ? GrammarItem{} : At(item, kBetween);
  const bool odd = generate_ && byte == '\\' && item.a == 0;
  return At(item, kString, odd ? 1 : 0, place);
}

GrammarItem SqlMachine::AfterEscapeString(const GrammarItem& item, uint8_t byte,
                                          StackPool* stacks) const {
  if (IsNewline(byte)) return At(item, kAfterEscapeString, 0, std::max<uint32_t>(item.b, kNewline));
  if (IsSpace(byte)) return At(item, kAfterEscapeString, 0, std::max<uint32_t>(item.b, kSpaces));
  if (byte == '-') return At(item, kAfterEscapeMinus);
  if (byte != '\'' || item.b == kSpaces) return Between(At(item, kBetween), byte, stacks);
  const bool doubtful = item.b == kComment || (item.b == kNewline && generate_);
  return doubtful ? GrammarItem{} : At(item, kEscapeString);
}

// $tag, up to the second dollar.
GrammarItem SqlMachine::DollarTag(const GrammarItem& item, uint8_t byte, StackPool* stacks) const {
  if (byte == '$') return At(item, kDollarBody, 0, item.b);
  if (item.at == kDollar && IsDigit(byte)) return At(item, kParameter);
  if (IsTagStart(byte) || IsDigit(byte)) {
    if (stacks->Full(item.stack)) return {};
    const uint32_t below = item.stack == kEmptyStack ? 0 : stacks->Top(item.stack).b;
    GrammarItem next = At(item, kDollarTag, 0, item.b + 1);
    next.stack = stacks->Push({.at = kTagByte, .a = byte, .b = below, .stack = item.stack});
    return next;
  }
  if (generate_ || byte >= 0x80) return {};  // tags have letters of ASCII only
  // A dollar and a word after all.
  GrammarItem word = At(item, kWord);
  if (item.b == 1 && (stacks->Top(item.stack).a | 0x20) == 'e') word.at = kWordE;
  for (uint32_t i = 0; i < item.b; ++i) word.stack = stacks->Top(word.stack).stack;
  return item.at == kDollar ? Between(At(word, kBetween), byte, stacks) : Next(word, byte, stacks);
}

GrammarItem SqlMachine::DollarBody(const GrammarItem& item, uint8_t byte,
                                   const StackPool& stacks) const {
  const uint32_t length = item.b & 0xFFFF;
  const int place = Utf8Step(static_cast<int>(item.b >> 16), byte);
  if (place == kUtf8Bad) return {};
  // The frame of the byte that is awaited, then the frames below the tag.
  uint32_t stack = item.stack;
  uint32_t awaited = '$';
  for (uint32_t i = length; i > 0; --i) {
    if (i == item.a) awaited = stacks.Top(stack).a;
    stack = stacks.Top(stack).stack;
  }
  if (byte == '$' && item.a == length + 1) {
    return {.at = kBetween, .stack = stack};
  }
  const bool goes_on = item.a > 0 && item.a <= length && byte == awaited;
  const uint32_t matched = goes_on ? item.a + 1 : byte == '$' ? 1 : 0;
  return At(item, kDollarBody, matched, length | static_cast<uint32_t>(place) << 16);
}

GrammarItem SqlMachine::Comment(const GrammarItem& item, uint8_t byte) const {
  const int step = Utf8Step(static_cast<int>(item.b), byte);
  if (step == kUtf8Bad) return {};
  const auto place = static_cast<uint32_t>(step);
  if (item.at == kLineComment) {
    if (!IsNewline(byte)) return At(item, kLineComment, item.a, place);
    return item.a == 1 ? At(item, kAfterEscapeString, 0, kComment) : At(item, kBetween);
  }
  if (item.at == kBlockStar && byte == '/') {
    return item.a == 1 ? At(item, kBetween) : At(item, kBlockComment, item.a - 1);
  }
  if (item.at == kBlockSlash && byte == '*') {
    if (generate_ || item.a == kCommentDepthMax) return {};
    return At(item, kBlockComment, item.a + 1);
  }
  if (byte == '*') return At(item, kBlockStar, item.a);
  if (byte == '/') return At(item, kBlockSlash, item.a);
  return At(item, kBlockComment, item.a, place);
}

// `rest`: what the frames need.
uint32_t SqlMachine::PlaceBytes(const GrammarItem& item, uint32_t rest) const {
  const auto character = static_cast<uint32_t>(Utf8Missing(static_cast<int>(item.b & 7)));
  switch (item.at) {
    case kWord:
      return rest + character;
    case kExponentMark:
    case kExponentSign:
    case kDollar:
      return rest + (generate_ ? 1 : 0);
    case kString:
    case kIdentifier:
      return rest + 1 + character + item.a;
    case kEscapeString:
      return rest + 1 + character;
    case kEscape:
      return rest + 2;
    case kDollarTag:
      return rest + (generate_ ? item.b + 3 : 0);
    case kDollarBody: {
      const uint32_t left = (item.b & 0xFFFF) + 2 - item.a;
      return rest + left + static_cast<uint32_t>(Utf8Missing(static_cast<int>(item.b >> 16)));
    }
    case kLineComment:
      return rest + character + (rest > 0 ? 1 : 0);
    case kBlockComment:
      return rest + 2 * item.a + character;
    case kBlockStar:
      return rest + 2 * item.a - 1;
    case kBlockSlash:
      return rest + 2 * item.a + 1;
    default:
      return rest;
  }
}

}  // namespace

std::shared_ptr<const Machine> MakeSqlMachine(GrammarUse use) {
  return std::make_shared<SqlMachine>(use);
}

}  // namespace chimera
