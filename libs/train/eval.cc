#include "train/eval.h"

#include <algorithm>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/step.h"
#include "tensor/kernels.h"

namespace chimera {

absl::Status CheckLoops(const ModelConfig& config, int loops) {
  const LoopConfig& loop = config.loop;
  if (loops >= 0 && loops <= loop.loops_max) return absl::OkStatus();
  if (!loop.enabled) {
    return absl::InvalidArgumentError(
        absl::StrCat("loops ", loops, ": the model has no loop (looping.enabled), it runs 1"));
  }
  return absl::InvalidArgumentError(absl::StrCat("loops ", loops, " is outside 1..", loop.loops_max,
                                                 ", the end of the model's looping.loop_range"));
}

absl::StatusOr<EvalResult> EvaluateText(const Model& model, std::string_view text,
                                        ExecContext* exec,
                                        const std::function<void(int64_t, int64_t)>& progress,
                                        std::vector<float>* logprobs, int loops) {
  CHIMERA_RETURN_IF_ERROR(CheckLoops(model.shape(), loops));
  if (text.empty()) return absl::InvalidArgumentError("evaluation text is empty");
  const int64_t start = Clock::Real().NowNs();
  std::vector<int32_t> ids = {static_cast<int32_t>(model.tokenizer()->eot())};
  model.tokenizer()->EncodeAppend(text, &ids);
  const auto n = static_cast<int64_t>(ids.size()) - 1;
  const auto vocab = static_cast<size_t>(model.shape().vocab_size);

  Stepper stepper(model, exec);
  BraidState state(model.shape(), loops);
  std::vector<float> logits(vocab * Stepper::kBatchMax);
  EvalResult result;
  result.loops = state.loops();
  for (int64_t begin = 0; begin < n; begin += Stepper::kBatchMax) {
    const auto count = static_cast<size_t>(std::min<int64_t>(Stepper::kBatchMax, n - begin));
    const std::span<const float> hidden =
        stepper.Prefill(&state, std::span(ids).subspan(static_cast<size_t>(begin), count));
    stepper.Logits(hidden, static_cast<int>(count), std::span(logits).first(count * vocab));
    for (size_t i = 0; i < count; ++i) {
      const float* row = logits.data() + i * vocab;
      const float lse = Kernels().log_sum_exp(row, static_cast<int64_t>(vocab));
      const float logprob = row[ids[static_cast<size_t>(begin) + i + 1]] - lse;
      result.nats -= static_cast<double>(logprob);
      if (logprobs != nullptr) logprobs->push_back(logprob);
    }
    if (progress) progress(begin + static_cast<int64_t>(count), n);
  }
  result.tokens = n;
  result.bytes = static_cast<int64_t>(text.size());
  result.bpb = result.nats / (static_cast<double>(result.bytes) * std::numbers::ln2);
  result.seconds = static_cast<double>(Clock::Real().NowNs() - start) * 1e-9;
  return result;
}

std::string ModelSignature(const Model& model, ExecContext* exec) {
  constexpr int kTokens = 64;
  std::vector<int32_t> ids = {static_cast<int32_t>(model.tokenizer()->eot())};
  model.tokenizer()->EncodeAppend("It was a dark and stormy night", &ids);
  Stepper stepper(model, exec);
  BraidState state(model.shape());
  std::vector<float> logits(static_cast<size_t>(model.shape().vocab_size));
  std::vector<int32_t> said;
  int32_t next = 0;
  for (int32_t id : ids) {
    stepper.Logits(stepper.Step(&state, id), 1, logits);
    next = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  for (int i = 0; i < kTokens; ++i) {
    said.push_back(next);
    stepper.Logits(stepper.Step(&state, next), 1, logits);
    next = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  return Sha256Hex({reinterpret_cast<const uint8_t*>(said.data()), said.size() * sizeof(int32_t)})
      .substr(0, 16);
}

}  // namespace chimera
