#include "decode/debt_ledger.h"

#include <algorithm>

#include "base/check.h"

namespace chimera {
namespace {

struct Terms {
  uint32_t deadline = 0;  // tokens; 0: as many as the completion may have
  uint8_t weight = 0;     // hundredths
};

// math-inference-training D.7. A paragraph counts as 256 tokens.
constexpr Terms kTerms[kDebtTypes] = {{512, 100}, {128, 100}, {2048, 150}, {64, 50},
                                      {512, 70},  {256, 30},  {96, 60},    {0, 200}};

int64_t Debts(const DebtEntry& entry) {
  return (entry.flags & DebtEntry::kMerged) != 0 ? entry.aux : 1;
}

}  // namespace

float DebtWeight(DebtType type) {
  return static_cast<float>(kTerms[static_cast<size_t>(type)].weight) / 100.0f;
}

DebtLedger::DebtLedger(GrammarMode mode, const DebtSettings& settings)
    : settings_(settings), scanner_(MakeDebtScanner(mode)) {
  CHIMERA_CHECK(settings.max_outstanding >= kDebtsMin && settings.max_outstanding <= kDebtsMax);
  CHIMERA_CHECK(settings.max_tokens > 0);
}

void DebtLedger::Take(std::string_view token) {
  ++position_;
  scanner_->Push(token, this);
}

double DebtLedger::Lateness(const DebtEntry& entry) const {
  return static_cast<double>(position_ - entry.opened_pos) /
         static_cast<double>(entry.deadline_pos - entry.opened_pos);
}

double DebtLedger::Pressure() const {
  double sum = 0;
  for (const DebtEntry& entry : entries()) {
    sum += entry.weight / 100.0 * std::min(1.0, Lateness(entry));
  }
  return static_cast<double>(settings_.pressure_weight) * sum / kDebtTypes;
}

double DebtLedger::Pull(const DebtEntry& entry, double pressure) const {
  return pressure * (entry.weight / 100.0) * std::min(2.0, Lateness(entry));
}

DebtCounts DebtLedger::counts(DebtType type) const {
  DebtCounts counts = counts_[static_cast<size_t>(type)];
  for (const DebtEntry& entry : entries()) {
    if (entry.type != type) continue;
    counts.outstanding += Debts(entry);
    if (position_ > entry.deadline_pos) counts.overdue += Debts(entry);
  }
  return counts;
}

void DebtLedger::Open(DebtType type, uint8_t key, uint32_t aux) {
  if (!Tracks(type)) return;
  const Terms& terms = kTerms[static_cast<size_t>(type)];
  const uint32_t deadline =
      terms.deadline > 0 ? terms.deadline : static_cast<uint32_t>(settings_.max_tokens);
  entries_[n_entries_++] = {type, key, terms.weight, 0, position_, position_ + deadline, aux};
  ++Of(type).opened;
  if (n_entries_ > static_cast<size_t>(settings_.max_outstanding)) Merge();
}

// The merged entry of a type is its oldest, so what is taken first is what was opened last.
void DebtLedger::Discharge(DebtType type, uint8_t key) {
  if (!Tracks(type)) return;
  size_t found = n_entries_;
  for (size_t i = n_entries_; i-- > 0;) {
    if (entries_[i].type != type) continue;
    if (entries_[i].key == key) {
      found = i;
      break;
    }
    if (found == n_entries_) found = i;  // keys of merged ones are lost
  }
  CHIMERA_CHECK(found < n_entries_);
  ++Of(type).discharged;
  if (Debts(entries_[found]) > 1) {
    --entries_[found].aux;
  } else {
    Erase(found);
  }
}

void DebtLedger::Violate(DebtType type) {
  if (Tracks(type)) ++Of(type).violated;
}

void DebtLedger::Merge() {
  for (size_t i = 0; i < n_entries_; ++i) {
    for (size_t j = i + 1; j < n_entries_; ++j) {
      if (entries_[j].type != entries_[i].type) continue;
      entries_[i].aux = static_cast<uint32_t>(Debts(entries_[i]) + Debts(entries_[j]));
      entries_[i].flags |= DebtEntry::kMerged;
      entries_[i].key = 0;
      return Erase(j);
    }
  }
}

void DebtLedger::Erase(size_t at) {
  std::copy(entries_.begin() + static_cast<std::ptrdiff_t>(at + 1),
            entries_.begin() + static_cast<std::ptrdiff_t>(n_entries_),
            entries_.begin() + static_cast<std::ptrdiff_t>(at));
  --n_entries_;
}

}  // namespace chimera
