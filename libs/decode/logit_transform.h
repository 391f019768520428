// From logits to the sparse distribution that travels (DESIGN D4): repetition penalty, weights of
// classes and tokens, mask, temperature, in that order (math-inference-training A.5), then the top
// rows, the log-sum-exp and the entropy over all allowed rows. Runs in the knot. Sums have one
// fixed order: 16 lanes in double, folded pairwise, so the result has the same bits on every
// machine.
//
// Only allowed rows are looked at, so only their tiles need be evaluated (mask-first): Tiles says
// which, ApplyTiles takes their logits. What needs every row is raw_log_sum_exp; a transform that
// omits it costs the allowed rows alone.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "decode/knot.h"
#include "decode/logit_weights.h"
#include "decode/row_set.h"

namespace chimera {

// Checks the numbers of a transform that came from outside: INVALID_ARGUMENT.
absl::Status ValidateTransform(const LogitTransform& transform);

// Scratch for one stream; its size follows from vocab_size, and nothing but the rows of a result
// is allocated later. Thread-compatible.
class LogitTransformer {
 public:
  LogitTransformer(int vocab_size, AllowedRows allowed);

  // logits: vocab_size values. seen: the tokens the penalty looks at; special tokens among them
  // are ignored, so that end-of-text stays as likely as the model says. mask: one bit a token,
  // least significant first, or empty. Returns rows [first, first + count), fewer at the end, and
  // with first = 0 no more than it takes for their mass to reach transform.top_p, as the sampler
  // sums it. weights must have passed CheckWeights; their table counts, not the transform's.
  // INTERNAL when a logit that counts is not finite, INVALID_ARGUMENT when nothing is allowed.
  absl::StatusOr<NodeDistribution> Apply(std::span<const float> logits,
                                         std::span<const int32_t> seen,
                                         std::span<const uint64_t> mask,
                                         const LogitTransform& transform, int first, int count,
                                         const LogitWeights& weights = {});

  // INVALID_ARGUMENT for a mask of another size, or one that allows nothing.
  absl::Status CheckMask(std::span<const uint64_t> mask) const { return rows_.Check(mask); }
  // The tiles of 16 rows that hold an allowed row, ascending; valid until the next call.
  absl::StatusOr<std::span<const int32_t>> Tiles(std::span<const uint64_t> mask);
  // What Apply returns for the mask of the last Tiles, bit for bit, from the logits of those tiles,
  // 16 each. The transform must omit the raw mass: INVALID_ARGUMENT.
  absl::StatusOr<NodeDistribution> ApplyTiles(std::span<const float> logits,
                                              std::span<const int32_t> seen,
                                              const LogitTransform& transform, int first, int count,
                                              const LogitWeights& weights = {});

 private:
  // Logits of rows, all of them or those of tiles.
  struct Source {
    std::span<const float> logits;
    const RowSet* tiles = nullptr;  // null: all rows

    float At(int32_t id) const;
  };

  absl::StatusOr<NodeDistribution> Run(const Source& source, std::span<const int32_t> seen,
                                       const LogitTransform& transform, int first, int count,
                                       const LogitWeights& weights);
  void Gather(const Source& source);
  // The three before the temperature. class_weights_ are those of the node.
  void AddClassWeights(const LogitWeights& weights);
  void Penalise(const Source& source, std::span<const int32_t> seen, float penalty,
                const LogitWeights& weights);
  void AddTokenWeights(std::span<const TokenWeight> tokens);
  // Puts the keys of rows [begin, end) in order into keys_[begin..end); end <= number of rows.
  void SelectKeys(size_t begin, size_t end);
  // How many of the first n sorted rows it takes to reach a mass, or n + 1 when they do not.
  size_t RowsFor(double mass, float log_sum_exp, size_t n) const;
  void SelectRows(const Source& source, double top_p, int first, int count, NodeDistribution* out);

  const int vocab_size_;
  const int n_ranks_;
  RowSet rows_;
  std::array<float, kClassesMax> class_weights_ = {};
  std::vector<float> scores_;   // transformed logits of allowed rows, by id
  std::vector<float> maxima_;   // of their strands (row_scan.h)
  std::vector<float> largest_;  // maxima_ in another order
  std::vector<uint64_t> keys_;  // sortable (-score, position)
};

}  // namespace chimera
