#include "decode/params.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "decode/logit_transform.h"
#include "text/utf8.h"

namespace chimera {

SamplingParams DefaultParams(const GenerationConfig& generation, const ParamLimits& limits) {
  SamplingParams params;
  params.temperature = generation.do_sample ? static_cast<float>(generation.temperature) : 0.0f;
  params.top_p = static_cast<float>(generation.top_p);
  params.repetition_penalty = static_cast<float>(generation.repetition_penalty);
  params.max_tokens = std::clamp(generation.max_new_tokens, 1, limits.max_tokens_max);
  return params;
}

absl::Status ValidateParams(const SamplingParams& params, const ParamLimits& limits) {
  LogitTransform transform;
  transform.temperature = params.temperature;
  transform.repetition_penalty = params.repetition_penalty;
  transform.top_p = params.top_p;
  CHIMERA_RETURN_IF_ERROR(ValidateTransform(transform));
  if (params.max_tokens < 1 || params.max_tokens > limits.max_tokens_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_tokens ", params.max_tokens, " is outside 1..", limits.max_tokens_max));
  }
  if (params.logprobs < 0 || params.logprobs > kLogprobsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("logprobs ", params.logprobs, " is outside 0..", kLogprobsMax));
  }
  if (params.stop.size() > static_cast<size_t>(kStopStringsMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("stop has ", params.stop.size(), " strings, the limit is ", kStopStringsMax));
  }
  for (size_t i = 0; i < params.stop.size(); ++i) {
    const std::string& stop = params.stop[i];
    if (stop.empty() || stop.size() > kStopBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("stop[", i, "] has ", stop.size(),
                                                     " bytes, allowed are 1..", kStopBytesMax));
    }
    if (ValidUtf8Prefix(stop) != stop.size()) {
      return absl::InvalidArgumentError(absl::StrCat("stop[", i, "] is not valid UTF-8"));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidatePrompt(std::string_view prompt, const ParamLimits& limits) {
  if (prompt.empty()) {
    return absl::InvalidArgumentError("prompt is empty, at least 1 byte is needed");
  }
  if (prompt.size() > limits.prompt_bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat(
        "prompt has ", prompt.size(), " bytes, the limit is ", limits.prompt_bytes_max));
  }
  if (ValidUtf8Prefix(prompt) != prompt.size()) {
    return absl::InvalidArgumentError("prompt is not valid UTF-8");
  }
  return absl::OkStatus();
}

absl::Status ValidateRequestId(std::string_view request_id) {
  if (request_id.size() > kRequestIdBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("request_id has ", request_id.size(),
                                                   " bytes, the limit is ", kRequestIdBytesMax));
  }
  return absl::OkStatus();
}

}  // namespace chimera
