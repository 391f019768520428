#include "grammar/shell_closing.h"

#include <algorithm>

namespace chimera::shell {
namespace {

// What it takes until the list that the item is in could end.
struct Rest {
  uint32_t bytes = 0;
  bool separated = false;  // a blank or a separator was read: a closing word needs none before it
  bool pops = false;       // it ends the innermost frame as well
};

// From a whole reserved word to the end of what it opens or goes on with.
uint32_t WordRest(Word word) {
  switch (word) {
    case kIf:
    case kElif:
      return 12;  // " 0;then 0;fi"
    case kFor:
    case kSelect:
      return 12;  // " x;do 0;done"
    case kWhile:
    case kUntil:
      return 12;  // " 0;do 0;done"
    case kThen:
    case kElse:
      return 5;  // " 0;fi"
    case kDo:
      return 7;  // " 0;done"
    case kCase:
      return 10;  // " 0 in esac"
    case kOpenBrace:
      return 4;  // " 0;}"
    case kOpenCondition:
      return 5;  // " 0 ]]"
    case kIn:
      return 10;  // ";do 0;done"
    default:
      return 0;
  }
}

// The cheapest word of `mask` that goes on from a node.
uint32_t Cheapest(uint32_t node, uint32_t mask) {
  uint32_t best = 0xFFFF;
  for (uint32_t i = 0; i < kWords; ++i) {
    const Word word = static_cast<Word>(i);
    if ((Bit(word) & mask) == 0 || !Begins(node, Bit(word))) continue;
    const auto missing = static_cast<uint32_t>(Spelling(word).size()) - kTree.length[node];
    best = std::min(best, missing + WordRest(word));
  }
  return best;
}

// A word of a role that may end where it is.
Rest RoleRest(uint32_t a, uint32_t frame) {
  const uint32_t node = NodeOf(a), role = RoleOf(a);
  switch (role) {
    case kRoleStart:
      if (node != 0 && Begins(node, ClosersOf(frame))) {
        return {.bytes = Cheapest(node, ClosersOf(frame)), .pops = true};
      }
      [[fallthrough]];
    case kRoleNeeded:
    case kRolePiped:  // one more byte makes another word of a reserved one
      return {.bytes = WordAt(node, kCommandWords) != kWords ? 1u : 0u};
    case kRoleClose:
      return {.bytes = Cheapest(node, ClosersOf(frame)), .pops = true};
    case kRoleForName:
    case kRoleForWord:
      return {.bytes = 10};
    case kRoleForIn:
      return {.bytes = Cheapest(node, Bit(kIn) | Bit(kDo))};
    case kRoleForDo:
      return {.bytes = Cheapest(node, Bit(kDo))};
    case kRoleCaseWord:
      return {.bytes = 4, .separated = true};
    case kRoleCaseIn:  // "in "
      return {.bytes = 3u - kTree.length[node], .separated = true};
    case kRolePatternFirst:
      if (node != 0 && Begins(node, Bit(kEsac))) {
        return {.bytes = Cheapest(node, Bit(kEsac)), .pops = true};
      }
      return {.bytes = 1, .separated = true};
    case kRolePattern:
      return {.bytes = 1, .separated = true};
    case kRoleFunctionName:
      return {.bytes = 3};
    case kRoleFunctionBody:
      return {.bytes = Cheapest(node, kCompounds)};
    case kRoleSoup:
      if (frame == kFrameCond && node != 0 && Begins(node, Bit(kCloseCondition))) {
        return {.bytes = Cheapest(node, Bit(kCloseCondition)), .pops = true};
      }
      return {};
    default:
      return {};
  }
}

// Within [[ ]] of what is generated.
Rest ConditionRest(uint32_t place) {
  switch (place) {
    case kCondAfter:
    case kCondDone:
      return {.separated = true};
    case kCondBracket:
      return {.bytes = 1, .pops = true};
    case kCondBrackets:
      return {.pops = true};
    case kCondTerm:
    case kCondOperand:
    case kCondRight:
      return {.bytes = 1};
    case kCondBang:
    case kCondFlag:
    case kCondOperator:
    case kCondAnd:
    case kCondOr:
    case kCondEqual:
      return {.bytes = 2};
    case kCondCompare:
      return {.bytes = 4};
    default:
      return {.bytes = 3};
  }
}

// At a place between words.
Rest GapRest(uint32_t place) {
  if (place >= kCondTerm && place <= kCondBrackets) return ConditionRest(place);
  switch (place) {
    case kListStart:
    case kSemi:
    case kSemiSemi:
    case kAmp:
    case kCaseItem:
    case kSoup:
      return {.separated = true};
    case kSemiNeeds:
    case kPatternEnd:
      return {.bytes = 1, .separated = true};
    case kPattern:
      return {.bytes = 2, .separated = true};
    case kCaseIn:
      return {.bytes = 3, .separated = true};
    case kLessLess:  // a delimiter of one byte, its line, and the line that ends it
      return {.bytes = 4, .separated = true};
    case kCaseWord:
      return {.bytes = 5, .separated = true};
    case kListNeeds:
    case kListPiped:
    case kRedirect:
    case kAmpGreat:
    case kPipe:
    case kGreat:
    case kLess:
      return {.bytes = 1};
    case kDescriptor:
    case kParenOpen:
    case kFunctionParen:
      return {.bytes = 2};
    case kFunctionAfter:
    case kFunctionBody:
      return {.bytes = 3};
    case kFunctionName:
    case kNameParen:
      return {.bytes = 4};
    case kForIn:
    case kForInLine:
    case kForDo:
      return {.bytes = 9};
    case kForWords:
      return {.bytes = 10};
    case kForName:
      return {.bytes = 11};
    case kForParen:  // "())" and the loop
      return {.bytes = 12};
    default:
      return {};
  }
}

// To close a frame after a whole command or word within it.
uint32_t FrameBytes(const GrammarItem& frame) {
  switch (frame.at) {
    case kFrameBrace:
    case kFrameArith:
    case kFrameArithCommand:
    case kFrameArithFor:
      return 2;
    case kFrameThen:
    case kFrameElse:
    case kFrameCond:
      return 3;
    case kFrameDo:
    case kFrameCase:
      return 5;
    case kFrameIf:
    case kFrameWhile:
      return 10;
    default:
      return 1;
  }
}

bool EndsWithWord(uint32_t frame) {
  return (frame >= kFrameBrace && frame <= kFrameCase) || frame == kFrameCond;
}

uint32_t InnerBytes(const GrammarItem& item, bool generate) {
  switch (InnerOf(item)) {
    case kEscape:
    case kSingle:
    case kAnsi:
    case kBackquote:
      return 1;
    case kAnsiEscape:
    case kBackquoteEscape:
      return 2;
    case kDollar:
      return generate && PlaceOf(item) == kArith ? 1 : 0;
    case kDollarParen:
      return generate ? 2 : 1;
    default:
      return 0;
  }
}

// Sums up the frames below an item.
class Walk {
 public:
  Walk(uint32_t stack, bool generate, const StackPool& stacks)
      : stack_(stack), stacks_(stacks), generate_(generate) {}

  // The here-documents that stand above the innermost frame of commands.
  uint32_t Rows() {
    uint32_t sum = 0;
    while (stacks_.Top(stack_).at == kFrameHereEnd) {
      const uint32_t count = stacks_.Top(stack_).b;
      sum += count + 1;
      for (uint32_t i = 0; i <= count; ++i) stack_ = stacks_.Top(stack_).stack;
    }
    return sum;
  }
  // The line's end before their lines separates commands where it comes in handy.
  void LineEndIsSpare() { spare_ = 1; }
  uint32_t Frames(Rest rest) {
    uint32_t sum = rest.bytes;
    for (;;) {
      if (const uint32_t rows = Rows(); rows > 0) {
        sum += rows + 1;
        spare_ = 1;
      }
      if (stack_ == kEmptyStack) return sum;
      const GrammarItem frame = stacks_.Top(stack_);
      stack_ = frame.stack;
      if (rest.pops) {
        rest = {};
        continue;
      }
      sum += FrameBytes(frame);
      if (rest.separated && EndsWithWord(frame.at)) {
        --sum;
      } else if (frame.at >= kFrameBrace && frame.at <= kFrameCase) {
        sum -= spare_;
        spare_ = 0;
      }
      if (frame.at == kFrameParen && generate_) spare_ = 0;
      rest = {};
      if (frame.at < kFrameComsub) continue;
      spare_ = 0;
      rest = Back(frame);
      sum += rest.bytes;
      rest.bytes = 0;
    }
  }

 private:
  // Where a frame of words goes back to.
  Rest Back(const GrammarItem& frame) const {
    const uint32_t place = frame.a >> kBackShift;
    if (place == kWord) {
      return RoleRest(frame.a & ((1u << kBackShift) - 1), CommandFrame(frame.stack, stacks_).at);
    }
    return place < kWord ? GapRest(place) : Rest{};
  }

  uint32_t stack_;
  const StackPool& stacks_;
  const bool generate_;
  uint32_t spare_ = 0;
};

// Here-documents, from their operator to the last line.
uint32_t HereBytes(const GrammarItem& item, bool generate, const StackPool& stacks) {
  const GrammarItem& end = stacks.Top(item.stack);
  const uint32_t index = item.a >> kCountShift;
  uint32_t bytes = 0;
  if (PlaceOf(item) == kHereStart && InnerOf(item) == kNone) {
    bytes = end.b - index + 1;
  } else {
    bytes = 1 + end.b + 1 + (InnerOf(item) == kEscape ? 1 : 0);
    if (PlaceOf(item) == kHereParam) bytes += index > 0 ? 1 : 2;
  }
  Walk walk(item.stack, generate, stacks);
  bytes += walk.Rows() - (end.b + 1);
  const Rest rest = GapRest(item.a & kPlaceMask);
  bytes += walk.Frames(rest);
  // Outside of everything the last line needs no end.
  const bool last = !generate && (item.a & kPlaceMask) == kListStart &&
                    CommandFrame(item.stack, stacks).at == kFrameNone;
  return bytes - (last ? 1 : 0);
}

uint32_t HereWordBytes(const GrammarItem& item, bool generate, const StackPool& stacks) {
  const uint32_t count = item.a >> kCountShift, inner = InnerOf(item);
  uint32_t row = item.stack;
  for (uint32_t i = 0; i < count; ++i) row = stacks.Top(row).stack;
  Walk walk(row, generate, stacks);
  // At least one byte of a delimiter, the line's end, and the line that ends it.
  uint32_t bytes = count > 0 ? 1 + count + 1 : 4;
  if (inner == kHereSingle || inner == kHereDouble) ++bytes;
  if (inner == kEscape) bytes += 2;
  if (inner == kHereDoubleEscape) bytes += 3;
  bytes += walk.Rows();
  walk.LineEndIsSpare();
  return bytes + walk.Frames({});
}

// The comment's line ends, then the place behind it goes on.
uint32_t CommentBytes(const GrammarItem& item, bool generate, const StackPool& stacks) {
  const uint32_t place = PlaceOf(item);
  const bool ended = place == kListStart || place == kFirst || place == kPrefix ||
                     place == kArguments || place == kCompound;
  if (ended && item.stack == kEmptyStack) return 0;
  Walk walk(item.stack, generate, stacks);
  const uint32_t rows = walk.Rows();
  const Rest rest =
      ended ? Rest{.separated = true} : GapRest(place == kForWords ? uint32_t{kForDo} : place);
  return 1 + rows + walk.Frames(rest);
}

}  // namespace

uint32_t ClosingBytes(const GrammarItem& item, bool generate, const StackPool& stacks) {
  const auto missing = static_cast<uint32_t>(Utf8Missing(Utf8Of(item)));
  const uint32_t place = PlaceOf(item);
  if (place >= kHereStart && place <= kHereParam) {
    return missing + HereBytes(item, generate, stacks);
  }
  if (place == kHereWord || place == kHereGap) return HereWordBytes(item, generate, stacks);
  if (InnerOf(item) == kComment) return missing + CommentBytes(item, generate, stacks);
  Rest rest;
  if (place == kWord) {
    rest = RoleRest(item.a, CommandFrame(item.stack, stacks).at);
  } else if (place == kProcess) {
    rest = RoleRest(Reading(item.a, kQuoted), 0);
    rest.bytes += 2;
  } else if (place < kWord) {
    const bool word = InnerOf(item) == kEscape && !OnlyReserved(RoleAt(item));
    rest = word ? RoleRest(Reading(RoleAt(item), kQuoted), 0) : GapRest(place);
  } else if (place == kParamStart || place == kParamColon) {
    rest.bytes = 1;
  } else if (place == kParamIndex) {
    rest.bytes = item.a == 0 ? 2 : 1;
  }
  rest.bytes += missing + InnerBytes(item, generate);
  const uint32_t half_closed = InnerOf(item) == kArithClose ? 1 : 0;
  return Walk(item.stack, generate, stacks).Frames(rest) - half_closed;
}

}  // namespace chimera::shell
