// The sketches of one user's facts in main memory, for Recall. This class is the seam to the
// search: what stands behind it may change, its answers may not. Each user has an index, so that no
// request can see or time another user's facts.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "hdc/hypervector.h"
#include "memory/fact_record.h"

namespace chimera {

// One KiB for each fact (in slabs that are reused but not given back) and about 80 bytes of
// bookkeeping. Thread-compatible.
class FactIndex {
 public:
  struct Match {
    int distance;  // Hamming
    uint64_t id;
  };

  // Replaces the entry when the fact is there already.
  void Insert(uint64_t id, const FactHead& head, const HyperVector& sketch);
  // False when it was not there. Its bytes in memory are overwritten.
  bool Erase(uint64_t id);

  // Null when it is not there; valid until the next change.
  const FactHead* Find(uint64_t id) const;
  // The k nearest facts with a tag in tags_any (0: all facts), ordered by (distance, id).
  std::vector<Match> Nearest(const HyperVector& query, int k, uint32_t tags_any) const;
  // At most limit ids from first_id on, in order.
  std::vector<uint64_t> Ids(uint64_t first_id, size_t limit) const;

  int64_t facts() const { return static_cast<int64_t>(entries_.size()); }
  int64_t user_facts() const { return user_facts_; }  // of Source::kUser
  int64_t text_bytes() const { return text_bytes_; }

 private:
  struct Entry {
    uint64_t id;
    uint32_t slot;
    FactHead head;
  };
  static constexpr uint32_t kSlabVectors = 16;

  HyperVector& Slot(uint32_t slot) const {
    return slabs_[slot / kSlabVectors][slot % kSlabVectors];
  }
  uint32_t TakeSlot();

  // In order of arrival, which is the order of slots unless facts were erased: Nearest then reads
  // memory front to back, at twice the speed of an order by id.
  std::vector<Entry> entries_;
  std::unordered_map<uint64_t, uint32_t> index_of_;  // id -> place in entries_
  std::vector<std::unique_ptr<HyperVector[]>> slabs_;
  std::vector<uint32_t> free_slots_;
  uint32_t used_slots_ = 0;  // slots ever handed out
  int64_t user_facts_ = 0;
  int64_t text_bytes_ = 0;
};

}  // namespace chimera
