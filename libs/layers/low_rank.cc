#include "layers/low_rank.h"

#include <algorithm>

namespace chimera {

void LowRankLanes(const float* b, int rows, float* lanes) {
  std::fill(lanes, lanes + LowRankLaneFloats(rows), 0.0f);
  for (int row = 0; row < rows; ++row) {
    float* tile = lanes + static_cast<size_t>(row / kRowTile) * kRowTile * kLowRank;
    for (int k = 0; k < kLowRank; ++k) {
      tile[k * kRowTile + row % kRowTile] = b[static_cast<size_t>(row) * kLowRank + k];
    }
  }
}

}  // namespace chimera
