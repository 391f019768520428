// The facts of one user in main memory, for Recall: their sketches in an index of the user's own,
// so that no request can see or time another user's facts.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "hdc/hypervector.h"
#include "hdc/search_policy.h"
#include "hdc/sketch_index.h"
#include "memory/fact_record.h"

namespace chimera {

// How near a fact has to be so that the tables find it with kRecallWanted (SearchPolicy).
inline constexpr double kRecallDistance = 0.30;
inline constexpr double kRecallWanted = 0.95;

// One KiB for each fact, about 80 bytes of bookkeeping and, from 4,096 facts on, the tables of
// SketchIndex. Thread-compatible.
class FactIndex {
 public:
  FactIndex();

  // Replaces the entry when the fact is there already.
  void Insert(uint64_t id, const FactHead& head, const HyperVector& sketch);
  // False when it was not there. Its bytes in memory are overwritten.
  bool Erase(uint64_t id);

  // Null when it is not there; valid until the next change.
  const FactHead* Find(uint64_t id) const;
  // The k nearest facts with a tag in tags_any (0: all facts), ordered by (distance, id). Exact,
  // but for this: where looking at all facts would cost more, a fact nearer than kRecallDistance
  // may be missed, one in twenty at that distance and hardly any at half of it, if k others are as
  // near.
  std::vector<SketchMatch> Nearest(const HyperVector& query, int k, uint32_t tags_any) const;
  // At most limit ids from first_id on, in order.
  std::vector<uint64_t> Ids(uint64_t first_id, size_t limit) const;

  int64_t facts() const { return static_cast<int64_t>(heads_.size()); }
  int64_t user_facts() const { return user_facts_; }  // of Source::kUser
  int64_t text_bytes() const { return text_bytes_; }

 private:
  std::vector<SketchMatch> NearestTagged(const HyperVector& query, int k, uint32_t tags_any) const;

  SketchIndex sketches_;
  absl::flat_hash_map<uint64_t, FactHead> heads_;
  SearchPolicy policy_;       // for the present number of facts
  int64_t policy_facts_ = 0;  // when it was chosen
  int64_t user_facts_ = 0;
  int64_t text_bytes_ = 0;
};

}  // namespace chimera
