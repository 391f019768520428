// The classes of tokens that soft constraints and debts weigh (math-inference-training B.4, D.7).
#pragma once

#include <cstdint>

#include "decode/debt_ledger.h"
#include "decode/knot.h"
#include "text/tokenizer.h"

namespace chimera {

// By the bytes of a token, the first that fits. Spaces in front do not count.
enum class TokenClass : uint8_t {
  kOther,
  kSentenceEnd,        // ". ! ?", and quotes, brackets or one line's end behind them
  kSentenceParagraph,  // the same, with a paragraph's end behind
  kParagraph,          // white space with two line ends
  kLine,               // white space with one
  kFence,              // three backticks or tildes
  kRoundCloser,        // begins with ')'
  kSquareCloser,       // begins with ']'
  kCurlyCloser,        // begins with '}'
  kDoubleQuote,        // begins with '"', or is a closing curly quote
  kSingleQuote,        // begins with '\''
  kBacktick,           // begins with a backtick
  kDollar,             // begins with '$'
  kName,               // a space, a capital and small letters
  kEndOfText,
};
inline constexpr int kTokenClasses = 15;
static_assert(kTokenClasses <= kClassesMax);

// Tokens that are no text but end-of-text are kOther. Looks at every token once.
ClassTable MakeClassTable(const Tokenizer& tokenizer);

// What discharges a debt; kOther: no class does.
TokenClass DischargingClass(const DebtEntry& entry);

}  // namespace chimera
