// The o200k pre-tokenizer: cuts text into pieces by seven ordered alternatives (F.2), in one pass,
// without backtracking. No token crosses a piece boundary.
//
//   1  [not CR LF L N]?  (U|B)* (l|B)+  contraction?        U = Lu Lt, l = Ll, B = Lm Lo M
//   2  [not CR LF L N]?  (U|B)+ (l|B)*  contraction?
//   3  N{1,3}
//   4  ' '?  [not s L N]+  [CR LF /]*
//   5  s* [CR LF]+
//   6  s+ not followed by non-space
//   7  s+
// Order at a place: 1 with the prefix character, 1 without, 2 with, 2 without, then 3 to 7.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "text/unicode_classes.h"

namespace chimera {

// Class of every ASCII byte; 0x80 and above hold kOther and are looked at in full instead.
struct AsciiClasses {
  CharClass of[256];
};
extern const AsciiClasses kAsciiClasses;

// Borrows the text. Thread-compatible.
class PieceScanner {
 public:
  PieceScanner(std::string_view text, const CodePointClasses& classes)
      : text_(text), classes_(classes) {}

  // The end of the piece that begins at `at` < text.size().
  size_t Next(size_t at) {
    const size_t end = NextAsciiWord(at);
    return end != 0 ? end : NextAny(at);
  }

  // True once a decision depended on where the text ends: with more text, the piece may be another.
  bool touched_end() const { return touched_end_; }

 private:
  struct Char {
    CharClass kind;
    uint8_t length;  // 0 at the end of the text
  };
  // The longest run of U and B, and what follows it.
  struct CasedRun {
    size_t end;
    size_t last_caseless_end;  // 0 when the run holds no B
    bool lower_follows;
  };

  // How many of the eight bytes of `word` from the first on lie in [first, first + 25].
  static int LetterCount(uint64_t word, uint8_t first) {
    constexpr uint64_t kOnes = 0x0101010101010101u;
    constexpr uint64_t kHigh = 0x8080808080808080u;
    const uint64_t low7 = word & ~kHigh;
    const uint64_t at_least_first = low7 + kOnes * (0x80u - first);
    const uint64_t beyond_last = low7 + kOnes * (0x80u - first - 26u);
    const uint64_t outside = ~(at_least_first & ~beyond_last & ~word) & kHigh;
    return std::countr_zero(outside) >> 3;
  }
  static uint64_t Load8(const char* p) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    return word;
  }
  // End of the run of letters [first, first + 25] from `at`; 0 when it comes near the end of the
  // text.
  size_t LetterRun(size_t at, uint8_t first) const {
    while (at + 16 <= text_.size()) {
      const int count = LetterCount(Load8(text_.data() + at), first);
      at += count;
      if (count < 8) return at;
    }
    return 0;
  }

  // The common case, alternatives 1 and 2 over ASCII far from the end of the text; 0 when it is not
  // that case.
  size_t NextAsciiWord(size_t at) const {
    if (at + 32 > text_.size()) return 0;
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text_[i]); };
    CharClass kind = kAsciiClasses.of[byte(at)];
    if (byte(at) < 0x80 && (kind == CharClass::kSpace || kind == CharClass::kOther)) {
      kind = kAsciiClasses.of[byte(++at)];
    }
    if (kind == CharClass::kUpper) {
      at = LetterRun(at, 'A');
      if (at == 0) return 0;
    } else if (kind != CharClass::kLower) {
      return 0;
    }
    at = LetterRun(at, 'a');
    if (at == 0) return 0;
    if (byte(at) == '\'') return at + ContractionFarFromEnd(at);
    return byte(at) < 0x80 || !ContinuesWord(at) ? at : 0;
  }

  size_t ContractionFarFromEnd(size_t at) const;
  bool ContinuesWord(size_t at) const;
  size_t NextAny(size_t at);
  size_t NextWord(size_t at, Char first);
  size_t NextSymbols(size_t at);
  size_t NextSpace(size_t at);
  Char At(size_t at);
  CasedRun ReadCasedRun(size_t at);
  size_t MixedCaseEnd(const CasedRun& run);
  size_t AfterContraction(size_t at);

  std::string_view text_;
  const CodePointClasses& classes_;
  bool touched_end_ = false;
};

}  // namespace chimera
