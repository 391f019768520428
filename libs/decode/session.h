// One completion, from prompt to finish reason: prefill, draw, stop strings, UTF-8, logprobs
// (FEATURES S11). The same code runs behind the surface service and inside `chimera complete`.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "decode/knot.h"
#include "decode/params.h"
#include "decode/sampler.h"
#include "decode/stop_scanner.h"
#include "text/streaming.h"
#include "text/tokenizer.h"

namespace chimera {

enum class FinishReason { kNone, kEndOfText, kStop, kMaxTokens };

// "none", "end_of_text", "stop", "max_tokens".
const char* FinishReasonName(FinishReason reason);

struct RankedToken {
  int32_t token_id = 0;
  float logprob = 0.0f;
};

// Natural logs under the model before penalty, temperature and top_p.
struct TokenLogprobs {
  float logprob = 0.0f;          // of the chosen token
  std::vector<RankedToken> top;  // the n likeliest that may be generated, by (-logprob, id)
};

// What one step added.
struct SessionEvent {
  std::string text;                     // complete UTF-8; may be empty while text is held back
  std::vector<int32_t> token_ids;       // end-of-text is never among them
  std::vector<TokenLogprobs> logprobs;  // one per token id, when asked for
  FinishReason reason = FinishReason::kNone;
  int stop_index = -1;  // into params.stop, when reason is kStop
};

inline constexpr int kPrefillNodes = 512;  // nodes of one prefill pass

// One timeline over one knot stream. Thread-compatible, but Cancel may be called from any thread.
class Session {
 public:
  // params must have passed ValidateParams; the tokenizer must be the one of stream's model.
  Session(std::unique_ptr<KnotStream> stream, std::shared_ptr<const Tokenizer> tokenizer,
          const SamplingParams& params);

  // Runs the prompt, prefixed by end-of-text. Call once. INVALID_ARGUMENT for an empty prompt or a
  // token that is not text.
  absl::Status Start(std::span<const int32_t> prompt);
  // Draws one token. After an event with a reason, or an error, the session is over.
  absl::StatusOr<SessionEvent> Step();
  void Cancel() { stream_->Cancel(); }

  const std::string& model_id() const { return stream_->model_id(); }
  int prompt_tokens() const { return prompt_tokens_; }
  int completion_tokens() const { return completion_tokens_; }
  // Of the last pass; for metrics.
  int loops_run() const { return loops_run_; }

 private:
  absl::Status Run(std::span<const int32_t> tokens, bool want_distribution);
  absl::Status FetchRows(int first, int count, NodeDistribution* rows);
  absl::StatusOr<TokenLogprobs> Logprobs(const DrawnToken& drawn);
  void EndText(SessionEvent* event, FinishReason reason);

  std::unique_ptr<KnotStream> stream_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  const SamplingParams params_;
  const SamplerSettings sampler_;
  LogitTransform transform_;
  StreamingDecoder decoder_;
  StopScanner stops_;
  NodeDistribution next_;       // of the token to draw
  int32_t pending_token_ = -1;  // drawn, not run yet
  int prompt_tokens_ = 0;
  int completion_tokens_ = 0;
  int loops_run_ = 0;
  bool over_ = false;
};

}  // namespace chimera
