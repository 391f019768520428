// The exact solution of the continuous delta rule (EFLA, arXiv 2512.12602; math-backbone section 7)
// as gates in front of the gated delta kernels. dS/dt = -k k^T S + k v^T held for a time beta has
//   S <- S + a k (v - S^T k)^T,   a = (1 - e^(-beta lambda)) / lambda,   lambda = |k|^2,
// so with a in the place of beta the step, read, write and chunk forms serve as they are, on keys
// that are not normalised: the eigenvalue along k is e^(-beta lambda), in (0, 1] for any key. The
// query stays normalised. The tables are *immutable*.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace chimera {

// Which rule a gated delta layer follows.
enum class DeltaRule {
  kBeta,       // beta = sigmoid(b), keys normalised
  kEfla,       // beta = softplus(b), keys as they are, no decay (g = 0)
  kGatedEfla,  // the same after the decay alpha = e^g
};

// What the gates of n_tokens tokens are made from.
struct EflaGates {
  const float* a;  // [n_tokens][n_heads]; null = no decay, then a_log and dt_bias are not read
  const float* b;  // [n_tokens][n_heads]
  const float* k;  // head h of token t: 64 floats at t * k_stride + 64 h
  int64_t k_stride;
  const float* a_log;    // [n_heads]
  const float* dt_bias;  // [n_heads]
  int64_t n_tokens;
  int n_heads;
};

// The same bits on every instruction set.
struct EflaKernels {
  // g, beta, lambda [n_tokens][n_heads]: g = -exp(a_log) softplus(a + dt_bias), or 0 without a;
  // beta receives the effective gate a of the equation above with time softplus(b); lambda = |k|^2
  // may be null. g may be a, beta may be b.
  void (*gates)(const EflaGates& in, float* g, float* beta, float* lambda);

  // g and lambda from gates. Writes da (zeros without a) and db, which may be dg and dbeta; adds
  // 2 k dlambda to dk, rows at k_stride; adds to da_log, ddt_bias [n_heads] (not without a), tokens
  // in order.
  void (*gates_backward)(const EflaGates& in, const float* g, const float* lambda, const float* dg,
                         const float* dbeta, float* da, float* db, float* dk, float* da_log,
                         float* ddt_bias);
};

const EflaKernels& EflaFor(Isa isa);
const EflaKernels& Efla();

}  // namespace chimera
