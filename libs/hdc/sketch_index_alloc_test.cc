// Searches allocate nothing once their scratch has grown.
#include <vector>

#include "base/alloc_testing.h"
#include "gtest/gtest.h"
#include "hdc/search_bench.h"
#include "hdc/sketch_index.h"

namespace chimera {
namespace {

TEST(SketchIndexAllocations, ASearchAllocatesNothing) {
  SketchIndex index = *SketchIndex::Create(6000, 1);
  for (uint64_t n = 0; n < 6000; ++n) ASSERT_TRUE(index.Insert(n, RandomVector(1, n)).ok());
  SearchScratch scratch;
  std::vector<SketchMatch> found;
  const auto search = [&](uint64_t q) {
    const HyperVector query = Flipped(RandomVector(1, q), 0.1, q);
    for (const SearchPolicy& policy : {kScan, kExactProbing, kFlipsOnAll}) {
      index.Nearest(query, 8, policy, &scratch, &found);
      ASSERT_EQ(found.front().id, q);
    }
  };
  for (uint64_t q = 0; q < 300; ++q) search(q);
  const long before = Allocations();
  for (uint64_t q = 0; q < 300; ++q) search(q);
  EXPECT_EQ(Allocations() - before, 0);
}

}  // namespace
}  // namespace chimera
