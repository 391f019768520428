// Frames of commands, and which words mean something where.
#include "grammar/shell_steps.h"

namespace chimera::shell {

const GrammarItem& CommandFrame(uint32_t stack, const StackPool& stacks) {
  while (stacks.Top(stack).at == kFrameHereEnd || stacks.Top(stack).at == kFrameHereByte) {
    stack = stacks.Top(stack).stack;
  }
  return stacks.Top(stack);
}

uint32_t ClosersOf(uint32_t frame) {
  switch (frame) {
    case kFrameBrace:
      return Bit(kCloseBrace);
    case kFrameIf:
      return Bit(kThen);
    case kFrameThen:
      return Bit(kFi) | Bit(kElse) | Bit(kElif);
    case kFrameElse:
      return Bit(kFi);
    case kFrameWhile:
      return Bit(kDo);
    case kFrameDo:
      return Bit(kDone);
    case kFrameCase:
      return Bit(kEsac);
    default:
      return 0;
  }
}

uint32_t WordsOf(uint32_t role, uint32_t frame) {
  switch (role) {
    case kRoleStart:
    case kRoleNeeded:
    case kRolePiped:
      return kCommandWords;
    case kRoleClose:
      return ClosersOf(frame);
    case kRoleForIn:
      return Bit(kIn) | Bit(kDo);
    case kRoleForDo:
      return Bit(kDo);
    case kRoleCaseIn:
      return Bit(kIn);
    case kRolePatternFirst:
      return Bit(kEsac);
    case kRoleFunctionBody:
      return kCompounds;
    case kRoleSoup:
      return Bit(kCloseCondition);
    default:
      return 0;
  }
}

bool OnlyReserved(uint32_t role) {
  return role == kRoleClose || role == kRoleForIn || role == kRoleForDo || role == kRoleCaseIn ||
         role == kRoleFunctionBody;
}

uint32_t RoleAt(const GrammarItem& item) {
  switch (PlaceOf(item)) {
    case kListStart:
      return kRoleStart;
    case kListNeeds:
      return kRoleNeeded;
    case kListPiped:
      return kRolePiped;
    case kPrefix:
      return kRolePrefix;
    case kFirst:
    case kArguments:
      return kRoleArgument;
    case kRedirect:
      return RoleOf(item.a);
    case kForName:
      return kRoleForName;
    case kForIn:
    case kForInLine:
      return kRoleForIn;
    case kForWords:
      return kRoleForWord;
    case kForDo:
      return kRoleForDo;
    case kCaseWord:
      return kRoleCaseWord;
    case kCaseIn:
      return kRoleCaseIn;
    case kCaseItem:
      return kRolePatternFirst;
    case kPattern:
      return kRolePattern;
    case kFunctionName:
      return kRoleFunctionName;
    case kFunctionAfter:
    case kFunctionBody:
      return kRoleFunctionBody;
    case kArray:
      return kRoleArray;
    case kSoup:
      return kRoleSoup;
    case kCondTerm:
      return kRoleCondTerm;
    case kCondOperand:
    case kCondRight:
      return kRoleCondRight;
    default:
      return kRoleClose;
  }
}

uint32_t Stepper::Lift(uint32_t stack, std::vector<GrammarItem>* rows) const {
  while (stacks_.Top(stack).at == kFrameHereEnd || stacks_.Top(stack).at == kFrameHereByte) {
    rows->push_back(stacks_.Top(stack));
    stack = stacks_.Top(stack).stack;
  }
  return stack;
}

uint32_t Stepper::Lay(uint32_t stack, std::vector<GrammarItem>* rows) {
  for (auto row = rows->rbegin(); row != rows->rend(); ++row) {
    row->stack = stack;
    stack = stacks_.Push(*row);
  }
  return stack;
}

GrammarItem Stepper::Open(GrammarItem item, uint32_t frame, uint32_t place) {
  std::vector<GrammarItem> rows;
  const uint32_t below = Lift(item.stack, &rows);
  item.stack = Lay(stacks_.Push({.at = frame, .stack = below}), &rows);
  return To(item, place);
}

GrammarItem Stepper::Close(GrammarItem item, uint32_t place) {
  std::vector<GrammarItem> rows;
  const uint32_t frame = Lift(item.stack, &rows);
  item.stack = Lay(stacks_.Top(frame).stack, &rows);
  return To(item, place);
}

}  // namespace chimera::shell
