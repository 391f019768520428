#include "hdc/entity_table.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/alloc_testing.h"
#include "base/philox.h"
#include "gtest/gtest.h"
#include "hdc/golden_hdc.h"

namespace chimera {
namespace {

const EntityCodes& Codes() {
  static const EntityCodes codes(0x5EED);
  return codes;
}

EntityVector OfHex(const std::string& hex) {
  EntityVector v;
  for (size_t i = 0; i < hex.size() / 2; ++i) {
    const uint64_t byte = std::stoul(hex.substr(2 * i, 2), nullptr, 16);
    v.words[i / 8] |= byte << (8 * (i % 8));
  }
  return v;
}

// The obvious twin of the digest.
EntityVector NaiveDigest(const EntityTable& table) {
  EntityVector digest;
  for (int slot = 0; slot < kEntitySlots; ++slot) {
    for (const EntityTerm& term : table.terms(static_cast<uint8_t>(slot))) {
      digest ^= Codes().Slot(static_cast<uint8_t>(slot));
      digest ^= Codes().Role(term.role);
      digest ^= Codes().Filler(term.filler);
    }
  }
  return digest;
}

EntityTerm TermOf(int role, uint32_t filler) {
  return {.role = static_cast<EntityRole>(role), .filler = filler};
}

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(EntityCodes, DeltaIsRoleXorFillerAsInTheGoldenFile) {
  const nlohmann::json golden = GoldenHdcCase("certificate");
  EXPECT_EQ(OfHex(golden["role"]) ^ OfHex(golden["filler"]), OfHex(golden["entity_delta"]));
  EXPECT_EQ(Codes().Delta(EntityRole::kOwner, 7),
            Codes().Role(EntityRole::kOwner) ^ Codes().Filler(7));
}

TEST(EntityCodes, AreUnrelated) {
  std::vector<EntityVector> all = {Codes().tie()};
  for (int r = 0; r < kEntityRoles; ++r) all.push_back(Codes().Role(static_cast<EntityRole>(r)));
  for (uint8_t i = 0; i < 60; ++i) all.push_back(Codes().Slot(i));
  for (uint32_t i = 0; i < 60; ++i) all.push_back(Codes().Filler(i));
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t j = 0; j < i; ++j) ASSERT_NEAR(EntityDistance(all[i], all[j]), 256, 6 * 11.3);
  }
}

TEST(EntityTable, DigestIsTheSumOfTheLiveTermsAfterAnySequence) {
  EntityTable table(&Codes());
  const PhiloxStream dice(5, RngPurpose::kDataShuffle, 0);
  const EntityVector empty = table.digest();
  for (uint64_t step = 0; step < 6000; ++step) {
    const PhiloxBlock roll = dice.Block(step);
    const auto slot = static_cast<uint8_t>(roll[0]);
    const EntityTerm term = TermOf(static_cast<int>(roll[1] % 16), roll[2] % 40);
    const auto have = table.terms(slot);
    const bool there = std::find(have.begin(), have.end(), term) != have.end();
    switch (roll[3] % 8) {
      case 0:
        ASSERT_TRUE(table.Open().ok());
        break;
      case 1:
        if (roll[3] % 128 == 1) table.Close(slot);
        break;
      case 2:
        if (!have.empty()) {
          const EntityTerm gone = have[roll[2] % have.size()];
          ASSERT_TRUE(table.Undo(slot, gone).ok());
        }
        break;
      case 3:
        ASSERT_EQ(table.Undo(slot, term).ok(), there);
        break;
      default: {
        const bool fits = table.IsOpen(slot) && !there && have.size() < kEntityTermsMax;
        ASSERT_EQ(table.Apply(slot, term).ok(), fits);
      }
    }
    if (step % 50 != 0) continue;
    ASSERT_EQ(table.digest(), NaiveDigest(table)) << step;
    std::vector<EntityVector> bound;
    for (const EntityTerm& t : table.terms(slot)) bound.push_back(Codes().Delta(t.role, t.filler));
    ASSERT_EQ(table.record(slot), EntityMajority(bound, Codes().tie()));
  }
  for (int slot = 0; slot < kEntitySlots; ++slot) table.Close(static_cast<uint8_t>(slot));
  EXPECT_EQ(table.digest(), empty);
  EXPECT_EQ(table.Recent().size, 0);
}

TEST(EntityTable, UndoInAnyOrderIsApplyBackwards) {
  EntityTable table(&Codes());
  const uint8_t slot = *table.Open();
  ASSERT_TRUE(table.Apply(slot, TermOf(0, 10)).ok());
  const EntityVector digest = table.digest(), record = table.record(slot);
  for (const uint32_t filler : {1u, 2u, 3u}) ASSERT_TRUE(table.Apply(slot, TermOf(4, filler)).ok());
  for (const uint32_t filler : {2u, 3u, 1u}) ASSERT_TRUE(table.Undo(slot, TermOf(4, filler)).ok());
  EXPECT_EQ(table.digest(), digest);
  EXPECT_EQ(table.record(slot), record);
  // The term of the digest is the certificate's delta in the slot chosen at commit.
  EntityVector with = digest;
  with ^= Codes().Delta(EntityRole::kValue, 99);
  with ^= Codes().Slot(slot);
  ASSERT_TRUE(table.Apply(slot, {.role = EntityRole::kValue, .filler = 99}).ok());
  EXPECT_EQ(table.digest(), with);
}

TEST(EntityTable, CleanUpIsRightForUpToFiveFillers) {
  for (const int n_terms : {1, 3, 5}) {
    int right = 0, all = 0;
    for (uint32_t round = 0; round < 8; ++round) {
      EntityTable table(&Codes());
      for (uint32_t e = 0; e < kEntitySlots; ++e) {
        const uint8_t slot = *table.Open();
        for (int t = 0; t < n_terms; ++t) {
          const uint32_t filler = round * 100000 + e * 16 + static_cast<uint32_t>(t);
          ASSERT_TRUE(table.Apply(slot, TermOf(3 * t, filler)).ok());
        }
      }
      for (const uint8_t slot : table.Recent().span()) {
        for (const EntityTerm& term : table.terms(slot)) {
          const CleanUp got = table.Recall(slot, term.role);
          right += got.outcome == CleanUp::Outcome::kAccepted && got.filler == term.filler;
          ++all;
        }
      }
    }
    EXPECT_GE(right, 0.999 * all) << n_terms << ": " << right << " of " << all;
  }
}

TEST(EntityTable, CleanUpHasThreeAnswers) {
  EntityTable table(&Codes());
  EXPECT_EQ(table.Clean(Codes().Filler(1)).outcome, CleanUp::Outcome::kRejected);
  const uint8_t slot = *table.Open();
  ASSERT_TRUE(table.Apply(slot, TermOf(1, 77)).ok());
  EntityVector noisy = Codes().Filler(77);
  for (int flipped = 0; flipped < kEntityBits / 2; ++flipped) {
    const CleanUp got = table.Clean(noisy);
    EXPECT_EQ(got.distance, flipped);
    EXPECT_EQ(got.filler, 77u);
    EXPECT_EQ(got.outcome, flipped <= 200  ? CleanUp::Outcome::kAccepted
                           : flipped < 225 ? CleanUp::Outcome::kUnknown
                                           : CleanUp::Outcome::kRejected);
    noisy.words[flipped / 64] ^= uint64_t{1} << (flipped % 64);
  }
  // A role that nothing was said about is not made up.
  EXPECT_EQ(table.Recall(slot, EntityRole::kOwner).outcome, CleanUp::Outcome::kRejected);
}

TEST(EntityTable, ConflictIsAnotherFillerOfTheSameRole) {
  EntityTable table(&Codes());
  const uint8_t slot = *table.Open();
  ASSERT_TRUE(table.Apply(slot, {EntityRole::kLocation, 1}).ok());
  ASSERT_TRUE(table.Apply(slot, {EntityRole::kOwner, 2}).ok());
  EXPECT_EQ(table.Conflict(slot, {EntityRole::kLocation, 2}),
            (EntityTerm{EntityRole::kLocation, 1}));
  EXPECT_EQ(table.Conflict(slot, {EntityRole::kLocation, 1}), std::nullopt);
  EXPECT_EQ(table.Conflict(slot, {EntityRole::kTime, 9}), std::nullopt);
  // Distances outside [225, 287] are no contradiction: about seven pairs in a thousand.
  int conflicts = 0, expected = 0;
  for (uint32_t filler = 100; filler < 1100; ++filler) {
    conflicts += table.Conflict(slot, {EntityRole::kLocation, filler}).has_value();
    const int distance = EntityDistance(Codes().Filler(1), Codes().Filler(filler));
    expected += distance >= 225 && distance <= 287;
  }
  EXPECT_EQ(conflicts, expected);
  EXPECT_GT(conflicts, 980);
}

TEST(EntityTable, PronounsMeanTheMostRecentThatFits) {
  constexpr uint32_t kSingular = 1, kPlural = 2, kFemale = 3, kMale = 4;
  EntityTable table(&Codes());
  const uint8_t ann = *table.Open(), bob = *table.Open(), crew = *table.Open(), it = *table.Open();
  for (const auto& [slot, number, gender] :
       {std::tuple{ann, kSingular, kFemale}, {bob, kSingular, kMale}, {crew, kPlural, kMale}}) {
    ASSERT_TRUE(table.Apply(slot, {EntityRole::kNumber, number}).ok());
    ASSERT_TRUE(table.Apply(slot, {EntityRole::kGender, gender}).ok());
  }
  const auto list = [](const SlotList& slots) {
    return std::vector<uint8_t>(slots.span().begin(), slots.span().end());
  };
  using Slots = std::vector<uint8_t>;
  EXPECT_EQ(list(table.Recent()), (Slots{crew, bob, ann, it}));
  EXPECT_EQ(list(table.Candidates(kSingular, kFemale)), (Slots{ann, it}));
  EXPECT_EQ(list(table.Candidates(kPlural, std::nullopt)), (Slots{crew, it}));
  EXPECT_EQ(list(table.Candidates(std::nullopt, kMale)), (Slots{crew, bob, it}));
  table.Touch(ann);
  EXPECT_EQ(list(table.Candidates(kSingular, std::nullopt)), (Slots{ann, bob, it}));
}

TEST(EntityTable, EvictsTheOldestWithoutAPin) {
  EntityTable table(&Codes());
  for (int i = 0; i < kEntitySlots; ++i) {
    const uint8_t slot = *table.Open();
    EXPECT_EQ(slot, i);
    ASSERT_TRUE(table.Apply(slot, TermOf(0, static_cast<uint32_t>(i))).ok());
  }
  table.Pin(0, true);
  table.Touch(1);
  EXPECT_EQ(*table.Open(), 2);  // 0 is pinned, 1 was seen again
  EXPECT_TRUE(table.terms(2).empty());
  EXPECT_EQ(table.digest(), NaiveDigest(table));
  EXPECT_EQ(*table.Open(), 3);
  table.Close(0);
  EXPECT_EQ(*table.Open(), 0);  // free slots first
  EXPECT_FALSE(table.pinned(0));
  for (int i = 0; i < kEntitySlots; ++i) table.Pin(static_cast<uint8_t>(i), true);
  EXPECT_EQ(table.Open().status().message(), "entity table: all 256 slots are pinned");
}

TEST(EntityTable, ErrorsChangeNothing) {
  EntityTable table(&Codes());
  EXPECT_EQ(table.Apply(9, TermOf(0, 1)).message(), "entity slot 9 is not open");
  const uint8_t slot = *table.Open();
  for (uint32_t f = 0; f < 7; ++f) ASSERT_TRUE(table.Apply(slot, TermOf(1, f)).ok());
  const std::string before = table.Encode();
  EXPECT_EQ(table.Apply(slot, TermOf(1, 7)).message(), "entity slot 0 holds 7 terms, its limit");
  EXPECT_EQ(table.Apply(slot, TermOf(1, 3)).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(table.Apply(slot, TermOf(16, 1)).message(), "entity role 16 is not below 16");
  EXPECT_EQ(table.Undo(slot, TermOf(2, 3)).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(table.Encode(), before);
}

// Some of everything, and a full table.
EntityTable Example(int slots) {
  EntityTable table(&Codes());
  for (int i = 0; i < slots; ++i) {
    const uint8_t slot = *table.Open();
    for (int t = 0; t < i % 8; ++t) {
      EXPECT_TRUE(table.Apply(slot, TermOf(t, static_cast<uint32_t>(i * t) << 20)).ok());
    }
    if (i % 5 == 0) table.Pin(slot, true);
    if (i % 3 == 0) table.Touch(static_cast<uint8_t>(i / 2));
  }
  return table;
}

TEST(EntityTable, BytesRoundTrip) {
  for (const int slots : {0, 1, 17, 256}) {
    const EntityTable table = Example(slots);
    const std::string bytes = table.Encode();
    EXPECT_LE(bytes.size(), EntityTable::kBytesMax);
    const auto back = EntityTable::Decode(Bytes(bytes), &Codes());
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->Encode(), bytes);
    EXPECT_EQ(back->digest(), table.digest());
    for (int i = 0; i < slots; ++i) {
      const auto slot = static_cast<uint8_t>(i);
      EXPECT_EQ(back->record(slot), table.record(slot));
      EXPECT_EQ(back->pinned(slot), table.pinned(slot));
    }
  }
}

TEST(EntityTable, WrongBytesAreErrors) {
  const std::string bytes = Example(9).Encode();
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_FALSE(EntityTable::Decode(Bytes(bytes.substr(0, n)), &Codes()).ok()) << n;
  }
  EXPECT_FALSE(EntityTable::Decode(Bytes(bytes + '\0'), &Codes()).ok());
  EXPECT_FALSE(
      EntityTable::Decode(Bytes(std::string(EntityTable::kBytesMax + 1, '\1')), &Codes()).ok());
  const EntityCodes others(1);
  EXPECT_EQ(EntityTable::Decode(Bytes(bytes), &others).status().message(),
            "entity table: the digest is not that of the terms and these codes");
  // A flipped bit is refused, or is one that changes no term: the order of slots, a pin.
  const EntityVector digest = Example(9).digest();
  int taken = 0;
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string bad = bytes;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ 1 << (bit % 8));
    const auto table = EntityTable::Decode(Bytes(bad), &Codes());
    if (!table.ok()) continue;
    ++taken;
    EXPECT_EQ(table->digest(), digest);
    EXPECT_EQ(table->Encode(), bad);
  }
  EXPECT_LT(taken, 200);
}

TEST(EntityTable, NothingIsAllocatedAfterConstruction) {
  EntityTable table(&Codes());
  const long before = Allocations();
  for (uint32_t i = 0; i < 2000; ++i) {
    const uint8_t slot = *table.Open();
    ASSERT_TRUE(table.Apply(slot, TermOf(2, i)).ok());
    ASSERT_TRUE(table.Apply(slot, TermOf(3, i)).ok());
    ASSERT_TRUE(table.Undo(slot, TermOf(2, i)).ok());
    if (i % 100 == 0) {
      ASSERT_EQ(table.Recall(slot, EntityRole::kNumber).filler, i);
      ASSERT_GE(table.Candidates(i, std::nullopt).size, 1);
    }
  }
  EXPECT_EQ(Allocations() - before, 0);
}

}  // namespace
}  // namespace chimera
