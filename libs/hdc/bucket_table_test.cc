// Tables of buckets against their obvious twin, a set of slots for each bucket.
#include "hdc/bucket_table.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>
#include <vector>

#include "base/philox.h"
#include "gtest/gtest.h"
#include "hdc/bucket_tables.h"

namespace chimera {
namespace {

constexpr uint64_t kSeed = 23;

std::multiset<uint32_t> SlotsOf(const BucketTable& table, uint32_t bucket) {
  std::multiset<uint32_t> slots;
  table.ForEach(bucket, [&](uint32_t slot) { slots.insert(slot); });
  return slots;
}

TEST(BucketTable, WidthsGrowByAtMostDoublingAndHoldMore) {
  std::vector<uint32_t> widths = {BucketTable::kWidthMin};
  while (widths.size() < 11) widths.push_back(BucketTable::WidthAfter(widths.back()));
  EXPECT_EQ(widths, (std::vector<uint32_t>{2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192}));
  EXPECT_EQ(BucketTable::SlotsFor(16), 245760u);
}

// A few buckets, so that chains of all lengths come and go, through three widths. Memory is filled
// with what a new table must not read.
TEST(BucketTable, EqualsTheTwin) {
  constexpr uint32_t kBuckets[] = {0, 1, 2, 77, 8191, kLshBuckets - 1};
  std::vector<std::multiset<uint32_t>> twin(kLshBuckets);
  std::vector<std::pair<uint32_t, uint32_t>> all;  // bucket, slot
  BucketTable table;                               // no rows
  std::vector<uint32_t> rows[2];
  uint32_t slot = 0;
  uint64_t word = 0;
  const PhiloxStream dice(kSeed, RngPurpose::kDataShuffle, 0);
  for (const uint32_t width : {2u, 8u, 24u}) {
    rows[1].assign(BucketTable::RowWords(width), 0xA5A5A5A5u);
    BucketTable wider(rows[1].data(), width);
    for (uint32_t bucket = 0; bucket < kLshBuckets; ++bucket) wider.Take(table, bucket);
    table = std::move(wider);
    rows[0].swap(rows[1]);
    // Up to some 50 a bucket, down to few, up again.
    for (const size_t goal : {300u, 20u, 150u}) {
      while (all.size() != goal) {
        const uint32_t chance = dice.Word(word++) % 4, pick = dice.Word(word++);
        if ((chance == 0) == (all.size() < goal) && !all.empty()) {
          std::swap(all[pick % all.size()], all.back());
          const auto [bucket, gone] = all.back();
          all.pop_back();
          table.Erase(bucket, gone);
          twin[bucket].erase(gone);
        } else {
          const uint32_t bucket = kBuckets[pick % std::size(kBuckets)];
          table.Insert(bucket, slot);
          twin[bucket].insert(slot);
          all.emplace_back(bucket, slot++);
        }
        const uint32_t looked = kBuckets[word % std::size(kBuckets)];
        ASSERT_EQ(SlotsOf(table, looked), twin[looked]) << width << " " << word;
      }
      for (uint32_t bucket = 0; bucket < kLshBuckets; ++bucket) {
        ASSERT_EQ(SlotsOf(table, bucket), twin[bucket]) << width << " " << bucket;
      }
    }
  }
}

TEST(BucketTable, ErasedPlacesOfChainsAreTakenAgain) {
  std::vector<uint32_t> rows(BucketTable::RowWords(2));
  BucketTable table(rows.data(), 2);
  for (uint32_t slot = 0; slot < 1000; ++slot) table.Insert(5, slot);
  const size_t bytes = table.MemoryBytes();
  EXPECT_LE(bytes, 1300u * 8);
  for (uint32_t round = 1; round < 4; ++round) {
    for (uint32_t slot = 0; slot < 1000; ++slot) table.Erase(5, 1000 * (round - 1) + slot);
    EXPECT_TRUE(SlotsOf(table, 5).empty());
    for (uint32_t slot = 0; slot < 1000; ++slot) table.Insert(5, 1000 * round + slot);
    EXPECT_EQ(SlotsOf(table, 5).size(), 1000u);
  }
  EXPECT_EQ(table.MemoryBytes(), bytes);
}

BucketIds RandomBuckets(uint64_t n) {
  const PhiloxStream stream(kSeed, RngPurpose::kDataShuffle, 1);
  BucketIds buckets;
  for (uint64_t t = 0; t < kLshTables; t += 4) {
    const PhiloxBlock block = stream.Block(n * (kLshTables / 4) + t / 4);
    for (size_t i = 0; i < 4; ++i) {
      buckets[t + i] = static_cast<uint16_t>(block[i] % kLshBuckets);
    }
  }
  return buckets;
}

BucketTables Ready() {
  BucketTables tables;
  int prepared = 0;
  for (; !tables.ready(); ++prepared) tables.Prepare();
  EXPECT_EQ(prepared, kLshTables);
  return tables;
}

// Of the 320 MiB at capacity the vectors take 195, ids 7, and 23 are relations and metadata.
TEST(BucketTables, CapacityFitsItsShareOfMemory) {
  constexpr uint32_t kSlots = 200000;
  BucketTables tables = Ready();
  EXPECT_EQ(tables.MemoryBytes(), 8u << 20);
  for (uint32_t slot = 0; slot < kSlots; ++slot) tables.Insert(RandomBuckets(slot), slot);
  EXPECT_GE(tables.MemoryBytes(), 64u << 20);
  EXPECT_LE(tables.MemoryBytes(), 70u << 20);
  size_t slots = 0;
  for (uint32_t bucket = 0; bucket < kLshBuckets; ++bucket) {
    tables.At(17, bucket).ForEach(bucket, [&](uint32_t) { ++slots; });
  }
  EXPECT_EQ(slots, kSlots);
}

// At any moment of a move every slot is where it was put, and in the end the narrow rows are gone.
TEST(BucketTables, NothingIsLostWhileTablesMove) {
  const auto first = static_cast<uint32_t>(BucketTable::SlotsFor(BucketTable::kWidthMin));
  BucketTables tables = Ready();
  for (uint32_t slot = 0; slot < first; ++slot) tables.Insert(RandomBuckets(slot), slot);
  const size_t before = tables.MemoryBytes();
  std::set<uint32_t> erased;
  uint32_t slot = first;
  bool both = false;
  for (; slot < first + 2000; ++slot) {
    tables.Insert(RandomBuckets(slot), slot);
    if (slot % 3 == 0) {
      tables.Erase(RandomBuckets(slot / 2), slot / 2);
      erased.insert(slot / 2);
    }
    both |= tables.MemoryBytes() >= before + (16u << 20);
    if (slot % 37 != 0) continue;
    for (const uint32_t looked : {slot, slot / 2, slot / 3, slot - 50}) {
      const BucketIds buckets = RandomBuckets(looked);
      for (size_t t = 0; t < kLshTables; ++t) {
        ASSERT_EQ(SlotsOf(tables.At(t, buckets[t]), buckets[t]).count(looked),
                  erased.contains(looked) ? 0u : 1u)
            << slot << " " << looked << " " << t;
      }
    }
  }
  EXPECT_TRUE(both);
  EXPECT_LT(tables.MemoryBytes(), 20u << 20);  // the narrow rows are gone
}

}  // namespace
}  // namespace chimera
