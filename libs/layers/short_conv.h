// Causal depthwise convolution of width 4 followed by SiLU (math-backbone 1.1):
//   a[t][c] = sum_j w[c][j] x[t-3+j][c],   y = SiLU(a)        (w[c][3] multiplies the current
//   input)
// State: the last three inputs, oldest first, [3][channels]. Channels are independent: callers
// split over channels (offset x, y, state by c and w, dw by 4c, keep the stride).
// The tables are *immutable*.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace chimera {

inline constexpr int kConvWidth = 4;
inline constexpr int kConvState = kConvWidth - 1;  // rows of the state

// All give the same bits on every instruction set; forward and, along each path, tree equal
// repeated steps of one token bit for bit.
struct ShortConvKernels {
  // x, y: n_tokens rows of n channels at x_stride; w [n][4]; state [3] rows of n at state_stride,
  // updated. y may be x.
  void (*steps)(const float* x, int64_t x_stride, int n_tokens, const float* w, float* state,
                int64_t state_stride, int n, float* y);

  // x, y: n_tokens rows of n channels at `stride`, as are the rows of start and end.
  // start: null = zeros. end: state after the last token, may be null or start.
  // reset: null or n_tokens flags; at reset[t] != 0 everything before t is forgotten. y is not x.
  void (*forward)(const float* x, const float* w, const float* start, const uint8_t* reset,
                  int n_tokens, int64_t stride, int n, float* y, float* end);

  // A token tree: node i is convolved over itself, its ancestors, then the state, which is left
  // alone (layers/tree_walk.h, CommitShortConv). x, y: rows of n channels at x_stride and y_stride,
  // y is not x; parents[i] < i, -1 = the state.
  void (*tree)(const float* x, int64_t x_stride, const float* w, const float* state,
               int64_t state_stride, const int8_t* parents, int n_nodes, int n, float* y,
               int64_t y_stride);

  // dx (rows at `stride`) is written, dw [n][4] is added to, tokens from the last to the first.
  // The gradient into the start state is dropped (truncated). dx is neither x nor dy.
  void (*backward)(const float* x, const float* w, const float* start, const uint8_t* reset,
                   const float* dy, int n_tokens, int64_t stride, int n, float* dx, float* dw);
};

const ShortConvKernels& ShortConvFor(Isa isa);
const ShortConvKernels& ShortConv();

}  // namespace chimera
