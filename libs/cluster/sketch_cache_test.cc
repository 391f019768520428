#include "cluster/sketch_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace chimera {
namespace {

using testing::HasSubstr;

HyperVector Numbered(uint64_t n) {
  HyperVector v = {};
  v.words[0] = n;
  v.words[kHyperWords - 1] = ~n;
  return v;
}

std::string Bytes(const HyperVector& v) {
  const auto bytes = ToBytes(v);
  return {bytes.begin(), bytes.end()};
}

TEST(SketchCache, HoldsWhatTheHashNamesAndTellsWhatIsWrong) {
  SketchCache cache;
  const HyperVector v = Numbered(5);
  EXPECT_EQ(cache.Find(SketchId(v)), nullptr);
  ASSERT_TRUE(cache.Put(SketchId(v), Bytes(v)).ok());
  ASSERT_NE(cache.Find(SketchId(v)), nullptr);
  EXPECT_EQ(*cache.Find(SketchId(v)), v);
  const absl::Status other = cache.Put(SketchId(v) + 1, Bytes(v));
  EXPECT_EQ(other.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(other.message()), HasSubstr("has the content of"));
  EXPECT_EQ(cache.Find(SketchId(v) + 1), nullptr);
  EXPECT_THAT(std::string(cache.Put(1, "short").message()),
              HasSubstr("a sketch of 5 bytes, must be 1024"));
  EXPECT_FALSE(cache.Put(1, std::string(1025, 'x')).ok());
}

TEST(SketchCache, TheLeastRecentlyUsedLeavesFirst) {
  SketchCache cache(2);
  const HyperVector a = Numbered(1), b = Numbered(2), c = Numbered(3);
  ASSERT_TRUE(cache.Put(SketchId(a), Bytes(a)).ok());
  ASSERT_TRUE(cache.Put(SketchId(b), Bytes(b)).ok());
  const auto held = cache.Find(SketchId(a));
  ASSERT_TRUE(cache.Put(SketchId(c), Bytes(c)).ok());
  EXPECT_NE(cache.Find(SketchId(a)), nullptr);
  EXPECT_EQ(cache.Find(SketchId(b)), nullptr);
  EXPECT_NE(cache.Find(SketchId(c)), nullptr);
  ASSERT_TRUE(cache.Put(SketchId(b), Bytes(b)).ok());
  EXPECT_EQ(cache.Find(SketchId(a)), nullptr);
  EXPECT_EQ(*held, a) << "what is in use outlives its place in the cache";
}

}  // namespace
}  // namespace chimera
