#include "layers/titans_plan.h"

#include <algorithm>

#include "base/check.h"

namespace chimera {

TitansPlan::TitansPlan(const TrainBatch& batch, const std::vector<int64_t>& positions) {
  CHIMERA_CHECK(static_cast<int>(positions.size()) == batch.n_seqs);
  positions_.resize(static_cast<size_t>(batch.rows()));
  for (int s = 0; s < batch.n_seqs; ++s) {
    piece_begin_.push_back(static_cast<int>(pieces_.size()));
    const int64_t first = int64_t{s} * batch.seq_len;
    for (int64_t row = first; row < first + batch.seq_len; ++row) {
      const bool reset = batch.reset != nullptr && batch.reset[row] != 0;
      if (row == first || reset) {
        const auto start = static_cast<int32_t>(reset ? 0 : positions[static_cast<size_t>(s)]);
        const auto at = static_cast<int>(chunks_.size());
        pieces_.push_back({row, 0, start, start > 0, at, at});
      }
      TitansPiece& piece = pieces_.back();
      const int32_t position = piece.position + piece.n;
      const int lane = position % kTitansChunk;
      if (piece.n == 0 || lane == 0) {
        chunks_.push_back({row, 0, lane, position});
        ++piece.chunk_end;
      }
      ++chunks_.back().n;
      ++piece.n;
      positions_[static_cast<size_t>(row)] = position;
    }
  }
  piece_begin_.push_back(static_cast<int>(pieces_.size()));
}

}  // namespace chimera
