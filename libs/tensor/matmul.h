// Matrix products through oneDNN, one thread a call (DESIGN D2): callers cut the work into blocks
// of fixed shape and spread the blocks over an ExecContext, so the result does not depend on the
// number of threads. Row-major throughout. Thread-safe.
#pragma once

#include <cstdint>

#include "base/exec_context.h"

namespace chimera {

// C[m][n] = op(A)[m][k] * op(B)[k][n], or C += when accumulate.
// lda, ldb, ldc are the distances between rows of the matrices as they lie in memory:
// A is [m][k], or [k][m] when trans_a; B is [k][n], or [n][k] when trans_b.
struct MatmulShape {
  int64_t m = 0, n = 0, k = 0;
  int64_t lda = 0, ldb = 0, ldc = 0;
  bool trans_a = false;
  bool trans_b = false;
  bool accumulate = false;
};

void Matmul(const MatmulShape& shape, const float* a, const float* b, float* c);
// bfloat16 inputs (upper half of the float's bits), float sums.
void MatmulBf16(const MatmulShape& shape, const uint16_t* a, const uint16_t* b, float* c);

// Whether bfloat16 products are faster than float ones here (AVX-512 BF16 or AMX).
bool HasFastBf16();

// The library and its version, for checkpoints and reports ("oneDNN 2.6.3").
const char* MatmulLibrary();

// As above, cut into blocks of rows of C and run on the context.
void ParallelMatmul(ExecContext* exec, const MatmulShape& shape, const float* a, const float* b,
                    float* c);
void ParallelMatmulBf16(ExecContext* exec, const MatmulShape& shape, const uint16_t* a,
                        const uint16_t* b, float* c);

}  // namespace chimera
