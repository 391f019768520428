// Short convolution, compiled once per instruction set; see short_conv.h.
// Channels are lanes, tokens a loop: the products of one output are always added tap 0 first.
#include "layers/native_vec.h"
#include "layers/short_conv.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

struct Taps {
  F16 w[kConvWidth];
};

// Tap `Tap` of eight channels, four of each vector.
template <int Tap>
CHIMERA_VEC F16 TapOf(F16 a, F16 b) {
  return __builtin_shufflevector(a, b, Tap, Tap + 4, Tap + 8, Tap + 12, Tap + 16, Tap + 20,
                                 Tap + 24, Tap + 28, -1, -1, -1, -1, -1, -1, -1, -1);
}
CHIMERA_VEC F16 Join(F16 low, F16 high) {
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
}
CHIMERA_VEC Taps AllTaps(const float* w) {
  const F16 a = Load(w), b = Load(w + 16), c = Load(w + 32), d = Load(w + 48);
  return {Join(TapOf<0>(a, b), TapOf<0>(c, d)), Join(TapOf<1>(a, b), TapOf<1>(c, d)),
          Join(TapOf<2>(a, b), TapOf<2>(c, d)), Join(TapOf<3>(a, b), TapOf<3>(c, d))};
}

// w is [channel][tap]: the taps of `lanes` channels, one vector per tap.
CHIMERA_VEC Taps LoadTaps(const float* w, int lanes) {
  if (lanes == 16) return AllTaps(w);
  float columns[kConvWidth][16] = {};
  for (int c = 0; c < lanes; ++c) {
    for (int j = 0; j < kConvWidth; ++j) columns[j][c] = w[kConvWidth * c + j];
  }
  Taps taps;
  for (int j = 0; j < kConvWidth; ++j) taps.w[j] = Load(columns[j]);
  return taps;
}

CHIMERA_VEC F16 Correlate(const Taps& taps, F16 x0, F16 x1, F16 x2, F16 x3) {
  return Fma(taps.w[3], x3, Fma(taps.w[2], x2, Fma(taps.w[1], x1, taps.w[0] * x0)));
}

int LanesAt(int c, int n) { return n - c < 16 ? n - c : 16; }

void Steps(const float* x, int64_t x_stride, int n_tokens, const float* w, float* state,
           int64_t state_stride, int n, float* y) {
  for (int c = 0; c < n; c += 16) {
    const int lanes = LanesAt(c, n);
    const Taps taps = LoadTaps(w + int64_t{kConvWidth} * c, lanes);
    float* s = state + c;
    F16 x0 = LoadLanes(s, lanes);
    F16 x1 = LoadLanes(s + state_stride, lanes);
    F16 x2 = LoadLanes(s + 2 * state_stride, lanes);
    for (int64_t t = 0; t < n_tokens; ++t) {
      const F16 x3 = LoadLanes(x + t * x_stride + c, lanes);
      StoreLanes(y + t * x_stride + c, Silu(Correlate(taps, x0, x1, x2, x3)), lanes);
      x0 = x1;
      x1 = x2;
      x2 = x3;
    }
    StoreLanes(s, x0, lanes);
    StoreLanes(s + state_stride, x1, lanes);
    StoreLanes(s + 2 * state_stride, x2, lanes);
  }
}

void Forward(const float* x, const float* w, const float* start, const uint8_t* reset, int n_tokens,
             int64_t stride, int n, float* y, float* end) {
  for (int c = 0; c < n; c += 16) {
    const int lanes = LanesAt(c, n);
    const Taps taps = LoadTaps(w + int64_t{kConvWidth} * c, lanes);
    F16 x0 = {}, x1 = {}, x2 = {};
    if (start != nullptr) {
      x0 = LoadLanes(start + c, lanes);
      x1 = LoadLanes(start + c + stride, lanes);
      x2 = LoadLanes(start + c + 2 * stride, lanes);
    }
    for (int t = 0; t < n_tokens; ++t) {
      if (reset != nullptr && reset[t] != 0) x0 = x1 = x2 = F16{};
      const F16 x3 = LoadLanes(x + t * stride + c, lanes);
      StoreLanes(y + t * stride + c, Silu(Correlate(taps, x0, x1, x2, x3)), lanes);
      x0 = x1;
      x1 = x2;
      x2 = x3;
    }
    if (end != nullptr) {
      StoreLanes(end + c, x0, lanes);
      StoreLanes(end + c + stride, x1, lanes);
      StoreLanes(end + c + 2 * stride, x2, lanes);
    }
  }
}

void Tree(const float* x, int64_t x_stride, const float* w, const float* state,
          int64_t state_stride, const int8_t* parents, int n_nodes, int n, float* y,
          int64_t y_stride) {
  for (int c = 0; c < n; c += 16) {
    const int lanes = LanesAt(c, n);
    const Taps taps = LoadTaps(w + int64_t{kConvWidth} * c, lanes);
    for (int node = 0; node < n_nodes; ++node) {
      F16 in[kConvWidth];
      int at = node, row = kConvState;
      for (int j = kConvState; j >= 0; --j) {
        if (at >= 0) {
          in[j] = LoadLanes(x + at * x_stride + c, lanes);
          at = parents[at];
        } else {
          in[j] = LoadLanes(state + --row * state_stride + c, lanes);
        }
      }
      StoreLanes(y + node * y_stride + c, Silu(Correlate(taps, in[0], in[1], in[2], in[3])), lanes);
    }
  }
}

// Row t of the input as seen by a token no reset separates from it; t may be negative (the state).
F16 InputAt(const float* x, const float* start, int64_t t, int64_t stride, int lanes) {
  if (t >= 0) return LoadLanes(x + t * stride, lanes);
  if (start == nullptr || t < -kConvState) return F16{};
  return LoadLanes(start + (t + kConvState) * stride, lanes);
}

void Backward(const float* x, const float* w, const float* start, const uint8_t* reset,
              const float* dy, int n_tokens, int64_t stride, int n, float* dx, float* dw) {
  for (int c = 0; c < n; c += 16) {
    const int lanes = LanesAt(c, n);
    const Taps taps = LoadTaps(w + int64_t{kConvWidth} * c, lanes);
    F16 sums[kConvWidth] = {};
    F16 later[kConvState] = {};  // gradient of the pre-activation at t+1, t+2, t+3
    for (int t = n_tokens - 1; t >= 0; --t) {
      F16 in[kConvWidth] = {};  // in[3 - j] = x[t - j], zero beyond a reset
      for (int j = 0; j < kConvWidth; ++j) {
        in[kConvState - j] =
            InputAt(x + c, start == nullptr ? nullptr : start + c, t - j, stride, lanes);
        if (t - j >= 0 && reset != nullptr && reset[t - j] != 0) break;
      }
      const F16 a = Correlate(taps, in[0], in[1], in[2], in[3]);
      const F16 s = Sigmoid(a);
      const F16 da = LoadLanes(dy + t * stride + c, lanes) * (s + a * s * (1.0f - s));
      for (int j = 0; j < kConvWidth; ++j) sums[j] = sums[j] + da * in[j];
      StoreLanes(dx + t * stride + c, Correlate(taps, later[2], later[1], later[0], da), lanes);
      later[2] = later[1];
      later[1] = later[0];
      later[0] = da;
      if (reset != nullptr && reset[t] != 0) later[0] = later[1] = later[2] = F16{};
    }
    for (int j = 0; j < kConvWidth; ++j) {
      for (int l = 0; l < lanes; ++l) dw[int64_t{kConvWidth} * (c + l) + j] += sums[j][l];
    }
  }
}

}  // namespace

extern const ShortConvKernels kShortConv;
const ShortConvKernels kShortConv = {Steps, Forward, Tree, Backward};

}  // namespace CHIMERA_ISA
}  // namespace chimera
