// The algebraic one-pass form of a gated delta tree (math-inference-training A.4.1 with the
// key-major states and the output scale of math-backbone 1.2), for tests: a forward substitution
// over ancestors instead of a walk, any head size d, T = float or double. Rows are contiguous.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "layers/token_tree.h"

namespace chimera {

template <typename T>
struct NaiveGatedDeltaTree {
  const TokenTree& tree;
  int d;
  const T *q, *k, *v;  // [n_nodes][d]
  const T *g, *beta;   // [n_nodes]

  T Inner(const T* a, const T* b) const {
    T sum = 0;
    for (int i = 0; i < d; ++i) sum += a[i] * b[i];
    return sum;
  }

  // G_i - G_j for j on the path of i: the gates after j up to i, so nothing cancels.
  T LogDecay(int i, int j) const {
    T sum = 0;
    for (; i != j; i = tree.parent(i)) sum += g[i];
    return sum;
  }
  // G_i, from the committed state.
  T LogDecay(int i) const { return LogDecay(i, -1); }

  // x^T S for row vector x: out [d].
  void TimesState(const T* x, const T* state, T* out) const {
    for (int c = 0; c < d; ++c) {
      out[c] = 0;
      for (int i = 0; i < d; ++i) out[c] += state[i * d + c] * x[i];
    }
  }

  // state [d][d] is the committed one; writes o and u [n_nodes][d].
  void Forward(const T* state, T* o, T* u) const {
    const T scale = 1 / std::sqrt(T(d));
    std::vector<T> past(d);
    for (int i = 0; i < tree.n_nodes(); ++i) {
      int8_t path[kTreeNodesMax];
      const int length = tree.Path(i, path);
      TimesState(k + i * d, state, past.data());
      for (int c = 0; c < d; ++c) {
        u[i * d + c] = beta[i] * (v[i * d + c] - std::exp(LogDecay(i)) * past[c]);
      }
      for (int a = 0; a + 1 < length; ++a) {
        const int j = path[a];
        const T gain = beta[i] * std::exp(LogDecay(i, j)) * Inner(k + i * d, k + j * d);
        for (int c = 0; c < d; ++c) u[i * d + c] -= gain * u[j * d + c];
      }
      TimesState(q + i * d, state, past.data());
      for (int c = 0; c < d; ++c) o[i * d + c] = scale * std::exp(LogDecay(i)) * past[c];
      for (int a = 0; a < length; ++a) {
        const int j = path[a];
        const T gain = scale * std::exp(LogDecay(i, j)) * Inner(k + j * d, q + i * d);
        for (int c = 0; c < d; ++c) o[i * d + c] += gain * u[j * d + c];
      }
    }
  }

  // The committed state after the path of leaf.
  void Commit(int leaf, const T* u, T* state) const {
    int8_t path[kTreeNodesMax];
    const int length = tree.Path(leaf, path);
    for (int i = 0; i < d; ++i) {
      for (int c = 0; c < d; ++c) {
        T sum = std::exp(LogDecay(leaf)) * state[i * d + c];
        for (int a = 0; a < length; ++a) {
          const int j = path[a];
          sum += std::exp(LogDecay(leaf, j)) * k[j * d + i] * u[j * d + c];
        }
        state[i * d + c] = sum;
      }
    }
  }
};

}  // namespace chimera
