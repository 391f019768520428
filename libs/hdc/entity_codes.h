// The 512-bit algebra of entities (math-inference-training C.5): codes of roles, fillers and slots,
// and the majority of a few bound pairs. Chance distance is 256 with a standard deviation of 11.3.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace chimera {

inline constexpr int kEntityBits = 512;
inline constexpr int kEntityWords = kEntityBits / 64;

// Bit i is bit i % 64 of word i / 64. Plain data, aligned to a cache line. Thread-compatible.
struct alignas(64) EntityVector {
  std::array<uint64_t, kEntityWords> words{};

  bool Bit(int i) const { return words[i / 64] >> (i % 64) & 1; }
  EntityVector& operator^=(const EntityVector& other) {
    for (int w = 0; w < kEntityWords; ++w) words[w] ^= other.words[w];
    return *this;
  }
  friend EntityVector operator^(EntityVector a, const EntityVector& b) { return a ^= b; }
  friend bool operator==(const EntityVector&, const EntityVector&) = default;
};

// Number of differing bits, 0..512.
int EntityDistance(const EntityVector& a, const EntityVector& b);

// Per-bit majority; a bit with as many ones as zeros (also: no vectors at all) comes from tie.
EntityVector EntityMajority(std::span<const EntityVector> vectors, const EntityVector& tie);

// The sixteen roles. Their numbers stand in snapshots: never change one.
enum class EntityRole : uint8_t {
  kName = 0,
  kType = 1,
  kGender = 2,
  kNumber = 3,
  kLocation = 4,
  kOwner = 5,
  kTime = 6,
  kValue = 7,
  kPart = 8,
  kState = 9,
  kCause = 10,
  kGoal = 11,
  kSource = 12,
  kRelation = 13,
  kTitle = 14,
  kOther = 15,
};
inline constexpr int kEntityRoles = 16;

// The codes of one codebook seed: blocks b = 0..3 of a code are the Philox blocks (purpose 4,
// stream first + b, index) and fill bits 128 b .. 128 b + 127; first is 128 for roles, 132 for
// slots, 136 for fillers, 140 for the tie vector (index 0). Text features use streams 0..127.
// Immutable.
class EntityCodes {
 public:
  explicit EntityCodes(uint64_t seed);

  const EntityVector& Role(EntityRole role) const { return roles_[static_cast<size_t>(role)]; }
  EntityVector Slot(uint8_t slot) const;
  EntityVector Filler(uint32_t filler) const;
  const EntityVector& tie() const { return tie_; }

  // role XOR filler: the entity_delta of a certificate, which knows no slot (ERRATA on A.2 and
  // C.5). XOR the slot's code makes the term that a digest holds.
  EntityVector Delta(EntityRole role, uint32_t filler) const { return Role(role) ^ Filler(filler); }

 private:
  uint64_t seed_;
  std::array<EntityVector, kEntityRoles> roles_;
  EntityVector tie_;
};

}  // namespace chimera
