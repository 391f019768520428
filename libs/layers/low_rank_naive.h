// The obvious twin of low_rank.h and of its op: plain loops, any float type. Tests only.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/low_rank.h"

namespace chimera {

// out = scale * B (A x) for one correction; scale is the effective gate.
template <typename T>
struct NaiveLowRank {
  int rows = 0, cols = 0, n_tokens = 0;
  std::vector<T> a, b, x;  // [16][cols], [rows][16], [tokens][cols]
  T scale = 0;

  std::vector<T> Hidden() const {
    std::vector<T> h(static_cast<size_t>(n_tokens) * kLowRank);
    for (int t = 0; t < n_tokens; ++t) {
      for (int k = 0; k < kLowRank; ++k) {
        for (int c = 0; c < cols; ++c) {
          h[size_t(t * kLowRank + k)] += a[size_t(k * cols + c)] * x[size_t(t * cols + c)];
        }
      }
    }
    return h;
  }

  std::vector<T> Forward() const {
    const std::vector<T> h = Hidden();
    std::vector<T> y(static_cast<size_t>(n_tokens) * static_cast<size_t>(rows));
    for (int t = 0; t < n_tokens; ++t) {
      for (int r = 0; r < rows; ++r) {
        T sum = 0;
        for (int k = 0; k < kLowRank; ++k) {
          sum += b[size_t(r * kLowRank + k)] * h[size_t(t * kLowRank + k)];
        }
        y[size_t(t * rows + r)] = scale * sum;
      }
    }
    return y;
  }

  // Gradients of a loss with dy [tokens][rows].
  struct Gradients {
    std::vector<T> a, b, x;
    T scale = 0;
  };
  Gradients Backward(const std::vector<T>& dy) const {
    const std::vector<T> h = Hidden();
    Gradients d{std::vector<T>(a.size()), std::vector<T>(b.size()), std::vector<T>(x.size())};
    for (int t = 0; t < n_tokens; ++t) {
      for (int k = 0; k < kLowRank; ++k) {
        T up = 0;  // dy B
        for (int r = 0; r < rows; ++r) {
          const T out = dy[size_t(t * rows + r)];
          up += out * b[size_t(r * kLowRank + k)];
          d.b[size_t(r * kLowRank + k)] += scale * out * h[size_t(t * kLowRank + k)];
        }
        d.scale += up * h[size_t(t * kLowRank + k)];
        for (int c = 0; c < cols; ++c) {
          d.a[size_t(k * cols + c)] += scale * up * x[size_t(t * cols + c)];
          d.x[size_t(t * cols + c)] += scale * up * a[size_t(k * cols + c)];
        }
      }
    }
    return d;
  }
};

}  // namespace chimera
