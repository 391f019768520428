// What was tried before and how it went (math-inference-training D.4): cases, each a context
// sketch, a plan and a learned value q, found again by likeness and value (soft Q-learning without
// a network).
//   k(s,c) = exp(-max(0, hamming(s, c) - 2800) / 200)
//   Q(s,c) = q + 0.1 sqrt(log(1 + N) / (1 + n)) + 0.5 log k(s,c),  N = outcomes of all cases
//   pi(c|s) = exp(Q / 0.2) over the 64 nearest cases, normalised
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hdc/hypervector.h"

namespace chimera {

inline constexpr size_t kCaseBytes = 2048;  // of one case on disk
inline constexpr size_t kCasePlanBytesMax = 900;
inline constexpr size_t kCaseTagsBytesMax = 96;

struct EpisodicOptions {
  int cases_max = 4096;  // self_evolution.tier2.episodic_cases.max_cases
  int nearest = 64;
  int chosen_max = 4;
  int hit_distance = 3700;  // a retrieval whose nearest case is no farther is a hit
  double learning_rate = 0.1;
  double insert_margin = 0.2;  // |r - 0.5| above it makes a case
  uint64_t seed = 0;           // of the draws when exploring
};

struct EpisodicCase {
  uint64_t id = 0;  // XXH3-64 of sketch, sizes, plan and tags; not on disk
  HyperVector sketch;
  std::string plan;       // at most kCasePlanBytesMax bytes
  std::string tags;       // at most kCaseTagsBytesMax bytes
  float q = 0;            // learned value, in [0, 1]
  uint32_t n = 0;         // outcomes that shaped it, its first one included
  float reward_ema = 0;   // average of the outcomes themselves, in [0, 1]
  uint32_t t_last_s = 0;  // last outcome, seconds since 1970
};

// The 2,048 bytes of a case (docs/formats/evolution-state.md).
std::string EncodeCase(const EpisodicCase& c);
// DATA_LOSS naming the fault.
absl::StatusOr<EpisodicCase> DecodeCase(std::string_view bytes);
// What EpisodicCase::id is.
uint64_t CaseIdOf(const HyperVector& sketch, std::string_view plan, std::string_view tags);

// A case as it was chosen.
struct CaseChoice {
  uint64_t id = 0;
  int distance = 0;
  double q_value = 0;      // Q(s,c)
  double probability = 0;  // pi(c|s)
  double share = 0;        // pi(c|s) / max pi: how much of an outcome it takes
};

struct CaseCounters {
  uint64_t retrievals = 0;
  uint64_t hits = 0;
  uint64_t outcomes = 0;
  uint64_t inserted = 0;
  uint64_t evicted = 0;

  bool operator==(const CaseCounters&) const = default;
};

// At most 8 MiB at 4,096 cases. A retrieval scans all sketches. Thread-compatible.
class EpisodicCases {
 public:
  // cases_max 1 .. 65536, 1 <= chosen_max <= nearest (checked).
  explicit EpisodicCases(const EpisodicOptions& options = {});

  // The policy over the nearest cases, most probable first (ties: nearer, then smaller id).
  std::vector<CaseChoice> Policy(const HyperVector& sketch) const;
  // At most chosen_max of them: the most probable ones or, exploring, drawn without replacement by
  // Philox (seed, purpose 10, number of the retrieval, id). Counts the retrieval.
  std::vector<CaseChoice> Retrieve(const HyperVector& sketch, bool explore);

  // An episode that used the chosen case went with outcome r: q += rate * share * (r - q). False
  // when the case has been evicted since. INVALID_ARGUMENT unless r is in [0, 1].
  absl::StatusOr<bool> RecordOutcome(const CaseChoice& choice, double r, uint32_t now_s);
  // Keeps an episode as a new case when |r - 0.5| exceeds the margin, with q = r; returns whether
  // it did. When full the case with the least q + 0.05 log(1 + n) - 0.01 days since t_last goes.
  // The same sketch, plan and tags again are no new case. INVALID_ARGUMENT: sizes, r.
  absl::StatusOr<bool> Insert(const HyperVector& sketch, std::string_view plan,
                              std::string_view tags, double r, uint32_t now_s);

  // Takes a case in as it was kept elsewhere (DecodeCase), without judging it; its id must not be
  // there yet. False when no room is left.
  bool Restore(EpisodicCase c);

  // Null when absent; valid until the next Insert.
  const EpisodicCase* Find(uint64_t id) const;
  const std::vector<EpisodicCase>& cases() const { return cases_; }
  const CaseCounters& counters() const { return counters_; }
  int64_t bytes() const { return static_cast<int64_t>(cases_.size() * kCaseBytes); }

  // Magic CHCASES1 (docs/formats/evolution-state.md).
  std::string Encode() const;
  // DATA_LOSS naming the fault; FAILED_PRECONDITION when it holds more than options.cases_max.
  static absl::StatusOr<EpisodicCases> Decode(const EpisodicOptions& options,
                                              std::string_view bytes);

 private:
  size_t Weakest(uint32_t now_s) const;

  EpisodicOptions options_;
  std::vector<EpisodicCase> cases_;
  uint64_t outcomes_of_all_ = 0;  // N
  CaseCounters counters_;
};

}  // namespace chimera
