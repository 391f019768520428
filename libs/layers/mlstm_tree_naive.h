// The algebraic one-pass form of an mLSTM tree (math-inference-training A.4.2 with the key-major
// states and the read-out scale of math-backbone 2.2), for tests: every node from the committed
// state and its ancestors' keys and values, any head size d, T = float or double. Rows contiguous.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "layers/mlstm_naive.h"
#include "layers/token_tree.h"

namespace chimera {

template <typename T>
struct NaiveMlstmTree {
  const TokenTree& tree;
  int d;
  const T *q, *k, *v;  // [n_nodes][d]
  const T *i, *f;      // [n_nodes], capped

  T Inner(const T* a, const T* b) const {
    T sum = 0;
    for (int x = 0; x < d; ++x) sum += a[x] * b[x];
    return sum;
  }

  // F_node - F_j for j on the path; j = -1 is the committed state.
  T LogForget(int node, int j) const {
    T sum = 0;
    for (; node != j; node = tree.parent(node)) sum += NaiveMlstm<T>::LogSigmoid(f[node]);
    return sum;
  }

  // b of A.4.2, D of every node of the path, and their maximum m.
  struct Weights {
    int8_t path[kTreeNodesMax];
    int length;
    T m, past;
    std::vector<T> gain;  // e^(D - m)
  };
  Weights WeightsOf(int node, T m0) const {
    Weights w;
    w.length = tree.Path(node, w.path);
    const T b = LogForget(node, -1) + m0;
    w.m = b;
    for (int a = 0; a < w.length; ++a) {
      w.gain.push_back(LogForget(node, w.path[a]) + i[w.path[a]]);
      w.m = std::max(w.m, w.gain.back());
    }
    w.past = std::exp(b - w.m);
    for (T& gain : w.gain) gain = std::exp(gain - w.m);
    return w;
  }

  // c [d][d], n [d], m0: the committed state. Writes h [n_nodes][d] and m [n_nodes].
  void Forward(const T* c, const T* n, T m0, T* h, T* m) const {
    const T scale = 1 / std::sqrt(T(d));
    for (int node = 0; node < tree.n_nodes(); ++node) {
      const T* qn = q + node * d;
      const Weights w = WeightsOf(node, m0);
      std::vector<T> num(d);
      T den = w.past * Inner(n, qn);
      for (int x = 0; x < d; ++x) {
        for (int y = 0; y < d; ++y) num[y] += w.past * c[x * d + y] * qn[x];
      }
      for (int a = 0; a < w.length; ++a) {
        const int j = w.path[a];
        const T share = w.gain[a] * Inner(k + j * d, qn);
        den += share;
        for (int y = 0; y < d; ++y) num[y] += share * v[j * d + y];
      }
      const T size = std::max(std::abs(scale * den), std::exp(-w.m));
      for (int y = 0; y < d; ++y) h[node * d + y] = scale * num[y] / size;
      m[node] = w.m;
    }
  }

  // The committed state after the path of leaf.
  void Commit(int leaf, T* c, T* n, T* m) const {
    const Weights w = WeightsOf(leaf, *m);
    for (int x = 0; x < d; ++x) {
      n[x] *= w.past;
      for (int y = 0; y < d; ++y) c[x * d + y] *= w.past;
      for (int a = 0; a < w.length; ++a) {
        const int j = w.path[a];
        n[x] += w.gain[a] * k[j * d + x];
        for (int y = 0; y < d; ++y) c[x * d + y] += w.gain[a] * k[j * d + x] * v[j * d + y];
      }
    }
    *m = w.m;
  }
};

}  // namespace chimera
