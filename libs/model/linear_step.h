// Norm, int8 activations and linear maps of the serving plane, for up to max_tokens tokens at once.
// The norm and the quantised vector are made once and shared by every map that reads them
// (math-backbone 8.1).
#pragma once

#include <cstdint>
#include <span>

#include "base/exec_context.h"
#include "base/huge_pages.h"
#include "model/weights.h"

namespace chimera {

// Rows [first, first + count) of the normalised ones, and the map they go through.
struct RowGroup {
  LinearView w;
  int first = 0;
  int count = 0;
};

// Scratch of a running stream: nothing allocates after the constructor. Thread-compatible.
class LinearStep {
 public:
  // widest: the most columns of any input.
  LinearStep(bool quantized, int max_tokens, int widest, ExecContext* exec);
  // Bytes of the buffers of such a one.
  static int64_t Bytes(int max_tokens, int widest);

  // normed = gamma * RMSNorm(in), in [n][cols], and its int8 form when the model is quantised.
  void Norm(const float* in, const float* gamma, int n, int cols);
  // Takes rows that are normalised already.
  void Load(const float* in, int n, int cols);

  // Row i becomes row rows[i] of another one.
  void Gather(const LinearStep& from, const int32_t* rows, int n, int cols);
  // Norm of one row, which other threads may call for other rows.
  void NormRow(const float* in, const float* gamma, int row, int cols);

  // out[t][row] = w * normed[t], with the correction of the map when it has one, for the n tokens
  // of the last Norm or Load.
  void Linear(const LinearView& w, int n, float* out);
  // The rows of tiles [tile_begin, tile_end) only; out is indexed by the absolute row.
  void LinearTiles(const LinearView& w, int tile_begin, int tile_end, int n, float* out,
                   int64_t out_stride);
  // out[t][row] = w * normed[t] for the rows t of each group, whose maps have one shape and no
  // correction.
  void LinearGroups(std::span<const RowGroup> groups, float* out);
  // Logits out[t][row] of the n tokens of the last Norm or Load.
  void Head(const HeadView& head, int n, float* out);
  // Of the first of them, the listed tiles only, 16 values each (model/head.h).
  void HeadOfTiles(const HeadView& head, std::span<const int32_t> tiles, float* out);

  const float* normed() const { return normed_.data(); }

 private:
  // Rows [first, first + n) of normed_.
  void Quantize(int first, int n, int cols);
  // Row tiles [begin, end) for rows [first, first + n) of normed_, without the correction.
  void Product(const LinearView& w, int begin, int end, int first, int n, float* out,
               int64_t out_stride) const;

  const bool quantized_;
  ExecContext* const exec_;
  BufferVector<float> normed_;
  BufferVector<int8_t> q_;
  BufferVector<float> scales_;
  BufferVector<int32_t> sums_;
  BufferVector<float> low_;  // [max_tokens][kLowRank]
};

}  // namespace chimera
