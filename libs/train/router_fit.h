// Fits the depth router of a trained looped model: the text is run with every iteration there is,
// the depth each token would have needed is what the router learns to guess from the loop's feed
// (math-backbone 5; FEATURES S10). The backbone is not touched.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "model/network.h"
#include "train/depth_router_trainer.h"

namespace chimera {

// Trains on the first tokens of `text` (at most kRouterTokens) and writes the router's tensors into
// the parameters. The network must be prepared; the tape is reset. INVALID_ARGUMENT when the text
// is too short.
inline constexpr int64_t kRouterTokens = 1 << 15;
absl::StatusOr<DepthRouterReport> FitDepthRouter(const ModelConfig& config,
                                                 std::span<const int32_t> text, uint64_t seed,
                                                 Network* network, Tape* tape,
                                                 Parameters* parameters);

// The report as JSON: accuracies with their baselines, and the confusion matrix.
std::string RouterReportJson(const DepthRouterReport& report);

}  // namespace chimera
