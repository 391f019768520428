#include "cluster/mask_cache.h"

#include "gtest/gtest.h"

namespace chimera {
namespace {

TEST(MaskCache, HoldsMasksByTheirContent) {
  MaskCache cache;
  const NodeMask mask = {1, uint64_t{1} << 63, 0};
  EXPECT_EQ(cache.Find(MaskId(mask)), nullptr);
  ASSERT_TRUE(cache.Put(MaskId(mask), MaskBytes(mask)).ok());
  ASSERT_NE(cache.Find(MaskId(mask)), nullptr);
  EXPECT_EQ(*cache.Find(MaskId(mask)), mask);
  EXPECT_EQ(MaskBytes({0x0102})[0], 2);
}

TEST(MaskCache, RefusesWhatIsNoMask) {
  MaskCache cache;
  EXPECT_FALSE(cache.Put(1, "").ok());
  EXPECT_FALSE(cache.Put(1, "1234567").ok());
  EXPECT_FALSE(cache.Put(1, "12345678").ok());  // another content
  const NodeMask huge(MaskCache::kMaskBytesMax / 8 + 1);
  EXPECT_FALSE(cache.Put(MaskId(huge), MaskBytes(huge)).ok());
}

TEST(MaskCache, TheLeastRecentlyUsedLeave) {
  MaskCache cache(24);
  const NodeMask a = {1}, b = {2}, c = {3}, d = {4};
  for (const NodeMask* mask : {&a, &b, &c}) {
    ASSERT_TRUE(cache.Put(MaskId(*mask), MaskBytes(*mask)).ok());
  }
  ASSERT_NE(cache.Find(MaskId(a)), nullptr);
  ASSERT_TRUE(cache.Put(MaskId(d), MaskBytes(d)).ok());
  EXPECT_EQ(cache.Find(MaskId(b)), nullptr);
  EXPECT_NE(cache.Find(MaskId(a)), nullptr);
}

}  // namespace
}  // namespace chimera
