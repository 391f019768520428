// The relations of one user in main memory: 16 bytes each, names interned.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace chimera {

struct Triple {
  uint32_t subject, predicate, object;  // ids of names
  float weight;
};
static_assert(sizeof(Triple) == 16);

// Which names a triple must have; kAnyName matches all.
inline constexpr uint32_t kAnyName = 0xffffffff;
struct TriplePattern {
  uint32_t subject = kAnyName, predicate = kAnyName, object = kAnyName;
};

// Triples lie sorted by (subject, predicate, object) in one long run, new ones in a short one that
// is merged in when it is full: an insertion costs an amortised 2 to 4 KiB of memory traffic, a
// query with a subject two binary searches, any other query one pass. Thread-compatible.
class RelationTable {
 public:
  // kAnyName when the name is unknown.
  uint32_t FindName(std::string_view name) const;
  bool HasName(uint32_t id) const { return names_.contains(id); }
  const std::string& Name(uint32_t id) const { return names_.at(id); }
  // The id a new name gets, counted up; never one in use.
  uint32_t next_name_id() const { return next_name_id_; }
  // name and id must both be new.
  void AddName(uint32_t id, std::string_view name);
  void EraseName(uint32_t id);
  // Ids of names of these triples, in order, that no other triple has.
  std::vector<uint32_t> NamesOnlyIn(std::span<const Triple> triples) const;

  // Null when there is none.
  const Triple* Find(uint32_t subject, uint32_t predicate, uint32_t object) const;
  // Replaces the weight when the triple is there.
  void Put(const Triple& triple);
  // One pass, however many.
  void Erase(std::span<const Triple> triples);
  // At most limit matches, ordered by (-weight, subject, predicate, object).
  std::vector<Triple> Match(const TriplePattern& pattern, size_t limit) const;

  int64_t MemoryBytes() const {
    return static_cast<int64_t>((run_.capacity() + fresh_.capacity()) * sizeof(Triple));
  }
  int64_t triples() const { return static_cast<int64_t>(run_.size() + fresh_.size()); }
  int64_t names() const { return static_cast<int64_t>(names_.size()); }

 private:
  static constexpr size_t kFreshMax = 4096;

  std::vector<Triple> run_, fresh_;  // both sorted, without a common triple
  std::unordered_map<uint32_t, std::string> names_;
  std::unordered_map<std::string_view, uint32_t> ids_;  // views of names_
  uint32_t next_name_id_ = 0;
};

}  // namespace chimera
