// The machine of the JavaScript mode: javascript_mode.cc reads what stands between tokens,
// javascript_literals.cc what stands within them.
#pragma once

#include <optional>

#include "grammar/javascript_tokens.h"
#include "grammar/machine.h"

namespace chimera::javascript {

enum Place : uint32_t {
  kDead,
  kBegin,      // of the text: `#!` may follow
  kBeginHash,  // after its `#`
  kBetween,    // tokens
  kWord,       // b: node of kJsWords, a: what stood before the word
  kHigh,       // in a character beyond ASCII; b: JsUtf8Step's place, and JsPrev if it is space << 8
  kWordEscape,
  kWordEscapeU,
  kWordEscapeBrace,
  kHash,
  kPlus,
  kMinus,
  kMinusMinus,
  kLess,
  kLessBang,
  kLessBangMinus,
  kEquals,
  kQuestion,
  kQuestionDot,
  kDotOne,
  kDotTwo,
  kSlash,
  kZero,  // numbers
  kInteger,
  kFraction,
  kExponentMark,
  kExponentSign,
  kExponent,
  kRadixMark,  // b: the base
  kRadix,
  kNumberEnd,
  kLooseNumber,
  kLooseFraction,
  kString,  // to kDollar: b: quote | digits << 2 | UTF-8 place << 8
  kEscape,
  kEscapeCr,
  kEscapeHex,
  kEscapeU,
  kEscapeBrace,
  kDollar,
  kRegex,  // to kRegexClassEscape: b: UTF-8 place
  kRegexEscape,
  kRegexClass,
  kRegexClassEscape,
  kRegexFlags,  // b: the last flag
  kLineComment,
  kBlockComment,
  kBlockStar,
};

// Frames: at is the kind, a the context after the closer, b what closing them and all below takes.
enum Frame : uint32_t { kParen, kForParen, kBracket, kBlockBrace, kObjectBrace, kHole };

enum Quote : uint32_t { kSingle, kDouble, kBacktick };

// What the next token hangs on; the word a of an item.
struct Context {
  JsPrev prev;
  bool fresh = false;      // first token of its line; where `-->` opens a comment
  uint32_t ternaries = 0;  // `?` whose `:` is to come, in blocks, where a `:` may end a label
  uint32_t Packed() const { return uint32_t(prev) | uint32_t{fresh} << 5 | ternaries << 6; }
  static Context Of(uint32_t a) { return {static_cast<JsPrev>(a & 31), (a >> 5 & 1) != 0, a >> 6}; }
};
constexpr uint32_t kTernariesMax = 15;

constexpr bool IsLower(uint8_t c) { return c >= 'a' && c <= 'z'; }
constexpr bool IsDigit(uint8_t c) { return c >= '0' && c <= '9'; }
constexpr bool IsHex(uint8_t c) {
  return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
constexpr bool IsWordStart(uint8_t c) {
  return IsLower(c) || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
}
constexpr bool IsWordByte(uint8_t c) { return IsWordStart(c) || IsDigit(c); }
constexpr bool IsSpace(uint8_t c) { return c == ' ' || (c >= 9 && c <= 13); }
constexpr bool IsNewline(uint8_t c) { return c == '\n' || c == '\r'; }
constexpr bool IsClassWord(JsPrev prev) {
  return prev == JsPrev::kClass || prev == JsPrev::kClassOperand;
}

class JavascriptMachine : public Machine {
 public:
  explicit JavascriptMachine(GrammarUse use) : generate_(use == GrammarUse::kGenerate) {
    for (int byte = 0; byte < 256; ++byte) Classify(static_cast<uint8_t>(byte));
  }
  const std::array<uint8_t, 256>& byte_classes() const override { return classes_; }
  void Start(StackPool*, std::vector<GrammarItem>* out) const override {
    out->push_back({.at = kBegin, .a = Context{JsPrev::kStatement, !generate_}.Packed()});
  }
  void Step(std::span<const GrammarItem> from, uint8_t byte, StackPool* stacks,
            std::vector<GrammarItem>* out) const override {
    const GrammarItem next = Next(from[0], byte, stacks);
    if (next.at != kDead) out->push_back(next);
  }
  uint32_t CloseBytes(std::span<const GrammarItem> items, const StackPool& stacks) const override;

 private:
  void Classify(uint8_t byte);
  GrammarItem Next(GrammarItem item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Between(GrammarItem item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Punctuation(GrammarItem item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Operators(GrammarItem item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Slash(GrammarItem item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Open(GrammarItem item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Close(GrammarItem item, uint8_t byte, const StackPool& stacks) const;
  GrammarItem Colon(GrammarItem item, const StackPool& stacks) const;
  GrammarItem Word(GrammarItem item, uint8_t byte, StackPool* stacks) const;
  std::optional<JsPrev> WordEnd(const GrammarItem& item, const StackPool& stacks) const;
  std::optional<JsPrev> ShapedWordEnd(const GrammarItem& item, const StackPool& stacks) const;
  GrammarItem High(GrammarItem item, uint8_t byte) const;
  GrammarItem WordEscape(GrammarItem item, uint8_t byte) const;
  GrammarItem Number(GrammarItem item, uint8_t byte, StackPool* stacks) const;
  GrammarItem LooseNumber(GrammarItem item, uint8_t byte, StackPool* stacks) const;
  GrammarItem String(GrammarItem item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Escape(GrammarItem item, uint8_t byte) const;
  GrammarItem Regex(GrammarItem item, uint8_t byte, StackPool* stacks) const;
  GrammarItem Comment(GrammarItem item, uint8_t byte) const;
  bool Fits(JsPrev prev, uint8_t byte) const;
  uint32_t PlaceBytes(const GrammarItem& item, uint32_t rest) const;
  uint32_t WordBytes(const GrammarItem& item, const StackPool& stacks) const;
  uint32_t SlashBytes(JsPrev prev, uint32_t rest) const;

  bool generate_;
  std::array<uint8_t, 256> classes_ = {};
};

inline GrammarItem At(GrammarItem item, uint32_t place, uint32_t b = 0) {
  item.at = place;
  item.b = b;
  return item;
}

// Between tokens, after a token of this kind.
inline GrammarItem After(GrammarItem item, JsPrev prev) {
  item.a = Context{prev, false, Context::Of(item.a).ternaries}.Packed();
  return At(item, kBetween);
}

inline JsPrev PrevOf(const GrammarItem& item) { return Context::Of(item.a).prev; }

// What has to follow in generated text: `(){}` after `function`, a body after `class`.
constexpr uint32_t ShapeBytes(JsPrev prev) {
  switch (prev) {
    case JsPrev::kFunction:
    case JsPrev::kFunctionName:
      return 4;
    case JsPrev::kExtends:
    case JsPrev::kHeritageDot:
      return 3;
    case JsPrev::kBody:
    case JsPrev::kClass:
    case JsPrev::kClassName:
    case JsPrev::kHeritage:
      return 2;
    default:
      return 0;
  }
}

// What a name leaves behind it in generated text.
constexpr JsPrev AfterShapedName(JsPrev prev) {
  switch (prev) {
    case JsPrev::kFunction:
      return JsPrev::kFunctionName;
    case JsPrev::kClass:
      return JsPrev::kClassName;
    case JsPrev::kExtends:
    case JsPrev::kHeritageDot:
      return JsPrev::kHeritage;
    default:
      return JsPrev::kOperand;
  }
}

}  // namespace chimera::javascript
