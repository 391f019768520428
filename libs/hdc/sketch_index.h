// The nearest of many sketches (math-inference-training C.3): vectors of 1 KiB under ids of 64
// bits, found through 64 tables of 14 sampled bits or by looking at all of them. One index holds
// what one user owns, so nobody's search takes longer for what others keep.
//
// A search returns the k nearest candidates of its policy, ordered by (distance, id), with exact
// distances. Which vectors are candidates follows from their bits alone, never from the order of
// arrival or from what has been erased.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hdc/bucket_tables.h"
#include "hdc/hypervector.h"
#include "hdc/lsh.h"
#include "hdc/search_policy.h"
#include "hdc/slot_map.h"
#include "hdc/vector_slabs.h"

namespace chimera {

struct SketchMatch {
  int distance;  // Hamming, 0..8192
  uint64_t id;

  friend bool operator==(const SketchMatch&, const SketchMatch&) = default;
  friend bool operator<(const SketchMatch& a, const SketchMatch& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
  }
};

// What a search works with: one for each thread that searches, kept between searches of any
// indexes, so that a search allocates only to grow it. A byte and a few for each vector of the
// largest index. Thread-compatible.
class SearchScratch {
 private:
  friend class SketchIndex;
  std::vector<uint8_t> votes_;   // of each slot; all zero between searches
  std::vector<uint32_t> met_;    // slots with a vote
  std::vector<uint32_t> looks_;  // table * 2^14 + bucket
  std::vector<uint32_t> distances_;
};

// Thread-compatible: any number of threads may call const functions, each with its own scratch,
// while none calls the others.
class SketchIndex {
 public:
  static constexpr size_t kCapacityMax = 1 << 24;
  // Fewer vectors than this are always scanned. The tables, of 8 MiB and more, are filled on the
  // way there and kept until half of it is left.
  static constexpr size_t kTablesFrom = 4096;
  // Queries of one block of NearestOfMany: their vectors fit the first cache beside a row.
  static constexpr int kBlock = 8;

  // The tables are those of the seed (lsh.h). Nothing is allocated for vectors that are not there.
  static absl::StatusOr<SketchIndex> Create(size_t capacity, uint64_t seed);

  // Adds the vector, or replaces that of the id. An error, and nothing done, when capacity() other
  // ids are there. The work is bounded: at most eight vectors enter the tables, some buckets move
  // to wider rows, one part of the ids to a larger map, and the system clears pages for them
  // (docs/experiments.md has the times).
  absl::Status Insert(uint64_t id, const HyperVector& vector);

  // False when it was not there. The vector's memory is zeroed and no table names it any more.
  bool Erase(uint64_t id);

  bool Contains(uint64_t id) const { return slot_of_.Find(id) != nullptr; }
  // The vector of an id that is there, valid until the index changes; null otherwise.
  const HyperVector* Find(uint64_t id) const;

  // The k nearest candidates, or all of them when fewer, into *matches (whose memory is reused).
  void Nearest(const HyperVector& query, int k, const SearchPolicy& policy, SearchScratch* scratch,
               std::vector<SketchMatch>* matches) const;

  // By scanning, for several queries in one pass over the vectors: matches has a vector for each.
  void NearestOfMany(std::span<const HyperVector> queries, int k, SearchScratch* scratch,
                     std::span<std::vector<SketchMatch>> matches) const;

  size_t size() const { return slot_of_.size(); }
  size_t capacity() const { return capacity_; }
  // Bytes allocated: slabs, tables, ids.
  size_t MemoryBytes() const;

 private:
  SketchIndex(size_t capacity, uint64_t seed);

  bool Live(uint32_t slot) const { return live_[slot / 64] >> (slot % 64) & 1; }
  // Where the vector is now.
  uint32_t Put(uint64_t id, const HyperVector& vector);
  BucketIds BucketsOf(uint32_t slot) const;
  // Takes the next few vectors into the tables that they lack.
  void FillTables();
  // Fills scratch->met_ with the slots of all candidates.
  void Meet(const HyperVector& query, const SearchPolicy& policy, SearchScratch* scratch) const;
  void Rank(const HyperVector& query, int k, std::span<const uint32_t> slots,
            std::vector<SketchMatch>* matches) const;

  size_t capacity_;
  std::unique_ptr<const LshTables> lsh_;
  VectorSlabs vectors_;
  std::deque<uint64_t> id_of_;  // by slot; grows without copying
  std::vector<uint64_t> live_;  // a bit a slot
  std::vector<uint32_t> free_;  // erased slots
  SlotMap slot_of_;
  std::unique_ptr<BucketTables> tables_;  // null while few vectors are there
  // The tables have the slots below. From kTablesFrom vectors on they have all.
  uint32_t filled_ = 0;
};

}  // namespace chimera
