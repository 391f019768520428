// The parameters of a completion, checked in one place for every way in (gRPC, CLI, tests).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "config/config.h"

namespace chimera {

inline constexpr int kStopStringsMax = 16;
inline constexpr size_t kStopBytesMax = 256;  // of one stop string
inline constexpr int kLogprobsMax = 20;
inline constexpr size_t kRequestIdBytesMax = 128;

struct SamplingParams {
  float temperature = 1.0f;         // 0..100; 0 is greedy
  float top_p = 1.0f;               // (0, 1]
  float repetition_penalty = 1.0f;  // 0.1..10; 1 is off
  int max_tokens = 256;             // 1..max_tokens_max
  uint64_t seed = 0;
  std::vector<std::string> stop;  // at most 16 of 1..256 bytes of UTF-8
  int logprobs = 0;               // 0: none; n in 1..20: the chosen token and the n likeliest
};

struct ParamLimits {
  int max_tokens_max = 4096;
  size_t prompt_bytes_max = 1 << 20;
};

// What a request that says nothing gets: the model's generation defaults within the limits.
SamplingParams DefaultParams(const GenerationConfig& generation, const ParamLimits& limits);

// INVALID_ARGUMENT naming the field, the value and the limit.
absl::Status ValidateParams(const SamplingParams& params, const ParamLimits& limits);
// 1 byte to prompt_bytes_max bytes of valid UTF-8.
absl::Status ValidatePrompt(std::string_view prompt, const ParamLimits& limits);
absl::Status ValidateRequestId(std::string_view request_id);

}  // namespace chimera
