// Bits per byte of a served model over a text, DESIGN D7: one pass, state carried, the first token
// predicted from end-of-text, every byte counted once. The same plane that serves.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/exec_context.h"
#include "config/model_config.h"
#include "model/model.h"

namespace chimera {

struct EvalResult {
  double bpb = 0;
  int64_t bytes = 0;
  int64_t tokens = 0;
  int loops = 1;  // iterations of the looped block, 1 without one
  double seconds = 0;
  double nats = 0;  // summed over tokens
};

// OK for 0, the model's default, and for 1..loops_max. INVALID_ARGUMENT names value and limits.
absl::Status CheckLoops(const ModelConfig& config, int loops);

// progress(done_tokens, total_tokens) may be empty. INVALID_ARGUMENT for an empty text and by
// CheckLoops. logprobs, when given, receives the natural log-probability of every token. Every
// token runs `loops` iterations of the looped block.
absl::StatusOr<EvalResult> EvaluateText(const Model& model, std::string_view text,
                                        ExecContext* exec,
                                        const std::function<void(int64_t, int64_t)>& progress,
                                        std::vector<float>* logprobs = nullptr, int loops = 0);

// Sixteen hex digits that stand for what a model says: the hash of 64 greedy tokens after a fixed
// prompt. The same on every machine; a change of arithmetic or of weights changes it.
std::string ModelSignature(const Model& model, ExecContext* exec);

}  // namespace chimera
