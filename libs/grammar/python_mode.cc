// Python: brackets, strings, comments and indentation as CPython's tokenizer sees them.
//
// Frames are open brackets and, below them, the columns of the open blocks. In what is generated a
// line that ends in ':' gets its block, and an f-string is read as since Python 3.12, kept to what
// is one string token before as well: no quote of its own kind, backslash or comment within its
// braces.
#include <algorithm>

#include "grammar/byte_groups.h"
#include "grammar/modes.h"
#include "grammar/python_steps.h"

namespace chimera {
namespace python {
namespace {

static_assert(kFrameSpecField <= kPlaceMask);

class PythonMachine : public Machine {
 public:
  explicit PythonMachine(GrammarUse use) : generate_(use == GrammarUse::kGenerate) {}
  const std::array<uint8_t, 256>& byte_classes() const override { return classes_; }
  void Start(StackPool*, std::vector<GrammarItem>* out) const override {
    out->push_back({.at = kLineStart + (generate_ ? 2 * kHeaderLine : 0)});
  }
  void Step(std::span<const GrammarItem> from, uint8_t byte, StackPool* stacks,
            std::vector<GrammarItem>* out) const override {
    const Next next = Stepper(generate_, stacks).Step(from[0], byte);
    if (next) out->push_back(*next);
  }
  uint32_t CloseBytes(std::span<const GrammarItem> items, const StackPool& stacks) const override;

 private:
  static constexpr std::array<uint8_t, 256> classes_ = ByteGroups({"\t",
                                                                   "\n",
                                                                   "\f",
                                                                   "\r",
                                                                   " ",
                                                                   "!",
                                                                   "\"",
                                                                   "#",
                                                                   "'",
                                                                   "(",
                                                                   ")",
                                                                   "+-",
                                                                   ".",
                                                                   ":",
                                                                   "=",
                                                                   "[",
                                                                   "\\",
                                                                   "]",
                                                                   "{",
                                                                   "}",
                                                                   "_",
                                                                   "0",
                                                                   "1",
                                                                   "89",
                                                                   "a",
                                                                   "c",
                                                                   "d",
                                                                   "ACD",
                                                                   "234567",
                                                                   "bB",
                                                                   "eE",
                                                                   "fF",
                                                                   "g",
                                                                   "i",
                                                                   "jJ",
                                                                   "n",
                                                                   "N",
                                                                   "o",
                                                                   "O",
                                                                   "r",
                                                                   "R",
                                                                   "s",
                                                                   "xX",
                                                                   "%&*,/;<>@^|~",
                                                                   "hklmpqtuvwyzGHIKLMPQSTUVWYZ"});
  const bool generate_;
};

// Bytes that close the brackets above the innermost block.
uint32_t BracketBytes(uint32_t stack, const StackPool& stacks) {
  uint32_t sum = 0;
  for (; stack != kEmptyStack && stacks.Top(stack).at != kFrameIndent;
       stack = stacks.Top(stack).stack) {
    const GrammarItem& frame = stacks.Top(stack);
    sum += 1 + (frame.at == kFrameField ? QuoteBytes(frame.a) : 0);
  }
  return sum;
}

// The block that a line ending in ':' still needs, from the start of a line.
uint32_t BlockBytes(const GrammarItem& block, uint32_t column, uint32_t tab_column) {
  const uint32_t spaces = column > block.a ? 0 : block.a + 1 - column;
  const uint32_t others = tab_column > block.b ? 0 : block.b + 1 - tab_column;
  return std::max(spaces, others) + 1;
}

uint32_t StringBytes(uint32_t string) {
  const uint32_t read = (string & kOneClosing) != 0 ? 1 : (string & kTwoClosing) != 0 ? 2 : 0;
  return QuoteBytes(string) - read;
}

uint32_t PythonMachine::CloseBytes(std::span<const GrammarItem> items,
                                   const StackPool& stacks) const {
  const GrammarItem& item = items[0];
  const GrammarItem& top = stacks.Top(item.stack);
  const uint32_t brackets = BracketBytes(item.stack, stacks);
  const uint32_t rest = static_cast<uint32_t>(Utf8Missing(Utf8Of(item))) + brackets;
  const bool expect = generate_ && (item.at & kExpectBlock) != 0;
  switch (PlaceOf(item)) {
    case kLineStart:
      return expect ? BlockBytes(top, item.a, item.b) : 0;
    case kComment:
      if (brackets > 0) return rest + 1;
      return rest + (expect ? 1 + BlockBytes(top, 0, 0) : 0);
    case kColon:
      return generate_ ? 1 : 0;
    case kBackslash:
      return rest + (brackets > 0 ? 1 : 2);
    case kContinued:
    case kCarriage:
    case kZeroUnder:
    case kDecimalUnder:
    case kRadix16:
    case kRadix8:
    case kRadix2:
    case kFractionUnder:
    case kExponent:
    case kExponentSign:
    case kBang:
    case kQuoteOne:
    case kFieldEmpty:
    case kInnerOne:
    case kInner:
      return rest + 1;
    case kSpecOpen:
      return rest + 2;
    case kString:
    case kFieldEnd:
      return rest + StringBytes(item.a);
    case kEscape:
    case kBraceOpen:
    case kBraceClose:
      return rest + 1 + StringBytes(item.a);
    default:
      return rest;
  }
}

}  // namespace
}  // namespace python

std::shared_ptr<const Machine> MakePythonMachine(GrammarUse use) {
  return std::make_shared<python::PythonMachine>(use);
}

}  // namespace chimera
