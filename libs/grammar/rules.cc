#include "grammar/rules.h"

#include <algorithm>

#include "grammar/rule_string.h"

namespace chimera {
namespace {

bool IsString(const RulePlace& place) { return (place.flags & kPlaceString) != 0; }

// Frames that may still be pushed on an item's stack.
int Room(const GrammarItem& item, const StackPool& stacks) {
  return kGrammarDepthMax - stacks.Depth(item.stack);
}

// The two registers as one set of bits.
uint64_t Seen(const GrammarItem& item) { return uint64_t{item.b} << 32 | item.a; }
// False when the bit was set before.
bool See(GrammarItem* item, uint32_t bit) {
  const uint64_t seen = Seen(*item) | uint64_t{1} << bit;
  if (seen == Seen(*item)) return false;
  item->a = static_cast<uint32_t>(seen);
  item->b = static_cast<uint32_t>(seen >> 32);
  return true;
}

}  // namespace

void RuleMachine::Start(StackPool* stacks, std::vector<GrammarItem>* out) const {
  const size_t first = out->size();
  out->push_back({.at = tables_.rules[tables_.root].start});
  Close(first, stacks, out);
}

void RuleMachine::Step(std::span<const GrammarItem> from, uint8_t byte, StackPool* stacks,
                       std::vector<GrammarItem>* out) const {
  const size_t first = out->size();
  for (const GrammarItem& item : from) {
    const RulePlace& place = tables_.places[item.at];
    if (IsString(place)) {
      StepString(tables_, item, byte, Room(item, *stacks), out);
      continue;
    }
    for (uint32_t e = place.first_edge; e < place.first_edge + place.edges; ++e) {
      const RuleEdge& edge = tables_.edges[e];
      if (byte < edge.low || byte > edge.high) continue;
      GrammarItem next = item;
      next.at = edge.to;
      out->push_back(next);
    }
  }
  Close(first, stacks, out);
}

// Follows every jump and every end of a rule from out[first] on, then keeps the items that wait for
// a byte and are not too deep to be completed: since each frame below has room for its own way to
// the end, no configuration is a dead end. More than kItemsMax of them stay more: StateTable
// refuses the configuration.
void RuleMachine::Close(size_t first, StackPool* stacks, std::vector<GrammarItem>* out) const {
  constexpr size_t kVisitedMax = size_t{16} * kItemsMax;
  for (size_t i = first; i < out->size() && out->size() - first <= kVisitedMax; ++i) {
    const GrammarItem item = (*out)[i];
    if (std::find(out->begin() + ptrdiff_t(first), out->begin() + ptrdiff_t(i), item) !=
        out->begin() + ptrdiff_t(i)) {
      continue;  // a second time
    }
    const RulePlace& place = tables_.places[item.at];
    if (place.flags & kPlaceFinal) {
      if (item.stack == kEmptyStack) {
        out->push_back({.at = kDonePlace});
      } else {
        out->push_back(stacks->Top(item.stack));
      }
    }
    for (uint32_t j = place.first_jump; j < place.first_jump + place.jumps; ++j) {
      Jump(item, tables_.jumps[j], stacks, out);
    }
  }
  if (out->size() - first > kVisitedMax) return;
  const auto waits = [&](const GrammarItem& item) {
    const RulePlace& place = tables_.places[item.at];
    return item.at == kDonePlace || ((place.edges > 0 || IsString(place)) && Fits(item, *stacks));
  };
  out->erase(std::remove_if(out->begin() + ptrdiff_t(first), out->end(),
                            [&](const GrammarItem& item) { return !waits(item); }),
             out->end());
}

void RuleMachine::Jump(const GrammarItem& item, const RuleJump& jump, StackPool* stacks,
                       std::vector<GrammarItem>* out) const {
  GrammarItem next = item;
  next.at = jump.to;
  switch (jump.kind) {
    case RuleJump::Kind::kEmpty:
      break;
    case RuleJump::Kind::kCall:
      if (!(tables_.places[jump.to].flags & kPlaceTail)) {
        if (stacks->Full(item.stack) || !Fits(next, *stacks)) return;
        next.stack = stacks->Push(next);
      }
      next.at = tables_.rules[jump.arg].start;
      next.a = next.b = 0;
      break;
    case RuleJump::Kind::kCountUp: {
      const RuleInfo& rule = tables_.rules[tables_.places[item.at].rule];
      if (jump.arg != kUnbounded && item.a >= jump.arg) return;
      next.a = jump.arg == kUnbounded ? std::min(item.a + 1, rule.count_min) : item.a + 1;
      break;
    }
    case RuleJump::Kind::kCountAbove:
      if (item.a < jump.arg) return;
      next.a = 0;
      break;
    case RuleJump::Kind::kSeeBelow:
      if (item.stack == kEmptyStack) return;
      next = stacks->Top(item.stack);
      if (!See(&next, jump.arg)) return;
      break;
    case RuleJump::Kind::kSee:
      if (!See(&next, jump.arg)) return;
      break;
    case RuleJump::Kind::kSeen: {
      const uint64_t mask = tables_.required[jump.arg];
      if ((Seen(item) & mask) != mask) return;
      next.a = next.b = 0;
      break;
    }
  }
  out->push_back(next);
}

uint32_t RuleMachine::ItemClose(const GrammarItem& item, const StackPool& stacks) const {
  if (item.at == kDonePlace) return 0;
  if (item.b != 0 && IsString(tables_.places[item.at])) {
    return EscapeClose(tables_, item, Room(item, stacks));
  }
  return tables_.places[item.at].close_bytes + CountClose(tables_, item);
}

uint32_t RuleMachine::StackClose(uint32_t stack, const StackPool& stacks) const {
  uint32_t bytes = 0;
  for (; stack != kEmptyStack; stack = stacks.Top(stack).stack) {
    bytes += ItemClose(stacks.Top(stack), stacks);
  }
  return bytes;
}

ContentRun RuleMachine::StringContent(std::span<const GrammarItem> items,
                                      const StackPool& stacks) const {
  constexpr uint8_t kWanted = kPlaceFree | kPlaceBetween;
  for (const GrammarItem& item : items) {
    const RulePlace& place = tables_.places[item.at];
    if ((place.flags & kWanted) != kWanted || item.b != 0) continue;
    const RuleInfo& rule = tables_.rules[place.rule];
    ContentRun run;
    run.close_bytes =
        rule.free_close_bytes + CountClose(tables_, item) + StackClose(item.stack, stacks);
    if (!(place.flags & kPlaceCounted) || rule.count_max == kUnbounded) {
      run.chars = ContentRun::kEndless;
    } else {
      run.chars = rule.count_max - item.a;
      // Other readings may go on where this one ends.
      run.exact = items.size() == 1;
    }
    return run;
  }
  return {};
}

uint32_t RuleMachine::CloseBytes(std::span<const GrammarItem> items,
                                 const StackPool& stacks) const {
  uint32_t fewest = kUnbounded;
  for (const GrammarItem& item : items) {
    fewest = std::min(fewest, ItemClose(item, stacks) + StackClose(item.stack, stacks));
  }
  return fewest;
}

}  // namespace chimera
