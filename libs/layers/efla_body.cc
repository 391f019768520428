// Gates of the exact delta rule, compiled once per instruction set; see efla.h. Heads are lanes.
#include "layers/efla.h"
#include "layers/head.h"
#include "layers/native_vec.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

// Below this x = beta lambda the closed forms cancel; the series need eight terms to be exact.
constexpr float kSeriesBelow = 0.5f;

// phi(x) = (1 - e^-x) / x = sum (-x)^n / (n + 1)!, for x < 1/2.
CHIMERA_VEC F16 PhiSeries(F16 x) {
  F16 p = Splat(1.0f / 362880);
  p = p * x - 1.0f / 40320;
  p = p * x + 1.0f / 5040;
  p = p * x - 1.0f / 720;
  p = p * x + 1.0f / 120;
  p = p * x - 1.0f / 24;
  p = p * x + 1.0f / 6;
  p = p * x - 0.5f;
  return p * x + 1.0f;
}

// phi'(x), so that da/dlambda = beta^2 phi'(beta lambda).
CHIMERA_VEC F16 PhiSlopeSeries(F16 x) {
  F16 p = Splat(8.0f / 362880);
  p = p * x - 7.0f / 40320;
  p = p * x + 6.0f / 5040;
  p = p * x - 5.0f / 720;
  p = p * x + 4.0f / 120;
  p = p * x - 3.0f / 24;
  p = p * x + 2.0f / 6;
  return p * x - 0.5f;
}

// lambda of up to 16 heads of one token.
CHIMERA_VEC F16 Lambdas(const float* k, int lanes) {
  float squares[16] = {};
  for (int h = 0; h < lanes; ++h) {
    squares[h] = Dot(k + h * kHeadDim, k + h * kHeadDim, kHeadDim);
  }
  return Load(squares);
}

CHIMERA_VEC F16 Gain(F16 time, F16 lambda) {
  const F16 x = time * lambda;
  return Select(x < kSeriesBelow, time * PhiSeries(x), (1.0f - Exp(-x)) / lambda);
}

int LanesAt(int head, int n_heads) { return n_heads - head < 16 ? n_heads - head : 16; }

void Gates(const EflaGates& in, float* g, float* beta, float* lambda) {
  for (int head = 0; head < in.n_heads; head += 16) {
    const int lanes = LanesAt(head, in.n_heads);
    F16 rate = {}, bias = {};
    if (in.a != nullptr) {
      rate = -Exp(LoadLanes(in.a_log + head, lanes));
      bias = LoadLanes(in.dt_bias + head, lanes);
    }
    for (int64_t t = 0; t < in.n_tokens; ++t) {
      const int64_t at = t * in.n_heads + head;
      F16 decay = {};
      if (in.a != nullptr) decay = rate * Softplus(LoadLanes(in.a + at, lanes) + bias);
      const F16 squares = Lambdas(in.k + t * in.k_stride + head * kHeadDim, lanes);
      const F16 gain = Gain(Softplus(LoadLanes(in.b + at, lanes)), squares);
      StoreLanes(g + at, decay, lanes);
      StoreLanes(beta + at, gain, lanes);
      if (lambda != nullptr) StoreLanes(lambda + at, squares, lanes);
    }
  }
}

// db and dlambda of one row of lanes: da/dtime = e^-x, da/dlambda = (x e^-x + e^-x - 1) / lambda^2.
CHIMERA_VEC void GainBackward(F16 b, F16 lambda, F16 d_gain, F16* db, F16* d_lambda) {
  const F16 time = Softplus(b);
  const F16 x = time * lambda;
  const F16 e = Exp(-x);
  const F16 closed = (x * e + e - 1.0f) / lambda / lambda;
  *db = d_gain * e * Sigmoid(b);
  *d_lambda = d_gain * Select(x < kSeriesBelow, time * time * PhiSlopeSeries(x), closed);
}

void GatesBackward(const EflaGates& in, const float* g, const float* lambda, const float* dg,
                   const float* dbeta, float* da, float* db, float* dk, float* da_log,
                   float* ddt_bias) {
  for (int head = 0; head < in.n_heads; head += 16) {
    const int lanes = LanesAt(head, in.n_heads);
    F16 rate = {}, bias = {}, log_sum = {}, bias_sum = {};
    if (in.a != nullptr) {
      rate = -Exp(LoadLanes(in.a_log + head, lanes));
      bias = LoadLanes(in.dt_bias + head, lanes);
    }
    for (int64_t t = 0; t < in.n_tokens; ++t) {
      const int64_t at = t * in.n_heads + head;
      F16 d_a = {}, d_b, d_lambda;
      GainBackward(LoadLanes(in.b + at, lanes), LoadLanes(lambda + at, lanes),
                   LoadLanes(dbeta + at, lanes), &d_b, &d_lambda);
      if (in.a != nullptr) {
        const F16 d_decay = LoadLanes(dg + at, lanes);
        d_a = rate * Sigmoid(LoadLanes(in.a + at, lanes) + bias) * d_decay;
        log_sum = log_sum + LoadLanes(g + at, lanes) * d_decay;
        bias_sum = bias_sum + d_a;
      }
      StoreLanes(da + at, d_a, lanes);
      StoreLanes(db + at, d_b, lanes);
      for (int h = 0; h < lanes; ++h) {
        const int64_t row = t * in.k_stride + (head + h) * kHeadDim;
        const float twice = 2.0f * d_lambda[h];
        for (int i = 0; i < kHeadDim; i += 16) {
          Store(dk + row + i, Load(dk + row + i) + Load(in.k + row + i) * twice);
        }
      }
    }
    if (in.a == nullptr) continue;
    StoreLanes(da_log + head, LoadLanes(da_log + head, lanes) + log_sum, lanes);
    StoreLanes(ddt_bias + head, LoadLanes(ddt_bias + head, lanes) + bias_sum, lanes);
  }
}

}  // namespace

extern const EflaKernels kEfla;
const EflaKernels kEfla = {Gates, GatesBackward};

}  // namespace CHIMERA_ISA
}  // namespace chimera
