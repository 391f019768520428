// Fits the depth router (layers/depth_router.h) to the depths an oracle would have chosen: cross
// entropy, AdamW of its own, nothing flows into the backbone (math-backbone section 5).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "base/exec_context.h"
#include "layers/depth_router.h"

namespace chimera {

struct DepthRouterOptions {
  int epochs = 10;
  int batch_rows = 64;
  double lr = 4e-3;  // peak; linear warm-up over a twentieth of the steps, cosine to a tenth
  double weight_decay = 0.1;  // on the two matrices
};

// Counts on held-out rows, decided by the int8 form. A high accuracy means little by itself: where
// the oracle is constant it is 1. So the baseline stands beside it.
struct DepthRouterReport {
  explicit DepthRouterReport(int d_model) : params(d_model) {}

  DepthRouterParams params;
  // [oracle depth - 1][predicted depth - 1]
  std::array<std::array<int64_t, kDepthRouterDepths>, kDepthRouterDepths> confusion{};
  int64_t train_rows = 0;
  int64_t held_out_rows = 0;
  double accuracy = 0;
  double majority = 0;            // of always answering the commonest held-out depth
  double collapsed_accuracy = 0;  // both again with depths collapsed to 1, 2, 4
  double collapsed_majority = 0;
  double float_accuracy = 0;  // of the float form: what int8 costs
  double train_loss = 0;      // mean nats over the last epoch
};

// features [rows][d_model]: e of each token, in the order of the text; labels [rows]: oracle depth
// 1..6 (OracleDepth of layers/loop.h). Held out are whole runs of rows, every fifth, because
// neighbours in a text resemble each other. The result depends on the arguments only, not on the
// number of threads. INVALID_ARGUMENT for wrong sizes, fewer than 10 rows, a depth outside 1..6 or
// a feature that is not finite.
absl::StatusOr<DepthRouterReport> TrainDepthRouter(std::span<const float> features, int d_model,
                                                   std::span<const uint8_t> labels, uint64_t seed,
                                                   const DepthRouterOptions& options,
                                                   ExecContext* exec);

}  // namespace chimera
