// Python's machine a byte at a time; python_mode.cc says what it holds to.
#pragma once

#include <optional>
#include <string_view>

#include "grammar/machine.h"
#include "grammar/utf8_steps.h"

namespace chimera::python {

enum Place : uint32_t {
  kLineStart,     // a, b: column with tabs to 8 and to 1
  kComment,       // a: how much of "coding" was read, in the lines that may declare one
  kCode,          // between tokens
  kColon,         // the same after a ':' outside brackets
  kCarriage,      // after '\r'; a: 1 where the line ended in ':'
  kBackslash,     // must be followed by a line's end
  kContinued,     // the line after that, before its first token
  kWord,          // names; in what is checked numbers as well
  kWordR,         // r: may become a prefix of an f-string
  kWordF,         // f
  kWordFr,        // fr or rf
  kDot,           // one '.'
  kDotDot,        // two
  kZero,          // 0
  kZeros,         // 00, 0_0
  kZeroUnder,     // 0_
  kDecimal,       // 12
  kDecimalUnder,  // 12_
  kRadix16,       // 0x, or 0x1_
  kHex,
  kRadix8,
  kOctal,
  kRadix2,
  kBinary,
  kPoint,          // 1.
  kFraction,       // 1.5
  kFractionUnder,  // 1.5_
  kExponent,       // 1e
  kExponentSign,   // 1e+, or 1e5_
  kExponentDigits,
  kImaginary,   // 1j
  kBang,        // '!'
  kConversion,  // !r of a replacement field
  // a of all strings: 1 '"', 2 triple, 4 f-string; 8 a closing quote that was read
  kQuoteOne,  // an opening quote
  kQuoteTwo,  // two of them: an empty string or half of a triple quote
  kString,
  kEscape,
  kBraceOpen,   // '{' of an f-string
  kBraceClose,  // '}' of an f-string's text
  kFieldEnd,    // text after a format spec: a '}' here is read in two ways
  kFieldEmpty,  // after '{': a field needs an expression
  kSpec,        // format spec
  kSpecOpen,    // '{' of a spec
  kInnerOne,    // strings within a field: the other quote, no escapes
  kInnerTwo,
  kInner,
  kFrameIndent,  // a, b: column
  kFrameParen,
  kFrameSquare,
  kFrameCurly,
  kFrameField,      // a: the f-string
  kFrameSpecField,  // the same within a spec
};

inline constexpr int kPlaceBits = 6;
inline constexpr uint32_t kPlaceMask = (1 << kPlaceBits) - 1;
inline constexpr uint32_t kUtf8Shift = kPlaceBits;
inline constexpr uint32_t kExpectBlock = 1 << 9;  // of kLineStart, kComment, kBackslash, kContinued
inline constexpr uint32_t kHeaderShift = 10;      // lines left that may declare a coding
inline constexpr uint32_t kHeaderLine = 1 << kHeaderShift;

inline constexpr uint32_t kDouble = 1, kTriple = 2, kFormatted = 4, kOneClosing = 8,
                          kTwoClosing = 16;
inline constexpr uint32_t kReturn = 32;  // of kEscape: '\r' was read

// CPython refuses 100 blocks and 200 brackets.
inline constexpr int kGeneratedDepthMax = 90;
inline constexpr uint32_t kIndentStepMax = 32;

inline constexpr std::string_view kCoding = "coding";

inline bool IsDigit(uint8_t byte) { return byte >= '0' && byte <= '9'; }
inline bool IsLetter(uint8_t byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
}
inline bool IsHex(uint8_t byte) {
  return IsDigit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}
inline bool IsWordByte(uint8_t byte) { return IsDigit(byte) || IsLetter(byte) || byte >= 0x80; }
inline bool IsBlank(uint8_t byte) { return byte == ' ' || byte == '\t' || byte == '\f'; }

inline uint32_t PlaceOf(const GrammarItem& item) { return item.at & kPlaceMask; }
inline int Utf8Of(const GrammarItem& item) { return static_cast<int>(item.at >> kUtf8Shift & 7); }
inline uint8_t QuoteOf(uint32_t string) { return (string & kDouble) != 0 ? '"' : '\''; }
inline uint32_t QuoteBytes(uint32_t string) { return (string & kTriple) != 0 ? 3 : 1; }

using Next = std::optional<GrammarItem>;
inline constexpr Next kDead = std::nullopt;

// One step of one item. Register b of places in code is 1 + the enclosing f-string, or 0.
class Stepper {
 public:
  Stepper(bool generate, StackPool* stacks) : generate_(generate), stacks_(*stacks) {}

  Next Step(const GrammarItem& item, uint8_t byte);

 private:
  static GrammarItem At(const GrammarItem& item, uint32_t place, uint32_t a = 0) {
    return {.at = place, .a = a, .b = item.b, .stack = item.stack};
  }
  bool InBrackets(uint32_t stack) const {
    return stack != kEmptyStack && stacks_.Top(stack).at != kFrameIndent;
  }
  bool Full(uint32_t stack) const {
    return stacks_.Full(stack) || (generate_ && stacks_.Depth(stack) >= kGeneratedDepthMax);
  }
  Next Push(const GrammarItem& item, uint32_t frame, uint32_t a, uint32_t b, uint32_t place) {
    if (Full(item.stack)) return kDead;
    GrammarItem next = At(item, place);
    next.stack = stacks_.Push({.at = frame, .a = a, .b = b, .stack = item.stack});
    return next;
  }
  // Text of strings and comments.
  Next Character(GrammarItem item, uint8_t byte) const {
    const int utf8 = Utf8Step(Utf8Of(item), byte);
    if (utf8 == kUtf8Bad) return kDead;
    item.at = (item.at & ~(7u << kUtf8Shift)) | static_cast<uint32_t>(utf8) << kUtf8Shift;
    return item;
  }
  GrammarItem LineEnd(const GrammarItem& item, uint32_t after_colon) const {
    if (InBrackets(item.stack)) return At(item, kCode);
    return At(item, kLineStart | (after_colon != 0 ? kExpectBlock : 0));
  }

  Next LineStart(GrammarItem item, uint8_t byte);
  Next Block(GrammarItem item);
  Next Comment(GrammarItem item, uint8_t byte) const;
  Next Continuation(const GrammarItem& item, uint8_t byte);
  Next Opening(const GrammarItem& item, uint8_t byte);
  Next String(GrammarItem item, uint8_t byte);
  Next Escape(GrammarItem item, uint8_t byte) const;
  Next Brace(const GrammarItem& item, uint8_t byte);
  Next Field(const GrammarItem& item, uint8_t byte);
  Next Inner(const GrammarItem& item, uint8_t byte);
  Next Token(const GrammarItem& item, uint8_t byte);
  Next Number(const GrammarItem& item, uint8_t byte);
  Next Between(const GrammarItem& item, uint8_t byte);
  Next Closer(const GrammarItem& item, uint8_t byte);
  Next Quote(const GrammarItem& item, uint8_t byte, bool formatted);

  const bool generate_;
  StackPool& stacks_;
};

}  // namespace chimera::python
