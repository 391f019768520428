// The obvious twin of mlstm.h, for tests: the recurrence of math-backbone 2.2 token by token and
// backpropagation through it with the frames m held fixed (exact for h), any head size d,
// T = float or double. Rows are contiguous.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "layers/rms_norm_naive.h"
#include "layers/swiglu_naive.h"

namespace chimera {

template <typename T>
struct NaiveMlstm {
  int n_tokens, d;
  const T *q, *k, *v;  // [n_tokens][d]
  const T *i, *f;      // [n_tokens], capped
  const uint8_t* reset = nullptr;

  // What one token leaves for the backward pass: the state before it, its frame and gains.
  struct Record {
    std::vector<T> c, n, c_after, n_after;
    T m, decay, gain, nu, den;
  };

  static T LogSigmoid(T x) {
    return x < 0 ? x - std::log1p(std::exp(x)) : -std::log1p(std::exp(-x));
  }

  // c [d][d], n [d], *m are updated; h [n_tokens][d] is written.
  void Forward(T* c, T* n, T* m, T* h, std::vector<Record>* records = nullptr) const {
    const T scale = 1 / std::sqrt(T(d));
    for (int t = 0; t < n_tokens; ++t) {
      if (reset != nullptr && reset[t] != 0) {
        std::fill(c, c + d * d, T(0));
        std::fill(n, n + d, T(0));
        *m = 0;
      }
      Record record;
      record.c.assign(c, c + d * d);
      record.n.assign(n, n + d);
      const T *qt = q + t * d, *kt = k + t * d, *vt = v + t * d;
      const T lf = LogSigmoid(f[t]);
      const T frame = std::max(lf + *m, i[t]);
      const T decay = std::exp(lf + *m - frame), gain = std::exp(i[t] - frame);
      T nu = 0;
      for (int a = 0; a < d; ++a) {
        for (int b = 0; b < d; ++b) c[a * d + b] = decay * c[a * d + b] + gain * kt[a] * vt[b];
        n[a] = decay * n[a] + gain * kt[a];
        nu += scale * n[a] * qt[a];
      }
      const T den = std::max(std::abs(nu), std::exp(-frame));
      for (int b = 0; b < d; ++b) {
        T num = 0;
        for (int a = 0; a < d; ++a) num += scale * c[a * d + b] * qt[a];
        h[t * d + b] = num / den;
      }
      *m = frame;
      if (records == nullptr) continue;
      record.c_after.assign(c, c + d * d);
      record.n_after.assign(n, n + d);
      record.m = frame, record.decay = decay, record.gain = gain, record.nu = nu, record.den = den;
      records->push_back(std::move(record));
    }
  }

  // d_c [d][d], d_n [d]: gradients of the end state on entry, of the start state on return.
  // dq, dk, dv, di, df are written.
  void Backward(const T* c0, const T* n0, T m0, const T* dh, T* d_c, T* d_n, T* dq, T* dk, T* dv,
                T* di, T* df) const {
    const T scale = 1 / std::sqrt(T(d));
    std::vector<T> c(c0, c0 + d * d), n(n0, n0 + d), h(n_tokens * d);
    std::vector<Record> records;
    Forward(c.data(), n.data(), &m0, h.data(), &records);
    for (int t = n_tokens - 1; t >= 0; --t) {
      const Record& r = records[t];
      const T *qt = q + t * d, *kt = k + t * d, *vt = v + t * d, *dht = dh + t * d;
      T along = 0;
      for (int b = 0; b < d; ++b) along += dht[b] * h[t * d + b];
      T d_nu = 0;
      if (std::abs(r.nu) > std::exp(-r.m)) d_nu = (r.nu > 0 ? -along : along) / r.den;
      T d_decay = 0, d_gain = 0;
      std::fill(dv + t * d, dv + (t + 1) * d, T(0));
      for (int a = 0; a < d; ++a) {
        T dqa = r.n_after[a] * d_nu;
        d_n[a] += scale * qt[a] * d_nu;
        T dka = d_n[a];
        for (int b = 0; b < d; ++b) {
          dqa += r.c_after[a * d + b] * dht[b] / r.den;
          T& dc = d_c[a * d + b];
          dc += scale * qt[a] * dht[b] / r.den;
          dka += dc * vt[b];
          dv[t * d + b] += r.gain * dc * kt[a];
          d_decay += dc * r.c[a * d + b];
          dc *= r.decay;
        }
        dq[t * d + a] = scale * dqa;
        dk[t * d + a] = r.gain * dka;
        d_gain += dka * kt[a];
        d_decay += d_n[a] * r.n[a];
        d_n[a] *= r.decay;
      }
      di[t] = r.gain * d_gain;
      df[t] = r.decay * d_decay * NaiveSigmoid(-f[t]);
      if (reset != nullptr && reset[t] != 0) {
        std::fill(d_c, d_c + d * d, T(0));
        std::fill(d_n, d_n + d, T(0));
      }
    }
  }
};

template <typename T>
T NaiveGateCap(T z) {
  return 15 * std::tanh(z / 15);
}
template <typename T>
T NaiveGateCapSlope(T z) {
  const T t = std::tanh(z / 15);
  return 1 - t * t;
}

// y = sigmoid(gate) * RMSNorm(h; gamma), one row.
template <typename T>
void NaiveSigmoidNorm(const T* h, const T* gate, const T* gamma, int d, T* y) {
  NaiveRmsNorm(h, gamma, d, y);
  for (int i = 0; i < d; ++i) y[i] *= NaiveSigmoid(gate[i]);
}

// Writes dh and dgate, adds to dgamma.
template <typename T>
void NaiveSigmoidNormBackward(const T* h, const T* gate, const T* gamma, const T* dy, int d, T* dh,
                              T* dgate, T* dgamma) {
  std::vector<T> n(d), dn(d);
  NaiveRmsNorm(h, gamma, d, n.data());
  for (int i = 0; i < d; ++i) {
    const T s = NaiveSigmoid(gate[i]);
    dgate[i] = dy[i] * n[i] * s * (1 - s);
    dn[i] = dy[i] * s;
    dh[i] = 0;
  }
  NaiveRmsNormBackward(h, gamma, dn.data(), d, dh, dgamma);
}

}  // namespace chimera
