// The sketches of a memory store in main memory, for the linear scan of Recall.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "hdc/hypervector.h"

namespace chimera {

// One KiB for each fact (in slabs that are reused but not given back) and about 60 bytes of
// bookkeeping. Thread-compatible.
class FactIndex {
 public:
  struct Match {
    int distance;  // Hamming
    uint64_t id;
  };

  // Replaces the entry when the fact is there already.
  void Insert(const std::string& user, uint64_t id, const HyperVector& sketch, int64_t text_bytes);
  // False when it was not there.
  bool Erase(const std::string& user, uint64_t id);
  // How many facts went.
  int64_t EraseUser(const std::string& user);

  bool Contains(const std::string& user, uint64_t id) const;
  // The k nearest facts of the user, ordered by (distance, id).
  std::vector<Match> Nearest(const std::string& user, const HyperVector& query, int k) const;

  int64_t facts() const { return facts_; }
  int64_t users() const { return static_cast<int64_t>(users_.size()); }
  int64_t text_bytes() const { return text_bytes_; }
  int64_t facts(const std::string& user) const;
  int64_t text_bytes(const std::string& user) const;

 private:
  struct Entry {
    uint64_t id;
    uint32_t slot;
    uint32_t text_bytes;
  };
  struct User {
    // In order of arrival, which is the order of slots unless facts were erased: Nearest then reads
    // memory front to back, at twice the speed of an order by id.
    std::vector<Entry> entries;
    std::unordered_map<uint64_t, uint32_t> index_of;  // id -> place in entries
    int64_t text_bytes = 0;
  };
  static constexpr uint32_t kSlabVectors = 256;

  HyperVector& Slot(uint32_t slot) const {
    return slabs_[slot / kSlabVectors][slot % kSlabVectors];
  }
  uint32_t TakeSlot();

  std::unordered_map<std::string, User> users_;
  std::vector<std::unique_ptr<HyperVector[]>> slabs_;
  std::vector<uint32_t> free_slots_;
  uint32_t used_slots_ = 0;  // slots ever handed out
  int64_t facts_ = 0;
  int64_t text_bytes_ = 0;
};

}  // namespace chimera
