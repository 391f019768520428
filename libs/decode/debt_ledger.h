// The debts of one text, in the order they were opened (FEATURES S9; math-inference-training D.7):
// what is open, since when, how late it is, and how hard that pulls on the words that settle it.
// Ages and deadlines are in tokens.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "decode/debt_scanner.h"
#include "decode/debt_types.h"
#include "grammar/modes.h"

namespace chimera {

inline constexpr int kDebtsMax = 64;  // outstanding at once
inline constexpr int kDebtsMin = kDebtTypes;

struct DebtSettings {
  std::array<bool, kDebtTypes> obligations = {true, true, true, true, true, true, true, true};
  int max_outstanding = kDebtsMax;  // kDebtsMin..kDebtsMax
  float pressure_weight = 0.3f;
  int max_tokens = 512;  // of the completion: the deadline of JSON objects
};

// 16 bytes.
struct DebtEntry {
  static constexpr uint8_t kMerged = 1;  // stands for aux debts of its type, the oldest ones

  DebtType type = DebtType::kCloseBracket;
  uint8_t key = 0;
  uint8_t weight = 0;  // hundredths
  uint8_t flags = 0;
  uint32_t opened_pos = 0;
  uint32_t deadline_pos = 0;
  uint32_t aux = 0;
};
static_assert(sizeof(DebtEntry) == 16);

// Of one type. opened - discharged = outstanding, always.
struct DebtCounts {
  int64_t opened = 0, discharged = 0;
  int64_t outstanding = 0;
  int64_t overdue = 0;   // of those outstanding
  int64_t violated = 0;  // times the text acted against one
};

// Weight of a debt of this type, 0.3 to 2.0.
float DebtWeight(DebtType type);

// Thread-compatible.
class DebtLedger final : private DebtSink {
 public:
  DebtLedger(GrammarMode mode, const DebtSettings& settings);

  // The bytes of one more committed token.
  void Take(std::string_view token);

  // pressure_weight * sum over the entries of weight * min(1, age / deadline) / 8.
  double Pressure() const;
  // What is added to the tokens that discharge an entry: Pressure() * weight * min(2, age /
  // deadline).
  double Pull(const DebtEntry& entry, double pressure) const;

  std::span<const DebtEntry> entries() const { return {entries_.data(), n_entries_}; }
  DebtCounts counts(DebtType type) const;
  int64_t position() const { return position_; }
  bool Dangling() const { return scanner_->Dangling(); }

 private:
  void Open(DebtType type, uint8_t key, uint32_t aux) override;
  void Discharge(DebtType type, uint8_t key) override;
  void Violate(DebtType type) override;
  bool Tracks(DebtType type) const { return settings_.obligations[static_cast<size_t>(type)]; }
  DebtCounts& Of(DebtType type) { return counts_[static_cast<size_t>(type)]; }
  double Lateness(const DebtEntry& entry) const;
  // The two oldest of one type become one: of the type with the oldest entry that is not alone.
  void Merge();
  void Erase(size_t at);

  const DebtSettings settings_;
  std::unique_ptr<DebtScanner> scanner_;
  uint32_t position_ = 0;  // tokens
  std::array<DebtEntry, kDebtsMax + 1> entries_ = {};
  size_t n_entries_ = 0;
  std::array<DebtCounts, kDebtTypes> counts_ = {};
};

}  // namespace chimera
