// The step path allocates the rows of a result and nothing else.
#include <gtest/gtest.h>

#include <vector>

#include "base/alloc_testing.h"
#include "base/philox.h"
#include "decode/logit_transform.h"

namespace chimera {
namespace {

constexpr int kVocab = 5000;
constexpr long kListsOfAResult = 3;

TEST(LogitTransformerAllocations, OnlyTheRowsOfTheResult) {
  const PhiloxStream rng(1, RngPurpose::kWeightInit, 0);
  std::vector<float> random(kVocab), equal(kVocab, 1.0f);
  std::vector<uint64_t> mask((kVocab + 63) / 64);
  for (size_t i = 0; i < random.size(); ++i) {
    random[i] = rng.Uniform(i) * 20.0f;
    if (rng.Word(i) % 3 == 0) mask[i / 64] |= uint64_t{1} << (i % 64);
  }
  const std::vector<int32_t> seen = {1, 2, 3, 2};
  LogitTransformer transformer(kVocab, {4900, 4900});
  std::vector<float> few(kVocab);
  for (const std::vector<float>* logits : {&random, &equal}) {
    for (const float top_p : {0.9f, 1.0f}) {
      const LogitTransform transform{
          .temperature = 0.7f, .repetition_penalty = 1.2f, .top_p = top_p, .omit_raw_mass = true};
      long before = Allocations();
      const auto whole = transformer.Apply(*logits, seen, {}, transform, 0, kRowsMax);
      EXPECT_EQ(Allocations() - before, kListsOfAResult);
      ASSERT_TRUE(whole.ok());
      before = Allocations();
      const auto tiles = transformer.Tiles(mask);
      EXPECT_EQ(Allocations() - before, 0);
      ASSERT_TRUE(tiles.ok());
      few.assign(logits->begin(), logits->begin() + std::ptrdiff_t(tiles->size() * kHeadTile));
      before = Allocations();
      const auto masked = transformer.ApplyTiles(few, seen, transform, 0, kRowsMax);
      EXPECT_EQ(Allocations() - before, kListsOfAResult);
      ASSERT_TRUE(masked.ok());
      EXPECT_LT(masked->allowed_rows, whole->allowed_rows);
    }
  }
}

}  // namespace
}  // namespace chimera
