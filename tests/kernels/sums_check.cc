// Elementwise loops of training and of the head, and the sums behind a distribution.
#include <cmath>

#include "kernels/check.h"
#include "tensor/kernels.h"

namespace chimera {

void CheckSums(Check* check) {
  using Floats = std::vector<float>;
  using Doubles = std::vector<double>;
  const TensorKernels& kernels = KernelsFor(check->isa());
  const int n = 5003;
  const Floats x = Noise(n, 9.0f, 0.0f, 101), y = Noise(n, 1.0f, 0.0f, 102);
  Floats sum(n), exact(n), rounded(n), back(n), grad(n);
  std::vector<uint16_t> halves(n);
  kernels.add(x.data(), y.data(), n, sum.data());
  kernels.to_bf16(x.data(), n, halves.data());
  kernels.from_bf16(halves.data(), n, back.data());
  kernels.round_bf16(x.data(), n, rounded.data());
  double squares = 0, mass = 0;
  for (int i = 0; i < n; ++i) {
    exact[i] = x[i] + y[i];
    squares += double{x[i]} * x[i];
    mass += std::exp(double{x[i]});
  }
  check->Same("sum of two", sum, exact);
  check->Close("bf16", back, Wide(x), 1.0 / 256);
  check->Same("bf16 and back", rounded, back);
  const auto total = static_cast<float>(kernels.sum_squares(x.data(), n) / squares);
  check->Close("sum of squares", {total}, {1.0}, 1e-6);
  const float lse = kernels.log_sum_exp(x.data(), n);
  check->Close("log of a sum", {lse}, {std::log(mass)});
  kernels.softmax_grad(x.data(), n, lse, 17, 0.5f, grad.data());
  Doubles want(n);
  for (int i = 0; i < n; ++i) want[i] = (std::exp(x[i] - std::log(mass)) - (i == 17)) * 0.5;
  check->Close("softmax gradient", grad, want);

  const AdamWStep step = {.lr = 1e-2f,
                          .beta1 = 0.9f,
                          .beta2 = 0.95f,
                          .eps = 1e-8f,
                          .weight_decay = 0.1f,
                          .correction1 = 10.0f,
                          .correction2 = 20.0f,
                          .grad_scale = 0.5f};
  Floats w = x, m = Noise(n, 0.1f, 0.0f, 103), v = Noise(n, 0.01f, 0.02f, 104);
  Doubles want_w(n), want_m(n), want_v(n);
  for (int i = 0; i < n; ++i) {
    const double g = 0.5 * y[i];
    const double m1 = 0.9 * m[i] + 0.1 * g, v1 = 0.95 * v[i] + 0.05 * g * g;
    const double change = 10 * m1 / (std::sqrt(20 * v1) + 1e-8) + 0.1 * w[i];
    want_m[i] = m1, want_v[i] = v1;
    want_w[i] = w[i] - 1e-2 * change;
  }
  kernels.adamw(step, n, w.data(), y.data(), m.data(), v.data());
  check->Close("AdamW", w, want_w);
  check->Close("AdamW mean", m, want_m);
  check->Close("AdamW variance", v, want_v);
}

}  // namespace chimera
