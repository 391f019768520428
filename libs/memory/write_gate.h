// What the memory writes down by itself (math-inference-training C.6): a token whose surprise is
// two standard deviations above the running mean, seldom and not often. Then whether a fact was
// worth it: the text that followed its first retrievals, scored with the fact readable and without
// it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace chimera {

struct WriteGateOptions {
  double beta = 0.99;  // of the running mean and variance
  double sigmas = 2.0;
  int tokens_between = 32;        // from one write to the next; also before the first
  int writes_per_session = 1000;  // self_evolution.tier1.memory_growth.max_per_session
};

// One session's gate, fed with the surprise of every committed token (the gradient norm of the
// Titans layers, a finite number >= 0; others are ignored and counted). Until 1 / (1 - beta) tokens
// have come the moments are plain averages, afterwards exponential ones. Allocates nothing.
// Thread-compatible.
class WriteGate {
 public:
  // 0 < beta < 1, sigmas > 0, tokens_between >= 1, writes_per_session >= 0 (checked).
  explicit WriteGate(const WriteGateOptions& options = {});

  // True when this token is to be written. It is judged by the moments of the tokens before it.
  bool Observe(double surprise);

  double mean() const { return mean_; }
  double variance() const { return variance_; }
  int64_t tokens() const { return tokens_; }
  int64_t writes() const { return writes_; }
  int64_t ignored() const { return ignored_; }

  // Magic CHWGATE1, 72 bytes. The options are not in it.
  std::string Encode() const;
  static absl::StatusOr<WriteGate> Decode(const WriteGateOptions& options, std::string_view bytes);

 private:
  WriteGateOptions options_;
  double mean_ = 0;
  double variance_ = 0;
  int64_t tokens_ = 0;
  int64_t since_write_ = 0;
  int64_t writes_ = 0;
  int64_t ignored_ = 0;
};

struct ContrastiveOptions {
  int window_tokens = 64;    // of the text after a retrieval
  int trials = 3;            // retrievals that decide
  double min_benefit = 0.0;  // diagnostics.thresholds.min_contrastive_benefit
  uint32_t one_in = 8;       // facts that are evaluated at all
  double weight_keep = 0.9;  // w <- keep * w + (1 - keep) * clip(delta, -1, 1)
};

// A fact's record of evaluations; part of a FactPool entry.
struct FactTrial {
  float weight = 0;     // in [-1, 1]; what dropping looks at
  float delta_sum = 0;  // of the deciding trials, each clipped to [-1, 1]
  uint8_t trials = 0;   // at most ContrastiveOptions::trials

  bool operator==(const FactTrial&) const = default;
};

enum class TrialVerdict : uint8_t { kOpen, kKeep, kDrop };

// Whether the fact belongs to the evaluated sample: a hash of the id, the same everywhere.
bool IsEvaluated(const ContrastiveOptions& options, uint64_t fact_id);

// The benefit of a fact in nats a token: (nll without - nll with) / tokens, where both sums are
// over the same window. INVALID_ARGUMENT when a sum is not finite or negative or tokens is not 1 ..
// window_tokens.
absl::StatusOr<double> ContrastiveDelta(const ContrastiveOptions& options, double nll_with,
                                        double nll_without, int tokens);

// Takes one finite delta in. kDrop when this was the deciding trial and the mean is below
// min_benefit; kKeep when the fact has passed, now or before.
TrialVerdict RecordTrial(const ContrastiveOptions& options, double delta, FactTrial* trial);

}  // namespace chimera
