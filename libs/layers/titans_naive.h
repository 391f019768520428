// The obvious twin of the Titans memory, for tests: one head, M(k) = W2 SiLU(W1 k), the token
// recurrence of math-backbone 3.1 with gradients at the chunk's first weights, the guard of 3.3 and
// the backward of 3.4 line by line. Any sizes, T = float or double. Here W1 is [hidden][d] and W2
// [d][hidden], as in the text; Transposed gives the layout of titans.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "layers/swiglu_naive.h"

namespace chimera {

// SiLU''(z)
template <typename T>
T NaiveSiluCurve(T z) {
  const T s = NaiveSigmoid(z);
  return s * (1 - s) * (2 + z * (1 - 2 * s));
}

// The other layout of a [rows][cols] matrix.
template <typename T>
std::vector<T> Transposed(const std::vector<T>& w, int rows, int cols) {
  std::vector<T> out(w.size());
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < cols; ++j) out[j * rows + i] = w[i * cols + j];
  }
  return out;
}

template <typename T>
struct NaiveTitansMemory {
  using Vector = std::vector<T>;
  struct State {  // weights and momentum, or their adjoints
    Vector w1, w2, s1, s2;
  };
  struct Tokens {
    int n;
    const T *k, *v;                // [n][d]
    const T *theta, *eta, *alpha;  // [n]
  };
  struct Guard {
    T s1 = 1, s2 = 1;
  };
  struct Error {  // of one token
    Vector z, a, e, p, delta;
  };
  struct TokenGrads {
    Vector k, v, theta, eta, alpha;
  };

  int d, hidden;

  State Zeros() const {
    const Vector zero(d * hidden);
    return {zero, zero, zero, zero};
  }

  void Read(const State& m, const T* q, T* r) const {
    for (int o = 0; o < d; ++o) r[o] = 0;
    for (int j = 0; j < hidden; ++j) {
      T z = 0;
      for (int i = 0; i < d; ++i) z += m.w1[j * d + i] * q[i];
      for (int o = 0; o < d; ++o) r[o] += m.w2[o * hidden + j] * NaiveSilu(z);
    }
  }

  // Adds to the adjoint of the weights and to dq.
  void ReadBackward(const State& m, const T* q, const T* dr, T* dq, State* adjoint) const {
    for (int j = 0; j < hidden; ++j) {
      T z = 0, da = 0;
      for (int i = 0; i < d; ++i) z += m.w1[j * d + i] * q[i];
      for (int o = 0; o < d; ++o) {
        da += m.w2[o * hidden + j] * dr[o];
        adjoint->w2[o * hidden + j] += dr[o] * NaiveSilu(z);
      }
      const T dz = da * NaiveSiluSlope(z);
      for (int i = 0; i < d; ++i) {
        dq[i] += m.w1[j * d + i] * dz;
        adjoint->w1[j * d + i] += dz * q[i];
      }
    }
  }

  Error ErrorOf(const State& m, const T* k, const T* v) const {
    Error x{Vector(hidden), Vector(hidden), Vector(d), Vector(hidden), Vector(hidden)};
    for (int j = 0; j < hidden; ++j) {
      for (int i = 0; i < d; ++i) x.z[j] += m.w1[j * d + i] * k[i];
      x.a[j] = NaiveSilu(x.z[j]);
    }
    for (int o = 0; o < d; ++o) {
      x.e[o] = -v[o];
      for (int j = 0; j < hidden; ++j) x.e[o] += m.w2[o * hidden + j] * x.a[j];
    }
    for (int j = 0; j < hidden; ++j) {
      for (int o = 0; o < d; ++o) x.p[j] += m.w2[o * hidden + j] * x.e[o];
      x.delta[j] = x.p[j] * NaiveSiluSlope(x.z[j]);
    }
    return x;
  }

  // |gradient|
  T Surprise(const State& m, const T* k, const T* v) const {
    const Error x = ErrorOf(m, k, v);
    T sum = 0;
    for (int j = 0; j < hidden; ++j) {
      for (int i = 0; i < d; ++i) {
        sum += x.delta[j] * k[i] * x.delta[j] * k[i] + x.e[i] * x.a[j] * x.e[i] * x.a[j];
      }
    }
    return std::sqrt(sum);
  }

  // momentum: as TitansShape::momentum_guard.
  Guard GuardOf(const State& m, const Tokens& x, bool momentum) const {
    std::vector<Error> errors;
    for (int i = 0; i < x.n; ++i) errors.push_back(ErrorOf(m, x.k + i * d, x.v + i * d));
    T most_a = 0, most_k = 0, columns = 0, rows = 0;
    for (int i = 0; i < x.n; ++i) {
      T sum_a = 0, sum_k = 0;
      for (int j = 0; j < x.n; ++j) {
        T aa = 0, kk = 0;
        for (int c = 0; c < hidden; ++c) aa += errors[i].a[c] * errors[j].a[c];
        for (int c = 0; c < d; ++c) kk += x.k[i * d + c] * x.k[j * d + c];
        const T rest = std::min(T(1), 2 * (1 - x.eta[j]));
        const T counted = x.theta[j] / (momentum ? std::max(rest, T(1e-4)) : T(1));
        sum_a += counted * std::abs(aa);
        sum_k += counted * std::abs(kk);
      }
      most_a = std::max(most_a, sum_a);
      most_k = std::max(most_k, sum_k);
    }
    for (int j = 0; j < hidden; ++j) {
      T sum = 0;
      for (int o = 0; o < d; ++o) sum += std::abs(m.w2[o * hidden + j]);
      columns = std::max(columns, sum);
    }
    for (int o = 0; o < d; ++o) {
      T sum = 0;
      for (int j = 0; j < hidden; ++j) sum += std::abs(m.w2[o * hidden + j]);
      rows = std::max(rows, sum);
    }
    return {1 / std::max(T(1), T(1.21) * columns * rows * most_k), 1 / std::max(T(1), most_a)};
  }

  // Token by token: S = eta S - theta G, W = (1 - alpha) W + S.
  void Write(const Tokens& x, const Guard& guard, State* m) const {
    const State start = *m;
    for (int t = 0; t < x.n; ++t) {
      const Error error = ErrorOf(start, x.k + t * d, x.v + t * d);
      for (int j = 0; j < hidden; ++j) {
        for (int i = 0; i < d; ++i) {
          T& s1 = m->s1[j * d + i];
          T& s2 = m->s2[i * hidden + j];
          s1 = x.eta[t] * s1 - x.theta[t] * guard.s1 * error.delta[j] * x.k[t * d + i];
          s2 = x.eta[t] * s2 - x.theta[t] * guard.s2 * error.e[i] * error.a[j];
          T& w1 = m->w1[j * d + i];
          T& w2 = m->w2[i * hidden + j];
          w1 = (1 - x.alpha[t]) * w1 + s1;
          w2 = (1 - x.alpha[t]) * w2 + s2;
        }
      }
    }
  }

  // start: the state before the write. adjoint: of the state after it on entry, before it on
  // return.
  TokenGrads WriteBackward(const State& start, const Tokens& x, const Guard& guard,
                           bool first_order, State* adjoint) const {
    const int n = x.n;
    Vector suf(n + 1, 1), lam(n, 1), h(n, 1), c_bar(n), d_bar(n);
    for (int i = n - 1; i >= 0; --i) suf[i] = (1 - x.alpha[i]) * suf[i + 1];
    for (int i = n - 2; i >= 0; --i) {
      lam[i] = suf[i + 1] + x.eta[i + 1] * lam[i + 1];
      h[i] = x.eta[i + 1] * h[i + 1];
    }
    TokenGrads out{Vector(n * d), Vector(n * d), Vector(n), Vector(n), Vector(n)};
    State inner = Zeros();  // through the gradients inside the write
    for (int t = 0; t < n; ++t) {
      const T c = -x.theta[t] * lam[t], dd = -x.theta[t] * h[t];
      TokenBackward(start, x.k + t * d, x.v + t * d, c, dd, guard, *adjoint, first_order,
                    {&out.k[t * d], &out.v[t * d], &c_bar[t], &d_bar[t]}, &inner);
    }
    const T keep = suf[0], push = x.eta[0] * lam[0], hold = x.eta[0] * h[0];
    T keep_bar = 0, push_bar = 0, hold_bar = 0;
    const auto pass = [&](const Vector& w, const Vector& s, const Vector& in, Vector* w_bar,
                          Vector* s_bar) {
      for (size_t i = 0; i < w.size(); ++i) {
        keep_bar += (*w_bar)[i] * w[i];
        push_bar += (*w_bar)[i] * s[i];
        hold_bar += (*s_bar)[i] * s[i];
        (*s_bar)[i] = push * (*w_bar)[i] + hold * (*s_bar)[i];
        (*w_bar)[i] = keep * (*w_bar)[i] + in[i];
      }
    };
    pass(start.w1, start.s1, inner.w1, &adjoint->w1, &adjoint->s1);
    pass(start.w2, start.s2, inner.w2, &adjoint->w2, &adjoint->s2);
    Vector lam_bar(n), h_bar(n), suf_bar(n + 1);
    for (int i = 0; i < n; ++i) {
      out.theta[i] = -lam[i] * c_bar[i] - h[i] * d_bar[i];
      lam_bar[i] = -x.theta[i] * c_bar[i];
      h_bar[i] = -x.theta[i] * d_bar[i];
    }
    suf_bar[0] = keep_bar;
    lam_bar[0] += push_bar * x.eta[0];
    h_bar[0] += hold_bar * x.eta[0];
    out.eta[0] = push_bar * lam[0] + hold_bar * h[0];
    for (int i = 0; i + 1 < n; ++i) {
      suf_bar[i + 1] += lam_bar[i];
      out.eta[i + 1] = lam_bar[i] * lam[i + 1] + h_bar[i] * h[i + 1];
      lam_bar[i + 1] += lam_bar[i] * x.eta[i + 1];
      h_bar[i + 1] += h_bar[i] * x.eta[i + 1];
    }
    for (int i = 0; i < n; ++i) {
      out.alpha[i] = -suf_bar[i] * suf[i + 1];
      suf_bar[i + 1] += suf_bar[i] * (1 - x.alpha[i]);
    }
    return out;
  }

 private:
  struct TokenOut {
    T *dk, *dv, *c_bar, *d_bar;
  };

  // y[i] += sum_j w[i][j] x[j], or w[j][i] when turned.
  static void AddTimes(const Vector& w, int rows, int cols, bool turned, T scale, const Vector& x,
                       T* y) {
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < cols; ++j) {
        y[turned ? j : i] += scale * w[i * cols + j] * x[turned ? i : j];
      }
    }
  }
  static void AddOuter(const Vector& x, const Vector& y, Vector* w) {
    for (size_t i = 0; i < x.size(); ++i) {
      for (size_t j = 0; j < y.size(); ++j) (*w)[i * y.size() + j] += x[i] * y[j];
    }
  }
  static T Inner(const Vector& x, const Vector& y) {
    T sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
    return sum;
  }

  // Adds to inner; writes out.
  void TokenBackward(const State& m, const T* k_in, const T* v, T c, T dd, const Guard& guard,
                     const State& bar, bool first_order, TokenOut out, State* inner) const {
    const Vector k(k_in, k_in + d);
    const Error x = ErrorOf(m, k_in, v);
    Vector wa(d), sa(d), wk(hidden), sk(hidden);
    AddTimes(bar.w2, d, hidden, false, 1, x.a, wa.data());
    AddTimes(bar.s2, d, hidden, false, 1, x.a, sa.data());
    AddTimes(bar.w1, hidden, d, false, 1, k, wk.data());
    AddTimes(bar.s1, hidden, d, false, 1, k, sk.data());
    *out.c_bar = guard.s2 * Inner(x.e, wa) + guard.s1 * Inner(x.delta, wk);
    *out.d_bar = guard.s2 * Inner(x.e, sa) + guard.s1 * Inner(x.delta, sk);
    const T c1 = c * guard.s1, d1 = dd * guard.s1, c2 = c * guard.s2, d2 = dd * guard.s2;
    Vector e_bar(d), a_bar(hidden), p_bar(hidden), z_bar(hidden);
    for (int i = 0; i < d; ++i) e_bar[i] = c2 * wa[i] + d2 * sa[i];
    AddTimes(bar.w2, d, hidden, true, c2, x.e, a_bar.data());
    AddTimes(bar.s2, d, hidden, true, d2, x.e, a_bar.data());
    AddTimes(bar.w1, hidden, d, true, c1, x.delta, out.dk);
    AddTimes(bar.s1, hidden, d, true, d1, x.delta, out.dk);
    if (!first_order) {
      for (int j = 0; j < hidden; ++j) {
        const T delta_bar = c1 * wk[j] + d1 * sk[j];
        p_bar[j] = delta_bar * NaiveSiluSlope(x.z[j]);
        z_bar[j] = delta_bar * x.p[j] * NaiveSiluCurve(x.z[j]);
      }
      AddTimes(m.w2, d, hidden, false, 1, p_bar, e_bar.data());
      AddOuter(x.e, p_bar, &inner->w2);
    }
    AddTimes(m.w2, d, hidden, true, 1, e_bar, a_bar.data());
    if (!first_order) AddOuter(e_bar, x.a, &inner->w2);
    for (int i = 0; i < d; ++i) out.dv[i] = -e_bar[i];
    for (int j = 0; j < hidden; ++j) z_bar[j] += a_bar[j] * NaiveSiluSlope(x.z[j]);
    AddTimes(m.w1, hidden, d, true, 1, z_bar, out.dk);
    if (!first_order) AddOuter(z_bar, k, &inner->w1);
  }
};

}  // namespace chimera
