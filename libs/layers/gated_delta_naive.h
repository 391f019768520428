// The obvious twin of gated_delta.h, for tests: the recurrence of math-backbone 1.2 token by token
// and the token-level backward of 1.4, any head size d, T = float or double. Rows are contiguous.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "layers/rms_norm_naive.h"
#include "layers/swiglu_naive.h"

namespace chimera {

template <typename T>
struct NaiveGatedDelta {
  int n_tokens, d;
  const T *q, *k, *v;  // [n_tokens][d]
  const T *g, *beta;   // [n_tokens]
  const uint8_t* reset = nullptr;

  // state [d][d] is updated, o [n_tokens][d] written; states: null or receives S before each token.
  void Forward(T* state, T* o, std::vector<T>* states = nullptr) const {
    const T scale = 1 / std::sqrt(T(d));
    std::vector<T> r(d), u(d);
    for (int t = 0; t < n_tokens; ++t) {
      if (reset != nullptr && reset[t] != 0) std::fill(state, state + d * d, T(0));
      if (states != nullptr) states->insert(states->end(), state, state + d * d);
      const T *qt = q + t * d, *kt = k + t * d, *vt = v + t * d;
      const T alpha = std::exp(g[t]);
      for (int c = 0; c < d; ++c) {
        T sum = 0;
        for (int i = 0; i < d; ++i) sum += state[i * d + c] * kt[i];
        r[c] = sum;
        u[c] = beta[t] * (vt[c] - alpha * sum);
      }
      for (int i = 0; i < d; ++i) {
        for (int c = 0; c < d; ++c) state[i * d + c] = alpha * state[i * d + c] + kt[i] * u[c];
      }
      for (int c = 0; c < d; ++c) {
        T sum = 0;
        for (int i = 0; i < d; ++i) sum += state[i * d + c] * qt[i];
        o[t * d + c] = scale * sum;
      }
    }
  }

  // start: the state before token 0. d_state holds dS of the end on entry, of the start on return.
  // dq, dk, dv, dg, dbeta are written.
  void Backward(const T* start, const T* d_o, T* d_state, T* dq, T* dk, T* dv, T* dg,
                T* dbeta) const {
    const T scale = 1 / std::sqrt(T(d));
    std::vector<T> state(start, start + d * d), o(n_tokens * d), states;
    Forward(state.data(), o.data(), &states);
    for (int t = n_tokens - 1; t >= 0; --t) {
      const T *s = states.data() + t * d * d, *qt = q + t * d, *kt = k + t * d, *vt = v + t * d;
      const T* dot = d_o + t * d;
      const T alpha = std::exp(g[t]);
      std::vector<T> r(d), u(d), du(d), w(d), after(d * d), G(d * d);
      for (int c = 0; c < d; ++c) {
        for (int i = 0; i < d; ++i) r[c] += s[i * d + c] * kt[i];
        u[c] = beta[t] * (vt[c] - alpha * r[c]);
      }
      T d_alpha = 0, d_beta = 0;
      for (int i = 0; i < d; ++i) {
        for (int c = 0; c < d; ++c) {
          after[i * d + c] = alpha * s[i * d + c] + kt[i] * u[c];
          G[i * d + c] = d_state[i * d + c] + scale * qt[i] * dot[c];
          du[c] += G[i * d + c] * kt[i];
          d_alpha += G[i * d + c] * s[i * d + c];
        }
      }
      for (int c = 0; c < d; ++c) {
        d_beta += du[c] * (vt[c] - alpha * r[c]);
        dv[t * d + c] = beta[t] * du[c];
        w[c] = -beta[t] * du[c];
        d_alpha += w[c] * r[c];
      }
      for (int i = 0; i < d; ++i) {
        T dqi = 0, dki = 0;
        for (int c = 0; c < d; ++c) {
          dqi += scale * after[i * d + c] * dot[c];
          dki += G[i * d + c] * u[c] + alpha * s[i * d + c] * w[c];
          d_state[i * d + c] = alpha * (G[i * d + c] + kt[i] * w[c]);
        }
        dq[t * d + i] = dqi;
        dk[t * d + i] = dki;
      }
      dg[t] = alpha * d_alpha;
      dbeta[t] = d_beta;
      if (reset != nullptr && reset[t] != 0) std::fill(d_state, d_state + d * d, T(0));
    }
  }
};

// y = u / sqrt(sum u^2 + 1e-6), one row.
template <typename T>
void NaiveL2Norm(const T* u, int d, T* y) {
  T sum = 0;
  for (int i = 0; i < d; ++i) sum += u[i] * u[i];
  for (int i = 0; i < d; ++i) y[i] = u[i] / std::sqrt(sum + T(1e-6));
}

// Writes du.
template <typename T>
void NaiveL2NormBackward(const T* u, const T* dy, int d, T* du) {
  T sum = 0, along = 0;
  for (int i = 0; i < d; ++i) sum += u[i] * u[i];
  const T size = std::sqrt(sum + T(1e-6));
  for (int i = 0; i < d; ++i) along += u[i] / size * dy[i];
  for (int i = 0; i < d; ++i) du[i] = (dy[i] - u[i] / size * along) / size;
}

template <typename T>
T NaiveSoftplus(T x) {
  return x > 20 ? x : std::log1p(std::exp(x));
}

// g = -exp(a_log) softplus(a + dt_bias), beta = sigmoid(b), one token of one head.
template <typename T>
void NaiveGate(T a, T b, T a_log, T dt_bias, T* g, T* beta) {
  *g = -std::exp(a_log) * NaiveSoftplus(a + dt_bias);
  *beta = NaiveSigmoid(b);
}

// Writes da, db; adds to da_log, ddt_bias.
template <typename T>
void NaiveGateBackward(T a, T b, T a_log, T dt_bias, T dg, T dbeta, T* da, T* db, T* da_log,
                       T* ddt_bias) {
  T g, beta;
  NaiveGate(a, b, a_log, dt_bias, &g, &beta);
  *da = -std::exp(a_log) * NaiveSigmoid(a + dt_bias) * dg;
  *db = beta * (1 - beta) * dbeta;
  *da_log += g * dg;
  *ddt_bias += *da;
}

// y = RMSNorm(o; gamma) * SiLU(h), one row.
template <typename T>
void NaiveGatedNorm(const T* o, const T* h, const T* gamma, int d, T* y) {
  NaiveRmsNorm(o, gamma, d, y);
  for (int i = 0; i < d; ++i) y[i] *= NaiveSilu(h[i]);
}

// Writes d_o and dh, adds to dgamma.
template <typename T>
void NaiveGatedNormBackward(const T* o, const T* h, const T* gamma, const T* dy, int d, T* d_o,
                            T* dh, T* dgamma) {
  std::vector<T> n(d), dn(d);
  NaiveRmsNorm(o, gamma, d, n.data());
  for (int i = 0; i < d; ++i) {
    dh[i] = n[i] * dy[i] * NaiveSiluSlope(h[i]);
    dn[i] = dy[i] * NaiveSilu(h[i]);
    d_o[i] = 0;
  }
  NaiveRmsNormBackward(o, gamma, dn.data(), d, d_o, dgamma);
}

}  // namespace chimera
