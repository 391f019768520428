#include "grammar/token_grammar.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace chimera {
TokenGrammar::TokenGrammar(std::shared_ptr<const GrammarVocabulary> vocabulary,
                           std::shared_ptr<const Machine> machine, const MaskOptions& options)
    : vocabulary_(std::move(vocabulary)), machine_(std::move(machine)), options_(options) {
  const MutexLock lock(&mutex_);
  if (options_.ahead) BuildAhead();
}

// The masks of the states nearest to the beginning, a byte at a time.
void TokenGrammar::BuildAhead() {
  Tables& tables = *Current();
  std::vector<GrammarState> states = {tables.table.start()};
  for (size_t i = 0; i < states.size(); ++i) {
    tables.Mask(states[i], options_, &counts_);
    for (const uint8_t byte : tables.table.class_bytes()) {
      const GrammarState next = tables.table.Next(states[i], byte);
      if (states.size() >= kAheadStates || next == kDeadState) continue;
      if (std::find(states.begin(), states.end(), next) == states.end()) states.push_back(next);
    }
  }
}

std::shared_ptr<TokenGrammar::Tables> TokenGrammar::Current() {
  if (current_ == nullptr || current_->full()) {
    current_ = std::make_shared<Tables>(vocabulary_, machine_);
  }
  return current_;
}

const TokenMask& TokenGrammar::Tables::Mask(GrammarState state, const MaskOptions& options,
                                            MaskCounts* counts) {
  if (!options.keep) {
    masks.clear();
    mask_bytes = 0;
  }
  const auto known = masks.find(state);
  if (known != masks.end()) {
    ++counts->cached;
    return known->second;
  }
  ++counts->built;
  TokenMask mask = builder.Build(state);
  if (mask_bytes + mask.bytes() > kGrammarMaskBytesMax) {
    masks.clear();
    mask_bytes = 0;
  }
  mask_bytes += mask.bytes();
  return masks.insert({state, std::move(mask)}).first->second;
}

MaskCounts TokenGrammar::counts() const {
  const MutexLock lock(&mutex_);
  return counts_;
}

int64_t TokenGrammar::bytes() const {
  const MutexLock lock(&mutex_);
  return current_ == nullptr ? 0 : current_->table.bytes() + current_->mask_bytes;
}

GrammarMatcher::GrammarMatcher(std::shared_ptr<TokenGrammar> grammar)
    : grammar_(std::move(grammar)) {
  const MutexLock lock(&grammar_->mutex_);
  tables_ = grammar_->Current();
  states_.push_back(tables_->table.start());
}

void GrammarMatcher::Settle() {
  std::shared_ptr<TokenGrammar::Tables> current = grammar_->Current();
  if (current == tables_) return;
  for (GrammarState& state : states_) state = current->table.Adopt(tables_->table, state);
  tables_ = std::move(current);
}

absl::StatusOr<MaskResult> GrammarMatcher::Mask(int tokens_left, std::span<uint64_t> bits) {
  const MutexLock lock(&grammar_->mutex_);
  Settle();
  const GrammarState state = states_.back();
  StateTable& table = tables_->table;
  MaskResult result;
  result.can_end = table.CanEnd(state);
  const auto left = static_cast<uint32_t>(std::max(tokens_left - 1, 0));
  const TokenMask* mask = &tables_->Mask(state, grammar_->options_, &grammar_->counts_);
  TokenMask shorter;
  if (mask->close_bytes_max > left) {
    result.budgeted = true;
    ++grammar_->counts_.budgeted;
    shorter = tables_->builder.Build(state, left);
    if (shorter.count > 0 || result.can_end) {
      mask = &shorter;
    } else if (Plan(tokens_left)) {
      shorter.ids = {plan_.back()};
      shorter.count = 1;
      mask = &shorter;
    } else {
      result.closable = false;
    }
  }
  mask->Write(bits);
  result.allowed = mask->count;
  if (result.can_end) {
    const int eot = grammar_->vocabulary().tokenizer().eot();
    bits[size_t(eot) / 64] |= uint64_t{1} << (eot % 64);
    ++result.allowed;
  }
  if (!table.status().ok()) return table.status();
  return result;
}

// In bytes the closing text is too long for the tokens left; in tokens it may fit.
bool GrammarMatcher::Plan(int tokens_left) {
  if (plan_.empty()) {
    plan_ = grammar_->vocabulary().tokenizer().Encode(tables_->table.ClosingText(states_.back()));
    std::reverse(plan_.begin(), plan_.end());
  }
  if (plan_.size() <= size_t(std::max(tokens_left, 0))) return true;
  plan_.clear();
  return false;
}

absl::Status GrammarMatcher::Advance(int32_t token) {
  const MutexLock lock(&grammar_->mutex_);
  Settle();
  const std::string_view bytes = grammar_->vocabulary().tokenizer().TokenBytes(token);
  const GrammarState next = bytes.empty() ? kDeadState : tables_->table.Run(states_.back(), bytes);
  if (!tables_->table.status().ok()) return tables_->table.status();
  if (next == kDeadState) {
    return absl::InvalidArgumentError(
        absl::StrCat("token ", token, " cannot follow after ", tokens_, " tokens of this grammar"));
  }
  if (!plan_.empty() && plan_.back() == token) {
    plan_.pop_back();
  } else {
    plan_.clear();
  }
  states_.push_back(next);
  if (states_.size() > size_t(2 * kRollbackMax)) {
    states_.erase(states_.begin(), states_.end() - kRollbackMax - 1);
  }
  ++tokens_;
  return absl::OkStatus();
}

void GrammarMatcher::Rollback(int n) {
  CHIMERA_CHECK(n >= 0 && size_t(n) < states_.size());
  states_.resize(states_.size() - size_t(n));
  tokens_ -= n;
  plan_.clear();
}

bool GrammarMatcher::CanEnd() const {
  const MutexLock lock(&grammar_->mutex_);
  return tables_->table.CanEnd(states_.back());
}

bool GrammarMatcher::MustEnd() const {
  const MutexLock lock(&grammar_->mutex_);
  StateTable& table = tables_->table;
  if (!table.CanEnd(states_.back())) return false;
  return std::ranges::all_of(table.class_bytes(), [&](uint8_t byte) {
    return table.Next(states_.back(), byte) == kDeadState;
  });
}

std::string GrammarMatcher::ForcedText() const {
  constexpr size_t kForcedMax = 4096;
  const MutexLock lock(&grammar_->mutex_);
  std::string text;
  GrammarState state = states_.back();
  while (text.size() < kForcedMax) {
    const int byte = tables_->table.ForcedByte(state);
    if (byte < 0) break;
    text.push_back(static_cast<char>(byte));
    state = tables_->table.Next(state, static_cast<uint8_t>(byte));
  }
  return text;
}

std::string GrammarMatcher::ClosingText() const {
  const MutexLock lock(&grammar_->mutex_);
  return tables_->table.ClosingText(states_.back());
}

}  // namespace chimera
