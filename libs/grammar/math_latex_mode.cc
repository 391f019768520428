// LaTeX with mathematics: groups, formulas, environments and \left..\right pairs closed and
// nested, each within the one it was opened in.
#include <string>
#include <string_view>
#include <utility>

#include "grammar/math_latex_words.h"
#include "grammar/modes.h"
#include "grammar/utf8_steps.h"

namespace chimera::math_latex {
namespace {

// In every place a is 1 in a formula.
enum Place : uint32_t {
  kDead,
  kText,
  kCharacter,  // beyond ASCII; b: UTF-8 place
  kNewline,    // a line of a formula has ended: an empty one would be an error
  kBackslash,
  kWord,          // b: node of kWords
  kAfterTextual,  // after \text and the like: their argument is no formula
  kBegin,         // after \begin
  kBeginName,     // the top frames are the name so far, kEnvironment below them
  kEnd,           // after \end
  kEndName,       // b: bytes of the name that came again
  kDelimiter,     // after \left or \right; b: 1 after \right
  kDelimiterBackslash,
  kDelimiterWord,  // b: the same | node << 1
  kDollarOpen,     // one dollar
  kDollarsClose,   // the first of two closing ones
  kDollarClosed,   // after a formula in single ones
  kComment,        // b: UTF-8 place
  kVerb,           // after \verb
  kVerbText,       // b: its delimiter | UTF-8 place << 8
  kVerbatim,       // b: bytes of \end{name} so far | UTF-8 place << 16
};

// Frames: at is the kind, a whether a formula goes on after it, b what closing it and all below
// takes. Bytes of a name stand in a, and kEnvironment has the a of the whole.
enum Frame : uint32_t {
  kGroup,
  kLeft,
  kEnvironment,
  kNameByte,
  kDollar,
  kDollars,
  kRound,
  kSquare
};

constexpr uint32_t kFrameBytes[] = {1, 7, 6, 1, 1, 2, 2, 2};  // kLeft: \right.

constexpr bool IsLetter(uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool IsBlank(uint8_t c) { return c == ' ' || c == '\t'; }
constexpr bool IsControl(uint8_t c) { return (c < ' ' && c != '\t' && c != '\n') || c == 0x7F; }
constexpr bool IsIn(std::string_view bytes, uint8_t c) {
  return bytes.find(static_cast<char>(c)) != std::string_view::npos;
}

GrammarItem At(const GrammarItem& item, uint32_t place, uint32_t b = 0) {
  return {.at = place, .a = item.a, .b = b, .stack = item.stack};
}

class MathLatexMachine : public Machine {
 public:
  explicit MathLatexMachine(GrammarUse use) : generate_(use == GrammarUse::kGenerate) {
    for (int byte = 0; byte < 256; ++byte) {
      classes_[size_t(byte)] = ClassOf(static_cast<uint8_t>(byte));
    }
  }
  const std::array<uint8_t, 256>& byte_classes() const override { return classes_; }
  void Start(StackPool*, std::vector<GrammarItem>* out) const override {
    out->push_back({.at = kText});
  }
  void Step(std::span<const GrammarItem> from, uint8_t byte, StackPool* stacks,
            std::vector<GrammarItem>* out) const override {
    const GrammarItem next = Next(from[0], byte, stacks);
    if (next.at != kDead) out->push_back(next);
  }
  uint32_t CloseBytes(std::span<const GrammarItem> items, const StackPool& stacks) const override;

 private:
  static uint8_t ClassOf(uint8_t byte);
  GrammarItem Next(const GrammarItem& item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Text(const GrammarItem& item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Dollar(const GrammarItem& item, StackPool* stacks) const;
  GrammarItem Backslash(const GrammarItem& item, uint8_t byte, StackPool* stacks) const;
  GrammarItem WordEnd(const GrammarItem& item, uint8_t byte, StackPool* stacks) const;
  GrammarItem BeginName(const GrammarItem& item, uint8_t byte, StackPool* stacks) const;
  GrammarItem EndName(const GrammarItem& item, uint8_t byte, const StackPool& stacks) const;
  GrammarItem Delimiter(const GrammarItem& item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Comment(const GrammarItem& item, uint8_t byte) const;
  GrammarItem Verb(const GrammarItem& item, uint8_t byte) const;
  GrammarItem Verbatim(const GrammarItem& item, uint8_t byte, const StackPool& stacks) const;
  bool MayBegin(const std::string& name, bool formula) const;
  uint32_t WordBytes(const GrammarItem& item, const StackPool& stacks, uint32_t rest) const;

  bool generate_;
  std::array<uint8_t, 256> classes_;
};

// Letters and signs may stand in names, so they differ.
uint8_t MathLatexMachine::ClassOf(uint8_t byte) {
  enum { kControl, kTab, kLine, kFirstSign, kFirstHigh = kFirstSign + 95 };
  if (byte >= 0x80) return static_cast<uint8_t>(kFirstHigh + Utf8ByteKind(byte) - 1);
  if (IsControl(byte)) return kControl;
  if (byte == '\t') return kTab;
  return byte == '\n' ? uint8_t{kLine} : static_cast<uint8_t>(kFirstSign + byte - ' ');
}

// The kind of the top frame, or a number that is no kind.
uint32_t TopKind(const GrammarItem& item, const StackPool& stacks) {
  return item.stack == kEmptyStack ? 99 : stacks.Top(item.stack).at;
}

GrammarItem Push(GrammarItem item, uint32_t kind, uint32_t formula, StackPool* stacks) {
  if (stacks->Full(item.stack)) return {};
  const uint32_t below = item.stack == kEmptyStack ? 0 : stacks->Top(item.stack).b;
  item.stack =
      stacks->Push({.at = kind, .a = item.a, .b = below + kFrameBytes[kind], .stack = item.stack});
  item.a = formula;
  return At(item, kText);
}

GrammarItem Pop(const GrammarItem& item, const StackPool& stacks) {
  const GrammarItem& frame = stacks.Top(item.stack);
  return {.at = kText, .a = frame.a, .stack = frame.stack};
}

// The name of the environment whose frames are on top; its last bytes if it is long.
std::string NameOf(uint32_t stack, const StackPool& stacks) {
  std::string name;
  for (; stacks.Top(stack).at == kNameByte && name.size() < kLongName;
       stack = stacks.Top(stack).stack) {
    name.insert(name.begin(), static_cast<char>(stacks.Top(stack).a));
  }
  return name;
}

// How long that name is, and its frame kEnvironment.
std::pair<uint32_t, uint32_t> EnvironmentOf(uint32_t stack, const StackPool& stacks) {
  uint32_t length = 0;
  for (; stacks.Top(stack).at == kNameByte; stack = stacks.Top(stack).stack) ++length;
  return {length, stack};
}

uint8_t NameByteAt(uint32_t stack, uint32_t from_end, const StackPool& stacks) {
  for (; from_end > 0; --from_end) stack = stacks.Top(stack).stack;
  return static_cast<uint8_t>(stacks.Top(stack).a);
}

GrammarItem MathLatexMachine::Next(const GrammarItem& item, uint8_t byte, StackPool* stacks) const {
  switch (item.at) {
    case kCharacter: {
      const int place = Utf8Step(static_cast<int>(item.b), byte);
      if (place == kUtf8Bad) return {};
      return place == 0 ? At(item, kText) : At(item, kCharacter, static_cast<uint32_t>(place));
    }
    case kNewline:
      if (IsBlank(byte)) return item;
      return byte == '\n' ? GrammarItem{} : Text(item, byte, stacks);
    case kBackslash:
      return Backslash(item, byte, stacks);
    case kWord:
      if (IsLetter(byte)) return At(item, kWord, NextNode(item.b, byte));
      return WordEnd(item, byte, stacks);
    case kAfterTextual:
      if (byte == '{') return Push(item, kGroup, 0, stacks);
      return Text(item, byte, stacks);
    case kBegin:
      if (byte == '{') return At(Push(item, kEnvironment, item.a, stacks), kBeginName);
      return IsBlank(byte) && !generate_ ? item : GrammarItem{};
    case kBeginName:
      return BeginName(item, byte, stacks);
    case kEnd:
      if (byte == '{') return At(item, kEndName);
      return IsBlank(byte) && !generate_ ? item : GrammarItem{};
    case kEndName:
      return EndName(item, byte, *stacks);
    case kDelimiter:
    case kDelimiterBackslash:
    case kDelimiterWord:
      return Delimiter(item, byte, stacks);
    case kDollarOpen:
      if (byte == '$') return Push(item, kDollars, 1, stacks);
      return Text(Push(item, kDollar, 1, stacks), byte, stacks);
    case kDollarsClose:
      return byte == '$' ? Pop(item, *stacks) : GrammarItem{};
    case kDollarClosed:
      return byte == '$' ? GrammarItem{} : Text(item, byte, stacks);
    case kComment:
      return Comment(item, byte);
    case kVerb:
    case kVerbText:
      return Verb(item, byte);
    case kVerbatim:
      return Verbatim(item, byte, *stacks);
    default:
      return Text(item, byte, stacks);
  }
}

GrammarItem MathLatexMachine::Text(const GrammarItem& item, uint8_t byte, StackPool* stacks) const {
  if (byte >= 0x80) {
    const int place = Utf8Step(0, byte);
    if (place == kUtf8Bad) return {};
    return At(item, kCharacter, static_cast<uint32_t>(place));
  }
  switch (byte) {
    case '\\':
      return At(item, kBackslash);
    case '{':
      return Push(item, kGroup, item.a, stacks);
    case '}':
      return TopKind(item, *stacks) == kGroup ? Pop(item, *stacks) : GrammarItem{};
    case '$':
      return Dollar(item, stacks);
    case '%':
      return At(item, kComment);
    case '\n':
      return At(item, generate_ && item.a == 1 ? kNewline : kText);
    default:
      break;
  }
  return IsControl(byte) && generate_ ? GrammarItem{} : At(item, kText);
}

// Formulas do not stand in formulas, but for text in them.
GrammarItem MathLatexMachine::Dollar(const GrammarItem& item, StackPool* stacks) const {
  const uint32_t top = TopKind(item, *stacks);
  if (top == kDollars) return At(item, kDollarsClose);
  if (top == kDollar) return At(Pop(item, *stacks), generate_ ? kDollarClosed : kText);
  if (top == kRound || top == kSquare || top == kLeft || stacks->Full(item.stack)) return {};
  return item.a == 1 && generate_ ? GrammarItem{} : At(item, kDollarOpen);
}

GrammarItem MathLatexMachine::Backslash(const GrammarItem& item, uint8_t byte,
                                        StackPool* stacks) const {
  const uint32_t top = TopKind(item, *stacks);
  if (IsLetter(byte)) return At(item, kWord, NextNode(kWordRoot, byte));
  if (byte == '(' || byte == '[') {
    const bool formula = top == kLeft || (top >= kDollar && top <= kSquare);
    if (formula || (generate_ && item.a == 1)) return {};
    return Push(item, byte == '(' ? kRound : kSquare, 1, stacks);
  }
  if (byte == ')' || byte == ']') {
    const uint32_t kind = byte == ')' ? kRound : kSquare;
    return top == kind ? Pop(item, *stacks) : GrammarItem{};
  }
  if (generate_ && (byte < 0x20 || byte >= 0x7F)) return {};
  if (byte >= 0x80) return Text(item, byte, stacks);
  return At(item, kText);
}

GrammarItem MathLatexMachine::WordEnd(const GrammarItem& item, uint8_t byte,
                                      StackPool* stacks) const {
  switch (WordOf(item.b)) {
    case kBeginWord:  // room for the name and what it stands on
      if (stacks->Depth(item.stack) + 2 > kGrammarDepthMax) return {};
      return Next(At(item, kBegin), byte, stacks);
    case kEndWord:
      if (TopKind(item, *stacks) != kNameByte) return {};
      return Next(At(item, kEnd), byte, stacks);
    case kLeftWord: {
      if (generate_ && item.a == 0) return {};
      const GrammarItem left = Push(item, kLeft, item.a, stacks);
      return left.at == kDead ? left : Delimiter(At(left, kDelimiter), byte, stacks);
    }
    case kRightWord:
      if (TopKind(item, *stacks) != kLeft) return {};
      return Delimiter(At(item, kDelimiter, 1), byte, stacks);
    case kVerbWord:
      return generate_ ? GrammarItem{} : Verb(At(item, kVerb), byte);
    case kTextual:
      return Next(At(item, kAfterTextual), byte, stacks);
    default:
      return Text(item, byte, stacks);
  }
}

bool MathLatexMachine::MayBegin(const std::string& name, bool formula) const {
  if (name.empty()) return false;
  if (!generate_) return true;
  return !IsOneOf(kVerbatims, name) && !(formula && IsOneOf(kMathEnvironments, name));
}

GrammarItem MathLatexMachine::BeginName(const GrammarItem& item, uint8_t byte,
                                        StackPool* stacks) const {
  if (byte != '}') {
    const bool fits = generate_ ? IsLetter(byte) || byte == '*'
                                : byte > 0x20 && byte < 0x7F && !IsIn("{\\$%", byte);
    if (!fits || stacks->Full(item.stack)) return {};
    GrammarItem named = item;
    named.a = byte;
    named = At(Push(named, kNameByte, item.a, stacks), kBeginName);
    // A name that has to go on needs room to.
    const bool stuck =
        stacks->Full(named.stack) && !MayBegin(NameOf(named.stack, *stacks), item.a == 1);
    return stuck ? GrammarItem{} : named;
  }
  const std::string name = NameOf(item.stack, *stacks);
  if (!MayBegin(name, item.a == 1)) return {};
  GrammarItem inside = At(item, IsOneOf(kVerbatims, name) ? kVerbatim : kText);
  if (IsOneOf(kMathEnvironments, name)) inside.a = 1;
  return inside;
}

GrammarItem MathLatexMachine::EndName(const GrammarItem& item, uint8_t byte,
                                      const StackPool& stacks) const {
  const auto [length, environment] = EnvironmentOf(item.stack, stacks);
  if (item.b == length) {
    return byte == '}' ? Pop({.stack = environment}, stacks) : GrammarItem{};
  }
  if (NameByteAt(item.stack, length - 1 - item.b, stacks) != byte) return {};
  return At(item, kEndName, item.b + 1);
}

GrammarItem MathLatexMachine::Delimiter(const GrammarItem& item, uint8_t byte,
                                        StackPool* stacks) const {
  const uint32_t right = item.b & 1;
  const auto done = [&] { return right == 1 ? Pop(item, *stacks) : At(item, kText); };
  switch (item.at) {
    case kDelimiterBackslash:
      if (IsLetter(byte)) return At(item, kDelimiterWord, right | NextNode(kWordRoot, byte) << 1);
      return IsIn("{}|", byte) ? done() : GrammarItem{};
    case kDelimiterWord:
      if (IsLetter(byte)) return At(item, kDelimiterWord, right | NextNode(item.b >> 1, byte) << 1);
      if (WordOf(item.b >> 1) != kOther) return {};
      return Text(done(), byte, stacks);
    default:
      break;
  }
  if (byte == '\\') return At(item, kDelimiterBackslash, right);
  if (IsIn("()[]|/.<>", byte)) return done();
  if (generate_ || byte >= 0x80 || IsIn("{}$%", byte)) return {};
  return byte <= ' ' || IsControl(byte) ? item : done();
}

GrammarItem MathLatexMachine::Comment(const GrammarItem& item, uint8_t byte) const {
  const int place = Utf8Step(static_cast<int>(item.b), byte);
  if (place == kUtf8Bad) return {};
  if (byte == '\n') return At(item, generate_ && item.a == 1 ? kNewline : kText);
  if (generate_ && IsControl(byte)) return {};
  return At(item, kComment, static_cast<uint32_t>(place));
}

// \verb|text|, on one line; a star may come first.
GrammarItem MathLatexMachine::Verb(const GrammarItem& item, uint8_t byte) const {
  if (item.at == kVerb) {
    if (byte == '*') return item;
    return byte <= 0x20 || byte >= 0x7F ? GrammarItem{} : At(item, kVerbText, byte);
  }
  const uint32_t delimiter = item.b & 0xFF;
  const int place = Utf8Step(static_cast<int>(item.b >> 8), byte);
  if (place == kUtf8Bad || byte == '\n') return {};
  if (byte == delimiter) return At(item, kText);
  return At(item, kVerbText, delimiter | static_cast<uint32_t>(place) << 8);
}

GrammarItem MathLatexMachine::Verbatim(const GrammarItem& item, uint8_t byte,
                                       const StackPool& stacks) const {
  constexpr std::string_view kEndText = "\\end{";
  const int place = Utf8Step(static_cast<int>(item.b >> 16), byte);
  if (place == kUtf8Bad) return {};
  const uint32_t matched = item.b & 0xFFFF;
  const auto [length, environment] = EnvironmentOf(item.stack, stacks);
  uint8_t awaited = '}';
  if (matched < kEndText.size()) {
    awaited = static_cast<uint8_t>(kEndText[matched]);
  } else if (matched < kEndText.size() + length) {
    const auto at = matched - static_cast<uint32_t>(kEndText.size());
    awaited = NameByteAt(item.stack, length - 1 - at, stacks);
  }
  if (byte == awaited) {
    if (matched == kEndText.size() + length) return Pop({.stack = environment}, stacks);
    return At(item, kVerbatim, matched + 1);
  }
  return At(item, kVerbatim, byte == '\\' ? 1 : static_cast<uint32_t>(place) << 16);
}

uint32_t MathLatexMachine::CloseBytes(std::span<const GrammarItem> items,
                                      const StackPool& stacks) const {
  const GrammarItem& item = items[0];
  const uint32_t rest = item.stack == kEmptyStack ? 0 : stacks.Top(item.stack).b;
  const auto character = [&](uint32_t shift) {
    return static_cast<uint32_t>(Utf8Missing(static_cast<int>(item.b >> shift & 7)));
  };
  switch (item.at) {
    case kCharacter:
      return rest + character(0);
    case kBackslash: {  // the closer's, or some letter follows
      const uint32_t top = TopKind(item, stacks);
      const bool closer = top == kNameByte || top == kLeft || top == kRound || top == kSquare;
      return closer ? rest - 1 : rest + 1;
    }
    case kWord:
      return WordBytes(item, stacks, rest);
    case kBegin:  // {x}\end{x}
      return rest + 10;
    case kBeginName: {
      const std::string name = NameOf(item.stack, stacks);
      return rest + 1 + (MayBegin(name, item.a == 1) ? 0 : 2);
    }
    case kEnd:
      return rest - 4;
    case kEndName:
      return rest - 5 - item.b;
    case kDelimiter:
    case kDelimiterBackslash:
      return rest + 1 - (item.b & 1) * kFrameBytes[kLeft];
    case kDelimiterWord:
      return rest + (WordOf(item.b >> 1) != kOther ? 1 : 0) - (item.b & 1) * kFrameBytes[kLeft];
    case kDollarOpen:
      return rest + 2;
    case kDollarsClose:
      return rest - 1;
    case kComment:
      return rest + character(0) + (rest > 0 ? 1 : 0);
    case kVerb:
      return rest + 2;
    case kVerbText:
      return rest + 1 + character(8);
    case kVerbatim:
      return rest - (item.b & 0xFFFF) + character(16);
    default:
      return rest;
  }
}

// A word can be the beginning of what closes the top frame; one that must not end here can become
// another with one more letter.
uint32_t MathLatexMachine::WordBytes(const GrammarItem& item, const StackPool& stacks,
                                     uint32_t rest) const {
  const uint32_t top = TopKind(item, stacks);
  const std::string_view so_far = LettersOf(item.b);
  const std::string_view closer = top == kNameByte ? "end" : top == kLeft ? "right" : "";
  if (!so_far.empty() && closer.starts_with(so_far)) {
    return rest - 1 - static_cast<uint32_t>(so_far.size());
  }
  const Word word = WordOf(item.b);
  return word == kOther || word == kTextual ? rest : rest + 1;
}

}  // namespace
}  // namespace chimera::math_latex

namespace chimera {

std::shared_ptr<const Machine> MakeMathLatexMachine(GrammarUse use) {
  return std::make_shared<math_latex::MathLatexMachine>(use);
}

}  // namespace chimera
