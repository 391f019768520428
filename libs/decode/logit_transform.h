// From logits to the sparse distribution that travels (DESIGN D4): repetition penalty, mask,
// temperature, in that order (math-inference-training A.5), then the top rows, the log-sum-exp and
// the entropy over all allowed rows. Runs in the knot. Sums have one fixed order: 16 lanes in
// double, folded pairwise, so the result has the same bits on every machine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "decode/knot.h"

namespace chimera {

// Which rows of a vocabulary may be generated: byte sequences and end-of-text, never another
// special token.
struct AllowedRows {
  int n_ranks = 0;  // ids below are byte sequences
  int eot = 0;

  bool Has(int id) const { return id < n_ranks || id == eot; }
};

// Checks the numbers of a transform that came from outside: INVALID_ARGUMENT.
absl::Status ValidateTransform(const LogitTransform& transform);

// Scratch for one stream; its size follows from vocab_size. Thread-compatible.
class LogitTransformer {
 public:
  LogitTransformer(int vocab_size, AllowedRows allowed);

  // logits: vocab_size values, overwritten. seen: the tokens the penalty looks at; special tokens
  // among them are ignored, so that end-of-text stays as likely as the model says. mask: one bit a
  // token, least significant first, or empty. Returns rows [first, first + count), fewer at the
  // end. INTERNAL when a logit is not finite, INVALID_ARGUMENT when nothing is allowed.
  absl::StatusOr<NodeDistribution> Apply(std::span<float> logits, std::span<const int32_t> seen,
                                         std::span<const uint64_t> mask,
                                         const LogitTransform& transform, int first, int count);

 private:
  void Penalise(std::span<float> logits, std::span<const int32_t> seen, float penalty);
  void SelectRows(std::span<const float> raw, std::span<const float> transformed, float temperature,
                  int first, int count, NodeDistribution* out);

  const int vocab_size_;
  const AllowedRows allowed_;
  std::vector<float> raw_;           // logits as they came
  std::vector<float> scores_;        // transformed logits of allowed rows
  std::vector<int32_t> ids_;         // their ids
  std::vector<uint64_t> keys_;       // sortable (-score, id)
  std::vector<uint64_t> seen_bits_;  // one bit a token; all zero between calls
};

}  // namespace chimera
