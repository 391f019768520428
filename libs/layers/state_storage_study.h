// What keeping a recurrent state in bf16 does to the outputs: one head decodes random tokens twice,
// once in float and once with its state rounded every so many tokens. For the test and the bench.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "layers/gated_delta.h"
#include "layers/mlstm.h"
#include "tensor/kernels.h"

namespace chimera {

enum class StateRounding { kNearest, kStochastic };

struct DriftSetup {
  int tokens = 10'000;
  int every = 1;  // tokens between roundings
  StateRounding rounding = StateRounding::kNearest;
  bool round_frame = false;  // the mLSTM's m too
};

// Errors of the output elements over the root mean square of the exact outputs, and of the state at
// the end over its norm.
struct Drift {
  double mean = 0, max = 0, state = 0;
};

class DriftNoise {
 public:
  float Uniform() {  // [-1, 1)
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<float>(static_cast<int32_t>(state_ >> 33) - (1 << 30)) / (1 << 30);
  }
  uint32_t Bits16() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 48);
  }
  void Fill(float* x, int n) {
    for (int i = 0; i < n; ++i) x[i] = Uniform();
  }

 private:
  uint64_t state_ = 20240601;
};

inline void RoundForStudy(StateRounding rounding, DriftNoise* noise, float* x, int n) {
  if (rounding == StateRounding::kNearest) {
    Kernels().round_bf16(x, n, x);
    return;
  }
  for (int i = 0; i < n; ++i) {  // up with the probability of the part that is cut off
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof(bits));
    bits = (bits + noise->Bits16()) & 0xffff0000u;
    std::memcpy(x + i, &bits, sizeof(bits));
  }
}

// Sums of errors while a stream runs.
class DriftMeter {
 public:
  void Add(const float* exact, const float* rounded, int n) {
    for (int i = 0; i < n; ++i) {
      const double error = std::abs(static_cast<double>(rounded[i]) - exact[i]);
      sum_ += error;
      squares_ += static_cast<double>(exact[i]) * exact[i];
      if (!(error <= max_)) max_ = error;
      ++count_;
    }
  }
  Drift Result(const float* exact, const float* rounded, int n) const {
    const double rms = std::sqrt(squares_ / count_);
    double apart = 0, norm = 0;
    for (int i = 0; i < n; ++i) {
      apart += std::pow(static_cast<double>(rounded[i]) - exact[i], 2);
      norm += static_cast<double>(exact[i]) * exact[i];
    }
    return {sum_ / count_ / rms, max_ / rms, std::sqrt(apart / norm)};
  }

 private:
  double sum_ = 0, squares_ = 0, max_ = 0;
  double count_ = 0;
};

// Unit keys and queries, values in [-1, 1), fixed gates, start state of order one.
inline Drift GatedDeltaDrift(const DriftSetup& setup, float g, float beta) {
  DriftNoise noise, coin;
  std::vector<float> exact(kHeadState), rounded;
  noise.Fill(exact.data(), kHeadState);
  rounded = exact;
  DriftMeter meter;
  float q[kHeadDim], k[kHeadDim], v[kHeadDim], o[kHeadDim], o_rounded[kHeadDim];
  for (int t = 0; t < setup.tokens; ++t) {
    noise.Fill(q, kHeadDim), noise.Fill(k, kHeadDim), noise.Fill(v, kHeadDim);
    GatedDelta().l2norm(q, 1, q, nullptr);
    GatedDelta().l2norm(k, 1, k, nullptr);
    GatedDelta().step(exact.data(), q, k, v, g, beta, o);
    GatedDelta().step(rounded.data(), q, k, v, g, beta, o_rounded);
    if ((t + 1) % setup.every == 0) {
      RoundForStudy(setup.rounding, &coin, rounded.data(), kHeadState);
    }
    meter.Add(o, o_rounded, kHeadDim);
  }
  return meter.Result(exact.data(), rounded.data(), kHeadState);
}

// Gates i and f (capped) plus uniform noise of +-1; keys, queries and values in [-1, 1).
inline Drift MlstmDrift(const DriftSetup& setup, float i, float f) {
  DriftNoise noise, coin;
  struct State {
    std::vector<float> c = std::vector<float>(kHeadState), n = std::vector<float>(kHeadDim);
    float m = 0;
  } exact, rounded;
  DriftMeter meter;
  float q[kHeadDim], k[kHeadDim], v[kHeadDim], h[kHeadDim], h_rounded[kHeadDim];
  for (int t = 0; t < setup.tokens; ++t) {
    noise.Fill(q, kHeadDim), noise.Fill(k, kHeadDim), noise.Fill(v, kHeadDim);
    const float it = i + noise.Uniform(), ft = f + noise.Uniform();
    Mlstm().step(exact.c.data(), exact.n.data(), &exact.m, q, k, v, it, ft, h);
    Mlstm().step(rounded.c.data(), rounded.n.data(), &rounded.m, q, k, v, it, ft, h_rounded);
    if ((t + 1) % setup.every == 0) {
      RoundForStudy(setup.rounding, &coin, rounded.c.data(), kHeadState);
      RoundForStudy(setup.rounding, &coin, rounded.n.data(), kHeadDim);
      if (setup.round_frame) RoundForStudy(setup.rounding, &coin, &rounded.m, 1);
    }
    meter.Add(h, h_rounded, kHeadDim);
  }
  // Both in the frame of the exact state.
  const float shift = std::exp(rounded.m - exact.m);
  for (float& x : rounded.c) x *= shift;
  return meter.Result(exact.c.data(), rounded.c.data(), kHeadState);
}

}  // namespace chimera
