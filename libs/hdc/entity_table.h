// What a text has said about the things it speaks of (math-inference-training C.5): 256 slots of at
// most seven terms (role, filler). The list of terms is the truth; the 512-bit record of a slot and
// the digest of the table follow from it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hdc/entity_codes.h"

namespace chimera {

inline constexpr int kEntitySlots = 256;
inline constexpr int kEntityTermsMax = 7;  // more cannot be told apart in a record

struct EntityTerm {
  EntityRole role = EntityRole::kName;
  uint32_t filler = 0;

  friend bool operator==(const EntityTerm&, const EntityTerm&) = default;
};

// What a noisy filler code turned out to be.
struct CleanUp {
  enum class Outcome { kAccepted, kUnknown, kRejected };
  static constexpr int kAcceptMost = 200, kRejectLeast = 225;

  Outcome outcome = Outcome::kRejected;
  uint32_t filler = 0;         // the nearest that is known, when there is one
  int distance = kEntityBits;  // to it
};

// Slots in an order, without allocating.
struct SlotList {
  std::array<uint8_t, kEntitySlots> slots;
  int size = 0;

  std::span<const uint8_t> span() const& { return {slots.data(), static_cast<size_t>(size)}; }
  std::span<const uint8_t> span() const&& = delete;  // of slots that are gone
};

// About 150 KiB; nothing is allocated after construction. Two tables with equal digests hold the
// same terms in the same slots (up to the chance of a 512-bit collision). Thread-compatible.
class EntityTable {
 public:
  // Distance within which two fillers of the same role contradict each other.
  static constexpr int kConflictLeast = 225, kConflictMost = 287;

  // The codes are borrowed.
  explicit EntityTable(const EntityCodes* codes);

  // An empty slot, now the most recent: the free one with the smallest number, or that of the
  // oldest slot without a pin, whose terms go. Oldest is what Touch has not seen for longest. An
  // error when all slots are pinned.
  absl::StatusOr<uint8_t> Open();
  // Its terms go, and its pin. Does nothing to a slot that is not open.
  void Close(uint8_t slot);
  bool IsOpen(uint8_t slot) const { return slots_[slot].open; }

  // Adds a term and makes the slot the most recent. Errors, and nothing done: the slot is not open,
  // has the term already, or holds kEntityTermsMax.
  absl::Status Apply(uint8_t slot, EntityTerm term);
  // Takes it away again; the order of slots stays. An error when it is not there.
  absl::Status Undo(uint8_t slot, EntityTerm term);

  // Most recent from now on. The slot is open (checked).
  void Touch(uint8_t slot);
  void Pin(uint8_t slot, bool pinned);
  bool pinned(uint8_t slot) const { return slots_[slot].pinned; }

  std::span<const EntityTerm> terms(uint8_t slot) const;
  // Majority of role XOR filler over the terms; the tie vector for none.
  const EntityVector& record(uint8_t slot) const { return slots_[slot].record; }
  // XOR over all terms of slot code XOR role XOR filler.
  const EntityVector& digest() const { return digest_; }

  // What the record says of the role: role XOR record, cleaned up against every filler in the
  // table; ties go to the smallest id.
  CleanUp Recall(uint8_t slot, EntityRole role) const;
  CleanUp Clean(const EntityVector& noisy) const;

  // A term of the slot with this role whose filler contradicts this one, first applied first.
  std::optional<EntityTerm> Conflict(uint8_t slot, EntityTerm term) const;

  // The open slots, most recent first.
  const SlotList& Recent() const { return recent_; }
  // Those a pronoun may mean: slots whose terms of number and gender, if they have any, are these.
  // A feature that is not given excludes nothing.
  SlotList Candidates(std::optional<uint32_t> number, std::optional<uint32_t> gender) const;

  // docs/formats/entity-table.md; at most kBytesMax.
  static constexpr size_t kBytesMax = 3 + kEntitySlots * (3 + kEntityTermsMax * 5) + 64;
  std::string Encode() const;
  // Any bytes may come in; an error says where they are wrong. The digest at the end is compared,
  // so a table of other codes is refused.
  static absl::StatusOr<EntityTable> Decode(std::span<const uint8_t> bytes,
                                            const EntityCodes* codes);

 private:
  struct Slot {
    bool open = false;
    bool pinned = false;
    uint8_t n = 0;
    std::array<EntityTerm, kEntityTermsMax> terms;
    std::array<EntityVector, kEntityTermsMax> fillers;  // codes of the terms' fillers
    EntityVector record;
  };

  EntityVector TermVector(uint8_t slot, EntityTerm term) const;
  void Recompute(uint8_t slot);
  void Remove(uint8_t slot, int i);
  void Forget(uint8_t slot);  // takes it out of recent_

  const EntityCodes* codes_;
  std::unique_ptr<Slot[]> slots_;  // kEntitySlots
  SlotList recent_;
  EntityVector digest_;
};

}  // namespace chimera
