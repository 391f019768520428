// A machine as a table that fills itself: each different configuration is one number, each
// transition is computed once. After that a byte costs one load, which is what makes masks over
// 200,000 tokens a matter of microseconds.
//
// States stay valid until the table is destroyed, so a fork or a rollback is a copied number.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "grammar/machine.h"

namespace chimera {

using GrammarState = uint32_t;
inline constexpr GrammarState kDeadState = 0;

// Thread-compatible.
class StateTable {
 public:
  explicit StateTable(std::shared_ptr<const Machine> machine);

  const Machine& machine() const { return *machine_; }
  GrammarState start() const { return start_; }
  // The state after one more byte; kDeadState when the text cannot go on like that, and for
  // kDeadState itself.
  GrammarState Next(GrammarState state, uint8_t byte) {
    const GrammarState next = Row(state)[classes_[byte]];
    return next != kUnknown ? next : Compute(state, byte);
  }
  GrammarState Run(GrammarState state, std::string_view bytes);
  bool CanEnd(GrammarState state) const { return states_[state].close_bytes == 0; }
  // Bytes of the closing text; only for states that are not dead.
  uint32_t CloseBytes(GrammarState state) const { return states_[state].close_bytes; }
  // A text of at most CloseBytes bytes after which CanEnd holds.
  std::string ClosingText(GrammarState state);
  // The one byte that can follow, or -1 when there are several, or none, or the text may end.
  int ForcedByte(GrammarState state);

  std::span<const GrammarItem> Items(GrammarState state) const;
  const StackPool& stacks() const { return stacks_; }
  // The same configuration of another table of the same machine.
  GrammarState Adopt(const StateTable& other, GrammarState state);

  int n_classes() const { return n_classes_; }
  // A byte of each class, to try them all.
  std::span<const uint8_t> class_bytes() const { return {class_bytes_.data(), size_t(n_classes_)}; }
  const std::array<uint8_t, 256>& classes() const { return classes_; }
  int64_t n_states() const { return static_cast<int64_t>(states_.size()); }
  int64_t bytes() const;
  // RESOURCE_EXHAUSTED once a configuration had more than kItemsMax items: such a byte counted as
  // not allowed, so masks of this table are not to be trusted any more.
  const absl::Status& status() const { return status_; }

 private:
  static constexpr GrammarState kUnknown = 0xFFFFFFFFu;
  static constexpr uint32_t kRowsPerBlock = 256;
  struct State {
    uint32_t first = 0, count = 0;  // in items_
    uint32_t close_bytes = 0;
  };

  GrammarState* Row(GrammarState state) const {
    return rows_[state / kRowsPerBlock].get() + size_t(state % kRowsPerBlock) * size_t(n_classes_);
  }
  GrammarState Compute(GrammarState state, uint8_t byte);
  GrammarState Intern(std::vector<GrammarItem>* items);
  void GrowIndex();

  std::shared_ptr<const Machine> machine_;
  std::array<uint8_t, 256> classes_;
  std::array<uint8_t, 256> class_bytes_ = {};
  int n_classes_ = 0;
  StackPool stacks_;
  std::vector<GrammarItem> items_;
  std::vector<State> states_;
  std::vector<std::unique_ptr<GrammarState[]>> rows_;  // [n_states][n_classes] in blocks
  std::vector<GrammarState> index_;                    // by items; open addressing, 0 is free
  std::vector<GrammarItem> from_, next_;               // scratch of Compute
  GrammarState start_ = kDeadState;
  absl::Status status_;
};

}  // namespace chimera
