#include "model/linear_step.h"

#include <algorithm>
#include <cstring>

#include "base/parallel_range.h"
#include "layers/low_rank.h"
#include "layers/rms_norm.h"
#include "model/dense.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

// Guesses of speed that only decide whether other threads are woken.
constexpr int64_t kMacsPerNs = 100;
constexpr int64_t kFloatsPerNs = 2;

// Runs part(begin, end) over the row tiles of n tokens. Every row is its own sum, so the cut
// changes nothing.
template <typename Part>
void ForTiles(ExecContext* exec, int begin, int end, int n, int64_t macs, const Part& part) {
  ParallelRange(exec, end - begin, macs / kMacsPerNs, TilesTogether(n),
                [&](int64_t first, int64_t last) {
                  part(begin + static_cast<int>(first), begin + static_cast<int>(last));
                });
}

}  // namespace

LinearStep::LinearStep(bool quantized, int max_tokens, int widest, ExecContext* exec)
    : quantized_(quantized), exec_(exec) {
  const size_t floats = static_cast<size_t>(max_tokens) * static_cast<size_t>(widest);
  normed_.resize(floats);
  q_.resize(floats);
  scales_.resize(floats / kActBlock);
  sums_.resize(floats / kActBlock);
  low_.resize(static_cast<size_t>(max_tokens) * kLowRank);
}

int64_t LinearStep::Bytes(int max_tokens, int widest) {
  // Floats, int8 form, scales and sums of blocks.
  const int64_t values = int64_t{max_tokens} * widest;
  return values * 5 + values / kActBlock * 8 + int64_t{max_tokens} * kLowRank * 4;
}

void LinearStep::Norm(const float* in, const float* gamma, int n, int cols) {
  ParallelRange(exec_, n, int64_t{n} * cols / kFloatsPerNs, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * cols;
    const int rows = static_cast<int>(end - begin);
    RmsNorm().forward(in + at, gamma, rows, cols, normed_.data() + at, nullptr);
    Quantize(static_cast<int>(begin), rows, cols);
  });
}

void LinearStep::Load(const float* in, int n, int cols) {
  if (in != normed_.data()) {
    std::memcpy(normed_.data(), in,
                static_cast<size_t>(n) * static_cast<size_t>(cols) * sizeof(float));
  }
  ParallelRange(exec_, n, int64_t{n} * cols / kFloatsPerNs, [&](int64_t begin, int64_t end) {
    Quantize(static_cast<int>(begin), static_cast<int>(end - begin), cols);
  });
}

void LinearStep::Gather(const LinearStep& from, const int32_t* rows, int n, int cols) {
  const int64_t blocks = cols / kActBlock;
  ParallelRange(exec_, n, int64_t{n} * cols / kFloatsPerNs, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = rows[i];
      if (!quantized_) {
        std::copy_n(from.normed_.data() + row * cols, cols, normed_.data() + i * cols);
        continue;
      }
      std::copy_n(from.q_.data() + row * cols, cols, q_.data() + i * cols);
      std::copy_n(from.scales_.data() + row * blocks, blocks, scales_.data() + i * blocks);
      std::copy_n(from.sums_.data() + row * blocks, blocks, sums_.data() + i * blocks);
    }
  });
}

void LinearStep::NormRow(const float* in, const float* gamma, int row, int cols) {
  RmsNorm().forward(in, gamma, 1, cols, normed_.data() + int64_t{row} * cols, nullptr);
  Quantize(row, 1, cols);
}

void LinearStep::Quantize(int first, int n, int cols) {
  if (!quantized_) return;
  const int64_t at = int64_t{first} * cols, block = at / kActBlock;
  QuantizeActivations(normed_.data() + at, n, cols, q_.data() + at, scales_.data() + block,
                      sums_.data() + block);
}

void LinearStep::Linear(const LinearView& w, int n, float* out) {
  LinearTiles(w, 0, RowTiles(w.rows), n, out, w.rows);
}

void LinearStep::LinearTiles(const LinearView& w, int tile_begin, int tile_end, int n, float* out,
                             int64_t out_stride) {
  if (w.dense != nullptr) return Product(w, tile_begin, tile_end, 0, n, out, out_stride);
  if (w.low_rank.a != nullptr) {
    LowRank().down(w.low_rank.a, w.low_rank.gate, w.cols, normed_.data(), n, low_.data());
  }
  const int64_t macs = int64_t{tile_end - tile_begin} * kRowTile * w.cols * n;
  ForTiles(exec_, tile_begin, tile_end, n, macs, [&](int begin, int end) {
    Product(w, begin, end, 0, n, out, out_stride);
    if (w.low_rank.a != nullptr) {
      LowRank().up(w.low_rank.lanes, w.rows, begin, end, low_.data(), n, out, out_stride);
    }
  });
}

void LinearStep::Product(const LinearView& w, int begin, int end, int first, int n, float* out,
                         int64_t out_stride) const {
  const int64_t at = int64_t{first} * w.cols, block = at / kActBlock;
  float* const y = out + first * out_stride;
  if (w.dense != nullptr) {
    const int row = begin * kRowTile, rows = std::min(end * kRowTile, w.rows) - row;
    return DenseRows(w.dense + int64_t{row} * w.cols, rows, w.cols, normed_.data() + at, n, y + row,
                     out_stride);
  }
  TernaryGemm(w.ternary, begin, end, n, q_.data() + at, scales_.data() + block,
              sums_.data() + block, y, out_stride);
}

void LinearStep::LinearGroups(std::span<const RowGroup> groups, float* out) {
  int64_t macs = 0;
  int most = 0;
  for (const RowGroup& g : groups) {
    macs += int64_t{g.w.rows} * g.w.cols * g.count;
    most = std::max(most, g.count);
  }
  ParallelRanges(exec_, static_cast<int64_t>(groups.size()), RowTiles(groups[0].w.rows),
                 macs / kMacsPerNs, TilesTogether(most),
                 [&](int64_t i, int64_t begin, int64_t end) {
                   const RowGroup& g = groups[static_cast<size_t>(i)];
                   Product(g.w, static_cast<int>(begin), static_cast<int>(end), g.first, g.count,
                           out, g.w.rows);
                 });
}

void LinearStep::Head(const HeadView& head, int n, float* out) {
  const HeadInput in = {normed_.data(), q_.data(), scales_.data(), sums_.data()};
  const int64_t macs = int64_t{head.rows} * head.cols * n;
  ForTiles(exec_, 0, RowTiles(head.rows), n, macs,
           [&](int begin, int end) { HeadProduct(head, begin, end, in, n, out); });
}

void LinearStep::HeadOfTiles(const HeadView& head, std::span<const int32_t> tiles, float* out) {
  const HeadInput in = {normed_.data(), q_.data(), scales_.data(), sums_.data()};
  const int n_tiles = static_cast<int>(tiles.size());
  const int64_t macs = int64_t{n_tiles} * kRowTile * head.cols;
  ForTiles(exec_, 0, n_tiles, 1, macs, [&](int begin, int end) {
    HeadTiles(head, tiles.data() + begin, end - begin, in, out + int64_t{begin} * kRowTile);
  });
}

}  // namespace chimera
