// Products over weights that no cache holds, beside the machine's limits measured in the same run.
#pragma once

#include <cstdint>
#include <vector>

#include "base/exec_context.h"
#include "ternary/machine_peak.h"

namespace chimera {

struct ProductShape {
  int rows = 0;
  int cols = 0;
};

struct ProductsBenchOptions {
  std::vector<ProductShape> shapes;
  int gemm_tokens = 64;
  int runs = 5;
  size_t weight_bytes =
      size_t{1} << 30;  // copies of a matrix fill this much; all are read in a run
};

// Medians over the runs, the least and the most beside them.
struct Spread {
  double median = 0, least = 0, most = 0;
};

struct ProductFigure {
  ProductShape shape;
  const char* packing = "";
  int n_tokens = 1;
  Spread gb_per_s;     // bytes of codes and scales read
  Spread gmacs_per_s;  // 10^9 multiply-adds
  Spread fraction;     // gemv: of the bandwidth, gemm: of the multiply-adds, of the same run
  double limit = 0;    // what it is a fraction of, mean over the runs
};

// Every shape in both packings. Each run measures the limit before and after the product and takes
// the mean of both. The work is cut into tiles as a step of the model cuts it.
std::vector<ProductFigure> BenchGemv(const ProductsBenchOptions& options, const ReadProbe& probe,
                                     ExecContext* exec);
std::vector<ProductFigure> BenchGemm(const ProductsBenchOptions& options, ExecContext* exec);

Spread SpreadOf(std::vector<double> values);

}  // namespace chimera
