// Measures the cost curve of a model on this machine (DESIGN D6).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "absl/functional/function_ref.h"
#include "base/exec_context.h"
#include "decode/cost_curve.h"
#include "model/model.h"

namespace chimera {

struct CostProbeOptions {
  int runs_max = 9;                 // of each size; the median counts
  int64_t budget_ns = 500'000'000;  // after which a size is run once and no more
  // Runs a pass in its turn among those of the streams. False gives up.
  std::function<bool(absl::FunctionRef<void(ExecContext*)>)> run;
};

// Sizes of the curve.
inline constexpr int kCostPositions[] = {1, 2, 4, 8, 16, 32};

// Runs windows on a state of its own that is never committed. Takes about budget_ns, or eight
// passes of the slow model. Empty when it was told to give up. The context is the same in every
// run.
std::optional<CostCurve> MeasureCost(const Model& model, const CostProbeOptions& options);

}  // namespace chimera
