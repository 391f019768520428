// After a completion that named a user: tells his memory what was read and what recalled facts were
// worth (math-inference-training C.6), on a thread of its own, so that no stream waits for it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/metrics_sink.h"
#include "cluster/executor.h"
#include "decode/knot.h"
#include "decode/memory_view.h"
#include "decode/session.h"
#include "memory/memory.h"
#include "text/tokenizer.h"

namespace chimera {

inline constexpr size_t kSessionsWaitingMax = 16;  // to be learned from
inline constexpr int kEvaluatedFacts = 1;          // of one session: each costs two prefills
inline constexpr size_t kEvaluatedTokens = 256;    // of the prompt's end, of which 64 are scored

// What a completion leaves behind.
struct FinishedSession {
  std::string user;
  std::string model_id;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string prompt;               // the user's own words
  size_t context_bytes = 0;         // of recalled facts, which stood before them
  std::vector<RanToken> ran;        // Session::ran
  std::vector<RecalledText> facts;  // recalled for the prompt
};

// The tokens of a session for Memory::Learn: those of the prompt are offered, those of recalled
// facts, and what the model wrote, are not.
std::vector<ReadToken> ReadTokensOf(const FinishedSession& session);

// Thread-safe.
class SessionLearning {
 public:
  // All are borrowed; metrics may be null.
  SessionLearning(Knot* knot, Memory* memory, MetricsSink* metrics);
  // Waits for the session that is being learned from; those that wait are let go.
  ~SessionLearning() { stopping_ = true; }

  // Never blocks. A session that finds kSessionsWaitingMax others waiting is let go, and counted.
  void Learn(FinishedSession session);
  // Sessions that have not been learned from yet.
  size_t waiting() const;

 private:
  void LearnNow(const FinishedSession& session);
  absl::StatusOr<FactEvaluation> Evaluate(const FinishedSession& session,
                                          const RecalledText& fact) const;
  void Count(const char* outcome) const;

  Knot* const knot_;
  Memory* const memory_;
  MetricsSink* const metrics_;
  std::atomic<bool> stopping_{false};
  Executor executor_;  // last, so that its threads end first
};

}  // namespace chimera
