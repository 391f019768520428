#include "grammar/state_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace chimera {
namespace {

uint64_t Hash(std::span<const GrammarItem> items) {
  uint64_t h = items.size();
  for (const GrammarItem& item : items) {
    h = (h ^ (uint64_t{item.at} << 32 | item.a)) * 0x9E3779B97F4A7C15u;
    h = (h ^ (h >> 29) ^ (uint64_t{item.b} << 32 | item.stack)) * 0xBF58476D1CE4E5B9u;
  }
  return h ^ (h >> 32);
}

}  // namespace

StateTable::StateTable(std::shared_ptr<const Machine> machine)
    : machine_(std::move(machine)), classes_(machine_->byte_classes()), index_(64, 0) {
  for (int byte = 255; byte >= 0; --byte) {
    n_classes_ = std::max(n_classes_, classes_[size_t(byte)] + 1);
    class_bytes_[classes_[size_t(byte)]] = static_cast<uint8_t>(byte);
  }
  std::vector<GrammarItem> none;
  Intern(&none);  // kDeadState: a row of itself
  std::fill_n(Row(kDeadState), n_classes_, kDeadState);
  machine_->Start(&stacks_, &next_);
  CHIMERA_CHECK(!next_.empty());
  start_ = Intern(&next_);
}

GrammarState StateTable::Run(GrammarState state, std::string_view bytes) {
  for (const char c : bytes) {
    state = Next(state, static_cast<uint8_t>(c));
    if (state == kDeadState) break;
  }
  return state;
}

std::span<const GrammarItem> StateTable::Items(GrammarState state) const {
  return {items_.data() + states_[state].first, states_[state].count};
}

GrammarState StateTable::Compute(GrammarState state, uint8_t byte) {
  const std::span<const GrammarItem> items = Items(state);
  from_.assign(items.begin(), items.end());
  next_.clear();
  machine_->Step(from_, byte, &stacks_, &next_);
  const GrammarState next = Intern(&next_);
  Row(state)[classes_[byte]] = next;
  return next;
}

// The number of a configuration; sorts it. The first call makes kDeadState.
GrammarState StateTable::Intern(std::vector<GrammarItem>* items) {
  if (items->size() > 1) {
    std::sort(items->begin(), items->end());
    items->erase(std::unique(items->begin(), items->end()), items->end());
  }
  if (items->size() > kItemsMax) {
    if (status_.ok()) {
      status_ = absl::ResourceExhaustedError(
          absl::StrCat("the grammar is too ambiguous: ", items->size(),
                       " readings of one text are alive, the limit is ", kItemsMax));
    }
    return kDeadState;
  }
  if (items->empty() && !states_.empty()) return kDeadState;
  if (2 * states_.size() >= index_.size()) GrowIndex();
  const size_t mask = index_.size() - 1;
  size_t at = Hash(*items) & mask;
  for (; index_[at] != 0; at = (at + 1) & mask) {
    if (std::ranges::equal(Items(index_[at]), *items)) return index_[at];
  }
  const auto id = static_cast<GrammarState>(states_.size());
  State state;
  state.first = static_cast<uint32_t>(items_.size());
  state.count = static_cast<uint32_t>(items->size());
  state.close_bytes = items->empty() ? 0xFFFFFFFFu : machine_->CloseBytes(*items, stacks_);
  items_.insert(items_.end(), items->begin(), items->end());
  states_.push_back(state);
  index_[at] = id;
  if (id % kRowsPerBlock == 0) {
    const size_t words = size_t(kRowsPerBlock) * size_t(n_classes_);
    rows_.push_back(std::make_unique_for_overwrite<GrammarState[]>(words));
    std::fill_n(rows_.back().get(), words, kUnknown);
  }
  return id;
}

void StateTable::GrowIndex() {
  index_.assign(2 * index_.size(), 0);
  const size_t mask = index_.size() - 1;
  for (GrammarState id = 1; id < states_.size(); ++id) {
    size_t at = Hash(Items(id)) & mask;
    while (index_[at] != 0) at = (at + 1) & mask;
    index_[at] = id;
  }
}

std::string StateTable::ClosingText(GrammarState state) {
  std::string text;
  while (!CanEnd(state)) {
    uint8_t best = 0;
    uint32_t fewest = CloseBytes(state);
    for (const uint8_t byte : class_bytes()) {
      const GrammarState next = Next(state, byte);
      if (next != kDeadState && CloseBytes(next) < fewest) {
        fewest = CloseBytes(next);
        best = byte;
      }
    }
    CHIMERA_CHECK(fewest < CloseBytes(state));  // what Machine::CloseBytes promises
    text.push_back(static_cast<char>(best));
    state = Next(state, best);
  }
  return text;
}

int StateTable::ForcedByte(GrammarState state) {
  if (state == kDeadState || CanEnd(state)) return -1;
  int forced = -1;
  for (int byte = 0; byte < 256; ++byte) {
    if (Next(state, static_cast<uint8_t>(byte)) == kDeadState) continue;
    if (forced >= 0) return -1;
    forced = byte;
  }
  return forced;
}

GrammarState StateTable::Adopt(const StateTable& other, GrammarState state) {
  std::vector<GrammarItem> items;
  for (GrammarItem item : other.Items(state)) {
    std::vector<GrammarItem> frames;
    for (uint32_t stack = item.stack; stack != kEmptyStack;
         stack = other.stacks().Top(stack).stack) {
      frames.push_back(other.stacks().Top(stack));
    }
    uint32_t mine = kEmptyStack;
    for (auto frame = frames.rbegin(); frame != frames.rend(); ++frame) {
      frame->stack = mine;
      mine = stacks_.Push(*frame);
    }
    item.stack = mine;
    items.push_back(item);
  }
  return Intern(&items);
}

int64_t StateTable::bytes() const {
  return stacks_.bytes() + static_cast<int64_t>(items_.capacity() * sizeof(GrammarItem) +
                                                states_.capacity() * sizeof(State) +
                                                index_.capacity() * sizeof(GrammarState) +
                                                rows_.size() * kRowsPerBlock * size_t(n_classes_) *
                                                    sizeof(GrammarState));
}

}  // namespace chimera
