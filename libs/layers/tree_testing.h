// Trees for tests.
#pragma once

#include <cstdint>
#include <vector>

namespace chimera {

using Parents = std::vector<int32_t>;

inline Parents ChainParents(int n) {
  Parents parents;
  for (int i = 0; i < n; ++i) parents.push_back(i - 1);
  return parents;
}

// A root and `depth` levels of `width` nodes; node i of a level hangs below node shuffle[i] of the
// level above: some nodes branch, some end.
inline Parents LevelParents(int width, int depth, uint32_t seed) {
  Parents parents = {-1};
  for (int level = 0; level < depth; ++level) {
    const int above = static_cast<int>(parents.size()) - (level == 0 ? 1 : width);
    const uint32_t choices = level == 0 ? 1 : static_cast<uint32_t>(width);
    for (int i = 0; i < width; ++i) {
      seed = seed * 1664525u + 1013904223u;
      parents.push_back(above + static_cast<int>((seed >> 16) % choices));
    }
  }
  return parents;
}

// Parents drawn among the last `reach` nodes; small reach gives deep trees.
inline Parents RandomParents(int n, int reach, uint32_t seed) {
  Parents parents = {-1};
  for (int i = 1; i < n; ++i) {
    seed = seed * 1664525u + 1013904223u;
    const int back = 1 + static_cast<int>((seed >> 16) % static_cast<uint32_t>(reach));
    parents.push_back(back > i ? -1 : i - back);
  }
  return parents;
}

// Chains, stars, wide and random trees of 1 to 64 nodes, several with more than one root.
inline std::vector<Parents> SampleTrees() {
  return {{-1},
          ChainParents(2),
          ChainParents(64),
          Parents(64, -1),
          {-1, 0, 0, 1, 1, 2, 3, 3, 5, 8, 6},
          LevelParents(4, 5, 1),
          LevelParents(4, 5, 2),
          RandomParents(64, 64, 3),
          RandomParents(64, 5, 4),
          RandomParents(63, 2, 5),
          RandomParents(33, 12, 6),
          RandomParents(17, 3, 7)};
}

}  // namespace chimera
