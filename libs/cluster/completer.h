// A completion from the raw request to its last event: defaults, checks, the right model, a slot,
// the session, the figures. The surface service and `chimera complete --model` both run this.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "cluster/executor.h"
#include "cluster/metrics.h"
#include "cluster/model_frontend.h"
#include "cluster/session_learning.h"
#include "decode/session.h"
#include "memory/memory.h"

namespace chimera {

// What a client asked for; unset fields take the model's defaults.
struct CompletionRequest {
  std::string prompt;
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<float> repetition_penalty;
  std::optional<int> max_tokens;
  std::optional<uint64_t> seed;  // unset: one is drawn and reported
  std::vector<std::string> stop;
  GrammarSource grammar;
  std::string user;   // whose memory is read; empty: nobody's
  bool learn = true;  // let the user's memory learn from it, where the completer does
  int logprobs = 0;
  std::string model_id;  // empty: the current model
  std::string request_id;
  int64_t arrival_ns = 0;   // on Clock::Real()
  int64_t deadline_ns = 0;  // 0: none
};

// What a user's memory had for a prompt.
struct MemoryContext {
  std::vector<RecalledText> facts;  // best first; those that are certain stand before the prompt
  std::string fault;                // why nothing could be recalled; the completion goes on
};

struct CompletionStart {
  std::string model_id;
  SamplingParams params;                // in force
  int prompt_tokens = 0;                // those of recalled facts among them
  std::optional<MemoryContext> memory;  // of a request that names a user
  std::shared_ptr<const Tokenizer> tokenizer;
};

struct CompletionEnd {
  FinishReason reason = FinishReason::kNone;
  int stop_index = -1;
  int prompt_tokens = 0;
  int completion_tokens = 0;
  std::optional<GrammarOutcome> grammar;  // of a request with a grammar
  std::vector<DebtOutcome> debts;         // of a request with a mode
  std::optional<MemoryCounts> memory;     // of a request that names a user
  double queue_seconds = 0;               // all from arrival
  double first_token_seconds = 0;
  double total_seconds = 0;
};

// Receives the events of one completion, on the thread that runs it. A failed status ends it.
class CompletionSink {
 public:
  virtual ~CompletionSink() = default;
  virtual absl::Status OnStart(const CompletionStart& start) = 0;
  virtual absl::Status OnEvent(const SessionEvent& event) = 0;
};

// Ends one completion from outside, within one step, wherever it is. Thread-safe.
class CancelToken {
 public:
  void Cancel();
  bool cancelled() const;
  // Sleeps; false when cancelled meanwhile.
  bool Sleep(int ms);

 private:
  friend class CancelScope;
  mutable Mutex mutex_;
  CondVar wake_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<void()> on_cancel_ ABSL_GUARDED_BY(mutex_);
};

// What cancelling means while this lives: the function runs at most once, at once when the token is
// cancelled already, and never after the scope ended. It must not block. One scope at a time.
class CancelScope {
 public:
  CancelScope(CancelToken* token, std::function<void()> on_cancel);
  ~CancelScope();
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

 private:
  CancelToken* const token_;
};

// Thread-safe.
class Completer {
 public:
  // All are borrowed; metrics may be null. Without a memory a request that names a user is
  // FAILED_PRECONDITION. learn: memories learn from completions (session_learning.h).
  Completer(Knot* knot, const ParamLimits& limits, Metrics* metrics, Memory* memory = nullptr,
            bool learn = false);

  // Blocks until the completion is over. Its slot is free again when this returns.
  absl::StatusOr<CompletionEnd> Run(const CompletionRequest& request, CompletionSink* sink,
                                    CancelToken* cancel);

  absl::StatusOr<std::vector<int32_t>> Tokenize(const std::string& text);
  const ParamLimits& limits() const { return limits_; }
  // Completions that a memory has not learned from yet.
  size_t learning() const { return learning_ == nullptr ? 0 : learning_->waiting(); }

 private:
  struct Timing;
  absl::StatusOr<CompletionEnd> RunChecked(const CompletionRequest& request, CompletionSink* sink,
                                           CancelToken* cancel, Timing* timing);
  absl::StatusOr<std::shared_ptr<const ModelFrontend>> OpenStream(
      const CompletionRequest& request, CancelToken* cancel, std::unique_ptr<KnotStream>* stream);
  absl::StatusOr<std::optional<GrammarMatcher>> MatcherFor(const CompletionRequest& request,
                                                           const ModelFrontend& frontend);
  absl::StatusOr<CompletionEnd> Generate(Session* session, const std::vector<int32_t>& prompt,
                                         CompletionSink* sink, Timing* timing);
  absl::Status CheckUser(const CompletionRequest& request) const;
  // Nothing for a request without a user.
  std::optional<MemoryContext> ContextFor(const CompletionRequest& request);
  void RecordGrammar(const GrammarOutcome& outcome);
  void RecordDebts(const std::vector<DebtOutcome>& debts);
  void Record(const absl::StatusOr<CompletionEnd>& end, const Timing& timing);

  Knot* const knot_;
  const ParamLimits limits_;
  Metrics* const metrics_;
  Memory* const memory_;
  FrontendCache frontends_;
  std::unique_ptr<Executor> memory_reads_;  // with a memory
  std::unique_ptr<SessionLearning> learning_;
};

}  // namespace chimera
