// The classes the pre-tokenizer tells apart (F.2), for every code point.
#pragma once

#include <cstdint>
#include <vector>

namespace chimera {

enum class CharClass : uint8_t {
  kOther,     // punctuation, symbols, unassigned, and bytes that are no UTF-8
  kUpper,     // Lu, Lt
  kLower,     // Ll
  kCaseless,  // Lm, Lo
  kMark,      // M
  kNumber,    // N
  kSpace,     // White_Space but CR and LF
  kNewline,   // CR, LF
};

// Generated: run i holds the code points from kUnicodeRuns[i] >> 4 up to the next run, all of class
// kUnicodeRuns[i] & 15; 8 means upper, lower, upper, ... by turns.
extern const uint32_t kUnicodeRuns[];
extern const int kUnicodeRunCount;

// The runs spread out to one byte a code point. Immutable.
class CodePointClasses {
 public:
  // The one instance; built on first use (about 1 ms), never destroyed.
  static const CodePointClasses& Get();

  // code_point < 0x110000.
  CharClass Of(uint32_t code_point) const { return classes_[code_point]; }

 private:
  CodePointClasses();

  std::vector<CharClass> classes_;
};

}  // namespace chimera
