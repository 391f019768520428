#include "decode/row_set.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/philox.h"

namespace chimera {
namespace {

// Positions, ids and tiles against a plain list.
void Check(const RowSet& set, int vocab, AllowedRows allowed, const std::vector<uint64_t>& mask) {
  std::vector<int32_t> ids, tiles;
  for (int id = 0; id < vocab; ++id) {
    const bool in = allowed.Has(id) && (mask.empty() || (mask[size_t(id / 64)] >> (id % 64) & 1));
    EXPECT_EQ(set.Position(id), in ? static_cast<int>(ids.size()) : -1) << id;
    EXPECT_EQ(set.TileBits(id / kHeadTile) >> (id % kHeadTile) & 1, in ? 1u : 0u) << id;
    if (!in) continue;
    ids.push_back(id);
    if (tiles.empty() || tiles.back() != id / kHeadTile) tiles.push_back(id / kHeadTile);
  }
  ASSERT_EQ(set.size(), static_cast<int>(ids.size()));
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(set.IdAt(static_cast<int>(i)), ids[i]);
  ASSERT_EQ(std::vector<int32_t>(set.tiles().begin(), set.tiles().end()), tiles);
  for (size_t i = 0; i < tiles.size(); ++i) EXPECT_EQ(set.TileIndex(tiles[i]), i);
}

TEST(RowSet, EqualsThePlainList) {
  const PhiloxStream rng(1, RngPurpose::kDataShuffle, 0);
  for (const int vocab : {1, 16, 63, 64, 65, 333, 1080}) {
    const AllowedRows allowed{std::max(1, vocab - 56), vocab > 57 ? vocab - 50 : 0};
    RowSet set(vocab, allowed);
    Check(set, vocab, allowed, {});
    for (uint32_t keep : {1u, 30u, 64u}) {
      std::vector<uint64_t> mask((static_cast<size_t>(vocab) + 63) / 64);
      for (size_t i = 0; i < mask.size() * 64; ++i) {  // bits beyond the vocabulary too
        if (i == 0 || rng.Word(i + keep) % 64 < keep) mask[i / 64] |= uint64_t{1} << (i % 64);
      }
      ASSERT_TRUE(set.Set(mask).ok());
      Check(set, vocab, allowed, mask);
      ASSERT_TRUE(set.Set({}).ok());
      Check(set, vocab, allowed, {});
    }
  }
}

TEST(RowSet, MasksThatLeaveNothingAreRefused) {
  RowSet set(100, {60, 70});
  std::vector<uint64_t> mask(2);
  EXPECT_EQ(set.Set(mask).code(), absl::StatusCode::kInvalidArgument);
  mask[1] = uint64_t{1} << 5;  // id 69, a special
  EXPECT_EQ(set.Set(mask).code(), absl::StatusCode::kInvalidArgument);
  mask[1] = uint64_t{1} << 6;  // end-of-text
  ASSERT_TRUE(set.Set(mask).ok());
  EXPECT_EQ(set.IdAt(0), 70);
  EXPECT_EQ(set.Set(std::vector<uint64_t>(3, 1)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(set.size(), 1) << "a mask of another size changes nothing";
  EXPECT_TRUE(set.Set({}).ok());
  EXPECT_EQ(set.size(), 61);
}

}  // namespace
}  // namespace chimera
