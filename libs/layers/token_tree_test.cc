#include "layers/token_tree.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "layers/tree_testing.h"

namespace chimera {
namespace {

TokenTree Make(const Parents& parents) {
  return {parents.data(), static_cast<int>(parents.size())};
}

TEST(TokenTreeTest, SaysWhatIsWrongWithAWindow) {
  const auto problem = [](const Parents& parents) {
    return TokenTree::Problem(parents.data(), static_cast<int>(parents.size()));
  };
  EXPECT_STREQ(problem({}), "a window holds at least one node");
  EXPECT_STREQ(problem(Parents(65, -1)), "a window holds at most 64 nodes");
  EXPECT_STREQ(problem({0}), "a parent comes before its children");
  EXPECT_STREQ(problem({-1, 0, 2}), "a parent comes before its children");
  EXPECT_STREQ(problem({-1, 0, 3, 1}), "a parent comes before its children");
  EXPECT_STREQ(problem({-1, -2}), "a parent is -1 or a node of the window");
  EXPECT_EQ(problem({-1}), nullptr);
  EXPECT_EQ(problem({-1, -1}), nullptr);
  EXPECT_EQ(problem(ChainParents(64)), nullptr);
  EXPECT_DEATH(Make({-1, 1}), "check failed");
}

TEST(TokenTreeTest, KnowsPathsAncestorsAndLeaves) {
  const TokenTree tree = Make({-1, 0, 0, 1, 1, 2, 3, 3, 5, 8, 6});
  int8_t path[kTreeNodesMax];
  ASSERT_EQ(tree.Path(9, path), 5);
  EXPECT_EQ(std::vector<int>(path, path + 5), (std::vector<int>{0, 2, 5, 8, 9}));
  ASSERT_EQ(tree.Path(0, path), 1);
  EXPECT_EQ(path[0], 0);
  EXPECT_EQ(tree.path_mask(9), 0b1100100101u);
  EXPECT_EQ(tree.depth(9), 4);
  EXPECT_TRUE(tree.IsAncestorOrSelf(2, 9));
  EXPECT_TRUE(tree.IsAncestorOrSelf(9, 9));
  EXPECT_FALSE(tree.IsAncestorOrSelf(9, 2));
  EXPECT_FALSE(tree.IsAncestorOrSelf(1, 9));
  for (int i = 0; i < tree.n_nodes(); ++i) {
    EXPECT_EQ(tree.is_leaf(i), i == 4 || i == 7 || i == 9 || i == 10) << i;
  }
  EXPECT_FALSE(tree.is_chain());
  EXPECT_TRUE(Make({-1}).is_chain());
  EXPECT_TRUE(Make(ChainParents(64)).is_chain());
  EXPECT_FALSE(Make({-1, -1}).is_chain());
}

TEST(TokenTreeTest, OrderIsDepthFirstWithLeavesBeforeTheirSiblings) {
  const TokenTree golden = Make({-1, 0, 0, 1, 1, 2, 3, 3, 5, 8, 6});
  EXPECT_EQ(std::vector<int>(golden.order(), golden.order() + 11),
            (std::vector<int>{0, 1, 4, 3, 7, 6, 10, 2, 5, 8, 9}));
  for (const Parents& parents : SampleTrees()) {
    const TokenTree tree = Make(parents);
    std::vector<int> place(parents.size(), -1);
    for (int i = 0; i < tree.n_nodes(); ++i) place[tree.order()[i]] = i;
    for (int i = 0; i < tree.n_nodes(); ++i) {
      ASSERT_GE(place[i], 0) << "every node once";
      if (tree.parent(i) >= 0) {
        EXPECT_LT(place[tree.parent(i)], place[i]);
      }
      for (int j = 0; j < tree.n_nodes(); ++j) {
        const bool siblings = i != j && tree.parent(i) == tree.parent(j);
        if (siblings && tree.is_leaf(i) && !tree.is_leaf(j)) {
          EXPECT_LT(place[i], place[j]);
        }
        // Depth first: what stands between a node and one of its descendants descends from it too.
        if (!tree.IsAncestorOrSelf(i, j)) continue;
        for (int p = place[i]; p <= place[j]; ++p) {
          EXPECT_TRUE(tree.IsAncestorOrSelf(i, tree.order()[p]));
        }
      }
    }
  }
}

TEST(TokenTreeTest, CountsWhatAWalkPays) {
  const auto cost = [](const Parents& parents) {
    const TokenTree tree = Make(parents);
    return std::pair(tree.walk_writes(), tree.walk_copies());
  };
  EXPECT_EQ(cost({-1}), std::pair(0, 0));
  EXPECT_EQ(cost(ChainParents(64)), std::pair(63, 1));
  EXPECT_EQ(cost(Parents(64, -1)), std::pair(0, 0));   // alternatives of one token
  EXPECT_EQ(cost({-1, 0, 0, 0, 0}), std::pair(1, 1));  // leaves share their parent's state
  EXPECT_EQ(cost({-1, 0, 1, 0, 3}), std::pair(4, 2));  // 0, 1; again 0, then 3
  EXPECT_EQ(cost({-1, 0, 1, 1, 0}), std::pair(2, 1));  // one inner child: no way back
  EXPECT_EQ(cost({-1, 0, 0, 1, 1, 2, 3, 3, 5, 8, 6}), std::pair(8, 2));
}

}  // namespace
}  // namespace chimera
