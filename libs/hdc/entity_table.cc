#include "hdc/entity_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace chimera {

EntityTable::EntityTable(const EntityCodes* codes)
    : codes_(codes), slots_(std::make_unique<Slot[]>(kEntitySlots)) {
  for (int s = 0; s < kEntitySlots; ++s) slots_[s].record = codes_->tie();
}

absl::StatusOr<uint8_t> EntityTable::Open() {
  int slot = 0;
  if (recent_.size == kEntitySlots) {
    int at = recent_.size - 1;
    while (at >= 0 && slots_[recent_.slots[at]].pinned) --at;
    if (at < 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("entity table: all ", kEntitySlots, " slots are pinned"));
    }
    slot = recent_.slots[at];
    Close(static_cast<uint8_t>(slot));
  } else {
    while (slots_[slot].open) ++slot;
  }
  slots_[slot].open = true;
  std::copy_backward(recent_.slots.begin(), recent_.slots.begin() + recent_.size,
                     recent_.slots.begin() + recent_.size + 1);
  recent_.slots[0] = static_cast<uint8_t>(slot);
  ++recent_.size;
  return static_cast<uint8_t>(slot);
}

void EntityTable::Close(uint8_t slot) {
  Slot& s = slots_[slot];
  if (!s.open) return;
  while (s.n > 0) Remove(slot, s.n - 1);
  Recompute(slot);
  s.open = s.pinned = false;
  Forget(slot);
}

void EntityTable::Forget(uint8_t slot) {
  auto* const end = recent_.slots.data() + recent_.size;
  auto* const at = std::find(recent_.slots.data(), end, slot);
  std::copy(at + 1, end, at);
  --recent_.size;
}

absl::Status EntityTable::Apply(uint8_t slot, EntityTerm term) {
  Slot& s = slots_[slot];
  if (!s.open) {
    return absl::FailedPreconditionError(absl::StrCat("entity slot ", slot, " is not open"));
  }
  const auto role = static_cast<int>(term.role);
  if (role >= kEntityRoles) {
    return absl::InvalidArgumentError(
        absl::StrCat("entity role ", role, " is not below ", kEntityRoles));
  }
  const auto have = terms(slot);
  if (std::find(have.begin(), have.end(), term) != have.end()) {
    return absl::AlreadyExistsError(absl::StrCat("entity slot ", slot, " has role ", role,
                                                 " with filler ", term.filler, " already"));
  }
  if (s.n == kEntityTermsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("entity slot ", slot, " holds ", kEntityTermsMax, " terms, its limit"));
  }
  s.terms[s.n] = term;
  s.fillers[s.n] = codes_->Filler(term.filler);
  ++s.n;
  digest_ ^= TermVector(slot, term);
  Recompute(slot);
  Touch(slot);
  return absl::OkStatus();
}

absl::Status EntityTable::Undo(uint8_t slot, EntityTerm term) {
  const auto have = terms(slot);
  const auto at = std::find(have.begin(), have.end(), term);
  if (at == have.end()) {
    return absl::NotFoundError(absl::StrCat("entity slot ", slot, " has no role ",
                                            static_cast<int>(term.role), " with filler ",
                                            term.filler));
  }
  Remove(slot, static_cast<int>(at - have.begin()));
  Recompute(slot);
  return absl::OkStatus();
}

void EntityTable::Remove(uint8_t slot, int i) {
  Slot& s = slots_[slot];
  digest_ ^= TermVector(slot, s.terms[i]);  // its own inverse
  std::copy(s.terms.begin() + i + 1, s.terms.begin() + s.n, s.terms.begin() + i);
  std::copy(s.fillers.begin() + i + 1, s.fillers.begin() + s.n, s.fillers.begin() + i);
  --s.n;
  s.terms[s.n] = {};
  s.fillers[s.n] = {};
}

EntityVector EntityTable::TermVector(uint8_t slot, EntityTerm term) const {
  return codes_->Slot(slot) ^ codes_->Delta(term.role, term.filler);
}

void EntityTable::Recompute(uint8_t slot) {
  Slot& s = slots_[slot];
  std::array<EntityVector, kEntityTermsMax> bound;
  for (int i = 0; i < s.n; ++i) bound[i] = codes_->Role(s.terms[i].role) ^ s.fillers[i];
  s.record = EntityMajority({bound.data(), s.n}, codes_->tie());
}

void EntityTable::Touch(uint8_t slot) {
  CHIMERA_CHECK(slots_[slot].open);
  uint8_t* const begin = recent_.slots.data();
  uint8_t* const at = std::find(begin, begin + recent_.size, slot);
  std::copy_backward(begin, at, at + 1);
  *begin = slot;
}

void EntityTable::Pin(uint8_t slot, bool pinned) {
  CHIMERA_CHECK(slots_[slot].open);
  slots_[slot].pinned = pinned;
}

std::span<const EntityTerm> EntityTable::terms(uint8_t slot) const {
  return {slots_[slot].terms.data(), slots_[slot].n};
}

CleanUp EntityTable::Recall(uint8_t slot, EntityRole role) const {
  return Clean(codes_->Role(role) ^ record(slot));
}

CleanUp EntityTable::Clean(const EntityVector& noisy) const {
  CleanUp best;
  for (const uint8_t slot : recent_.span()) {
    const Slot& s = slots_[slot];
    for (int i = 0; i < s.n; ++i) {
      const int distance = EntityDistance(noisy, s.fillers[i]);
      const uint32_t filler = s.terms[i].filler;
      if (distance > best.distance || (distance == best.distance && filler >= best.filler)) {
        continue;
      }
      best.distance = distance;
      best.filler = filler;
    }
  }
  if (best.distance <= CleanUp::kAcceptMost) {
    best.outcome = CleanUp::Outcome::kAccepted;
  } else if (best.distance < CleanUp::kRejectLeast) {
    best.outcome = CleanUp::Outcome::kUnknown;
  }
  return best;
}

std::optional<EntityTerm> EntityTable::Conflict(uint8_t slot, EntityTerm term) const {
  const EntityVector filler = codes_->Filler(term.filler);
  const Slot& s = slots_[slot];
  for (int i = 0; i < s.n; ++i) {
    if (s.terms[i].role != term.role) continue;
    const int distance = EntityDistance(filler, s.fillers[i]);
    if (distance >= kConflictLeast && distance <= kConflictMost) return s.terms[i];
  }
  return std::nullopt;
}

SlotList EntityTable::Candidates(std::optional<uint32_t> number,
                                 std::optional<uint32_t> gender) const {
  SlotList list;
  for (const uint8_t slot : recent_.span()) {
    const auto have = terms(slot);
    const bool fits = std::none_of(have.begin(), have.end(), [&](const EntityTerm& term) {
      return (term.role == EntityRole::kNumber && number && term.filler != *number) ||
             (term.role == EntityRole::kGender && gender && term.filler != *gender);
    });
    if (fits) list.slots[list.size++] = slot;
  }
  return list;
}

}  // namespace chimera
