// [[ ]]: words and balanced parentheses in what is checked, whole tests in what is generated.
#include "grammar/shell_steps.h"

namespace chimera::shell {

Next Stepper::Soup(const GrammarItem& item, uint8_t byte) {
  switch (byte) {
    case ' ':
    case '\t':
    case '&':
    case '|':
    case '<':
    case '>':
      return item;
    case '\n':
      return NewLine(item);
    case ';':
      return kDead;
    case '(':
      return Room(item.stack) ? Next(Open(item, kFrameCondParen, kSoup)) : kDead;
    case ')':
      return Frame(item) == kFrameCondParen ? Next(Close(item, kSoup)) : kDead;
    case '\\':
      return With(item, kEscape);
    default:
      return StartWord(item, byte);
  }
}

Next Stepper::Condition(const GrammarItem& item, uint8_t byte) {
  const uint32_t place = PlaceOf(item);
  const bool blank = byte == ' ' || byte == '\t';
  if (byte == '\\' && (place == kCondTerm || place == kCondOperand || place == kCondRight)) {
    return (item.b & kInBackquote) != 0 ? kDead : Next(With(item, kEscape));
  }
  switch (place) {
    case kCondTerm:
      if (blank) return item;
      if (byte == '!') return To(item, kCondBang);
      if (byte == '-') return To(item, kCondDash);
      if (byte == '(') {
        return Room(item.stack) ? Next(Open(item, kFrameCondParen, kCondTerm)) : kDead;
      }
      return IsMeta(item, byte) || byte == '#' ? kDead : StartWord(item, byte);
    case kCondOperand:
    case kCondRight:
      if (blank) return item;
      return IsMeta(item, byte) || byte == '#' ? kDead : StartWord(item, byte);
    case kCondAfter:
    case kCondDone:
      return ConditionAfter(item, byte);
    case kCondBrackets:
      return IsMeta(item, byte) ? Gap(Close(item, kCompound), byte) : kDead;
    default:
      return ConditionSign(item, byte);
  }
}

// After a word or a whole test.
Next Stepper::ConditionAfter(const GrammarItem& item, uint8_t byte) {
  const bool word = PlaceOf(item) == kCondAfter;
  const uint32_t frame = Frame(item);
  switch (byte) {
    case ' ':
    case '\t':
      return item;
    case '&':
      return To(item, kCondAnd);
    case '|':
      return To(item, kCondOr);
    case ']':
      return frame == kFrameCond ? Next(To(item, kCondBracket)) : kDead;
    case ')':
      return frame == kFrameCondParen ? Next(Close(item, kCondDone)) : kDead;
    case '=':
      return word ? Next(To(item, kCondEqual)) : kDead;
    case '!':
      return word ? Next(To(item, kCondNot)) : kDead;
    case '-':
      return word ? Next(To(item, kCondCompare)) : kDead;
    default:
      return kDead;
  }
}

// Within an operator: which byte may follow, and where it leads.
Next Stepper::ConditionSign(const GrammarItem& item, uint8_t byte) {
  struct Sign {
    uint32_t place;
    std::string_view bytes;
    uint32_t next;
  };
  static constexpr Sign kSigns[] = {
      {kCondBang, " \t", kCondTerm},
      {kCondDash, "defhnrsuwz", kCondFlag},
      {kCondFlag, " \t", kCondOperand},
      {kCondEqual, "=~", kCondOperator},
      {kCondEqual, " \t", kCondRight},
      {kCondNot, "=", kCondOperator},
      {kCondCompare, "e", kCondCompareE},
      {kCondCompare, "n", kCondCompareN},
      {kCondCompare, "l", kCondCompareL},
      {kCondCompare, "g", kCondCompareG},
      {kCondCompareE, "q", kCondOperator},
      {kCondCompareN, "e", kCondOperator},
      {kCondCompareL, "te", kCondOperator},
      {kCondCompareG, "te", kCondOperator},
      {kCondOperator, " \t", kCondRight},
      {kCondAnd, "&", kCondTerm},
      {kCondOr, "|", kCondTerm},
      {kCondBracket, "]", kCondBrackets},
  };
  for (const Sign& sign : kSigns) {
    if (sign.place == PlaceOf(item) &&
        sign.bytes.find(static_cast<char>(byte)) != sign.bytes.npos) {
      return To(item, sign.next);
    }
  }
  return kDead;
}

}  // namespace chimera::shell
