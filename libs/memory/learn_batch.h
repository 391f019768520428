// What a session tells a memory of what it read (Memory::Learn), and what became of it. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "memory/safety_state.h"

namespace chimera {

inline constexpr size_t kReadTokensMax = 32768;  // of one call
inline constexpr size_t kReadTokenBytesMax = 1024;
inline constexpr size_t kReadBytesMax = 1 << 20;  // of one call's tokens together
inline constexpr size_t kFactEvaluationsMax = 16;

// A token that was committed, in the order of the text.
struct ReadToken {
  std::string text;     // its bytes; "" for a token without text
  float surprise = 0;   // VerifyResult::surprises; finite, not negative
  bool failed = false;  // a certificate failed or the text was taken back here
  // The user's own words: a fact may be made of them. What the model wrote itself is only watched.
  bool offered = false;
};

// What a recalled fact was worth to a text it was not made of (math-inference-training C.6).
struct FactEvaluation {
  std::string fact_id;
  double nll_with = 0;     // nats of the text's tokens behind the fact
  double nll_without = 0;  // and without it
  int tokens = 0;          // 1..64
  std::string context;     // what the fact was recalled for; UTF-8, 1..16,384 bytes
};

struct LearnBatch {
  std::vector<ReadToken> tokens;
  std::vector<FactEvaluation> evaluations;
};

struct LearnReport {
  int64_t written = 0;     // facts
  int64_t refused = 0;     // facts and guidelines: by state, ceiling or quota
  int64_t evaluated = 0;   // of facts that are still there
  int64_t rejected = 0;    // facts that went because of it
  int64_t guidelines = 0;  // made
  int64_t rollbacks = 0;
  EvolutionState state = EvolutionState::kNormal;  // afterwards
  FreezeReason reason = FreezeReason::kNone;       // of the last freeze
};

}  // namespace chimera
