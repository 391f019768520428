// One completion, from prompt to finish reason: prefill, grammar mask, draw, stop strings, UTF-8,
// logprobs (FEATURES S6, S11). The same code runs behind the surface service and inside `chimera
// complete`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "decode/knot.h"
#include "decode/memory_track.h"
#include "decode/params.h"
#include "decode/sampler.h"
#include "decode/stop_scanner.h"
#include "decode/text_guide.h"
#include "grammar/token_grammar.h"
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
  int stop_index = -1;                   // into params.stop, when reason is kStop
  std::vector<MemoryRead> memory_reads;  // that were due in this step
};

inline constexpr int kPrefillNodes = 512;  // nodes of one prefill pass

// What a grammar did to a completion.
struct GrammarOutcome {
  bool complete = true;   // the text is one of the language, not only the beginning of one
  int open_bytes = 0;     // of the shortest end, when it is not
  int masked_steps = 0;   // draws from less than all tokens
  int withheld_ends = 0;  // draws at which the text could not end yet
  int budget_steps = 0;   // draws that the tokens left narrowed down to close what is open
  int forced_tokens = 0;  // emitted without asking the model: nothing else could follow
};

// What became of the debts of one type.
struct DebtOutcome {
  DebtType type = DebtType::kCloseBracket;
  DebtCounts counts;
};

// A token of the text that the model has read.
struct RanToken {
  int32_t token_id = 0;
  float surprise = 0.0f;   // VerifyResult::surprises; 0 of a model that has none
  bool generated = false;  // drawn or forced, not of the prompt
};

// One timeline over one knot stream. Thread-compatible, but Cancel may be called from any thread.
class Session {
 public:
  // params must have passed ValidateParams; the tokenizer must be the one of stream's model.
  // grammar: what the completion has to be, over the same tokenizer; nullopt: any text. As soon as
  // the tokens left are needed to bring the text to an end, only such tokens are drawn.
  // guide: weights for what is drawn; null: none. Over the same tokenizer, not begun.
  // memory: what is read while the text grows; null: nothing.
  Session(std::unique_ptr<KnotStream> stream, std::shared_ptr<const Tokenizer> tokenizer,
          const SamplingParams& params, std::optional<GrammarMatcher> grammar = std::nullopt,
          std::unique_ptr<TextGuide> guide = nullptr,
          std::unique_ptr<MemoryTrack> memory = nullptr);

  // From Start on ran() grows, and the knot is asked for surprises. Call before Start.
  void KeepRan();
  // Runs the prompt, prefixed by end-of-text. Call once. INVALID_ARGUMENT for an empty prompt or a
  // token that is not text.
  absl::Status Start(std::span<const int32_t> prompt);
  // Draws one token, or takes those that a grammar leaves no choice about. After an event with a
  // reason, or an error, the session is over.
  absl::StatusOr<SessionEvent> Step();
  void Cancel() { stream_->Cancel(); }

  const std::string& model_id() const { return stream_->model_id(); }
  int prompt_tokens() const { return prompt_tokens_; }
  int completion_tokens() const { return completion_tokens_; }
  // Of the last pass; for metrics.
  int loops_run() const { return loops_run_; }
  bool has_grammar() const { return grammar_.has_value(); }
  // Of a session with a grammar.
  GrammarOutcome grammar_outcome() const;
  // Of the types that had any; empty without a ledger.
  std::vector<DebtOutcome> debt_outcomes() const;
  // Of a session with a memory.
  MemoryCounts memory_counts() const { return memory_ ? memory_->counts() : MemoryCounts(); }
  // After KeepRan: prompt and completion as far as they were run, without the leading end-of-text
  // and without what was drawn last. At most prompt tokens + max_tokens, which Start makes room
  // for. Valid until the next call.
  std::span<const RanToken> ran() const { return ran_; }

 private:
  // Any number of tokens, in passes of kPrefillNodes, or up to the next position divisible by 16
  // behind the prompt of a session with a memory; next_ is what follows the last one.
  absl::Status RunAll(std::span<const int32_t> tokens);
  absl::Status Run(std::span<const int32_t> tokens, bool want_distribution);
  // What was run at position_, for ran_.
  absl::Status Keep(std::span<const int32_t> tokens, std::span<const float> surprises);
  // The mask of the token to draw next.
  absl::StatusOr<std::shared_ptr<const NodeMask>> NextMask();
  // Tokens that certainly come next.
  std::vector<int32_t> ForcedTokens() const;
  // Takes a token into the text; false when the completion is over with it.
  absl::StatusOr<bool> Emit(int32_t token, SessionEvent* event);
  int tokens_left() const { return params_.max_tokens - completion_tokens_; }
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
  std::optional<GrammarMatcher> grammar_;
  GrammarOutcome outcome_;
  std::unique_ptr<TextGuide> guide_;
  std::unique_ptr<MemoryTrack> memory_;
  std::vector<MemoryRead> reads_;  // of the step that runs
  int64_t position_ = 0;           // committed
  std::vector<RanToken> ran_;
  bool keep_ran_ = false;
  float least_weight_ = 0.0f;     // that next_ has for any token, or less; at most 0
  NodeDistribution next_;         // of the token to draw
  std::vector<int32_t> pending_;  // drawn, not run yet
  int prompt_tokens_ = 0;
  int completion_tokens_ = 0;
  int loops_run_ = 0;
  bool over_ = false;
};

}  // namespace chimera
