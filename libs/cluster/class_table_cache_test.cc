#include "cluster/class_table_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace chimera {
namespace {

absl::Status Put(ClassTableCache* cache, const ClassTable& table) {
  return cache->Put(ClassTableId(table), ClassTableBytes(table));
}

TEST(ClassTableCache, HoldsTablesByTheirContent) {
  ClassTableCache cache;
  const ClassTable table = {0, 63, 7};
  EXPECT_EQ(cache.Find(ClassTableId(table)), nullptr);
  ASSERT_TRUE(Put(&cache, table).ok());
  ASSERT_NE(cache.Find(ClassTableId(table)), nullptr);
  EXPECT_EQ(*cache.Find(ClassTableId(table)), table);
}

TEST(ClassTableCache, RefusesWhatIsNoTable) {
  ClassTableCache cache;
  EXPECT_FALSE(Put(&cache, {}).ok());
  EXPECT_FALSE(cache.Put(1, "123").ok());  // another content
  EXPECT_THAT(std::string(Put(&cache, {1, 2, 64}).message()),
              testing::HasSubstr("class 64 of token 2 is outside 0..63"));
  EXPECT_FALSE(Put(&cache, ClassTable(ClassTableCache::kTableBytesMax + 1)).ok());
}

TEST(ClassTableCache, TheLeastRecentlyUsedLeave) {
  ClassTableCache cache(3);
  const ClassTable a = {1}, b = {2}, c = {3}, d = {4};
  for (const ClassTable* table : {&a, &b, &c}) ASSERT_TRUE(Put(&cache, *table).ok());
  ASSERT_NE(cache.Find(ClassTableId(a)), nullptr);
  ASSERT_TRUE(Put(&cache, d).ok());
  EXPECT_EQ(cache.Find(ClassTableId(b)), nullptr);
  EXPECT_NE(cache.Find(ClassTableId(a)), nullptr);
}

}  // namespace
}  // namespace chimera
