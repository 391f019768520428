// The ranks of a byte-level BPE and the merge rule over them (F.3).
//
// The rule: join the adjacent pair with the lowest rank, the leftmost of equals, until none is
// left. Every token of two bytes or more has one *split*: the two tokens that the rule joins last
// when it builds the token out of its bytes. So a pair of tokens joins exactly when it is some
// token's split, and whether a row of tokens is what the rule ends with can be told at each
// boundary alone (StaysApart). Encode searches for that row from the left, longest token first; a
// boundary found hopeless is never tried again, which keeps the search linear.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace chimera {

inline constexpr size_t kTokenBytesMax = 255;

// What a file stores. `order` and `left_bytes` can be derived; both empty means derive them.
struct VocabularyParts {
  std::string bytes;                 // of all tokens, in rank order
  std::vector<uint8_t> token_bytes;  // [n_ranks], 1..255, summing to bytes.size()
  std::vector<uint8_t>
      left_bytes;               // [n_ranks], bytes of the split's left token; 0 for single bytes
  std::vector<uint32_t> order;  // [n_ranks], ids sorted by bytes
};

// Immutable, thread-safe.
class Vocabulary {
 public:
  // Verifies everything the search relies on, so parts from a hostile file are safe.
  // INVALID_ARGUMENT names the rank at fault.
  static absl::StatusOr<std::unique_ptr<const Vocabulary>> Create(VocabularyParts parts);

  int n_ranks() const { return static_cast<int>(parts_.token_bytes.size()); }
  const VocabularyParts& parts() const { return parts_; }
  // id in [0, n_ranks).
  std::string_view Bytes(uint32_t id) const {
    return {parts_.bytes.data() + places_[id].offset, places_[id].size};
  }
  // The token with these bytes, or kNone.
  uint32_t Find(std::string_view bytes) const;
  // Appends the ids of one piece, any length.
  void Encode(std::string_view piece, std::vector<int32_t>* ids) const;

  static constexpr uint32_t kNone = 0xFFFFFFFFu;

 private:
  struct Place {
    uint32_t offset, size;  // within parts_.bytes
  };
  struct Split {
    uint32_t left, right;  // both the token itself for a single byte
  };

  explicit Vocabulary(VocabularyParts parts) : parts_(std::move(parts)) {}
  absl::Status CheckSizes();
  absl::Status IndexBytes();
  absl::Status IndexOrder();
  absl::Status IndexSplits();
  bool HoldsBytes(uint64_t entry, uint64_t hash, std::string_view bytes) const;
  bool TrySplit(uint32_t id, size_t left_bytes);
  size_t FilterWord(uint64_t hash) const { return (hash >> 24) & (pair_filter_.size() - 1); }
  uint32_t Joined(uint32_t left, uint32_t right) const;
  bool StaysApart(uint32_t left, uint32_t right, uint32_t limit) const;
  template <typename Marks>
  void Search(std::string_view piece, Marks* hopeless, std::vector<int32_t>* ids) const;
  uint32_t LongestPrefix(std::string_view text) const;
  uint32_t LastNotAbove(std::string_view text) const;

  VocabularyParts parts_;
  std::vector<Place> places_;          // [n_ranks]
  std::vector<uint64_t> byte_table_;   // 32 bits of hash and token id; open addressing
  std::vector<uint64_t> pair_table_;   // left, right, joined at 20 bits each; open addressing
  std::vector<uint64_t> pair_filter_;  // one bit a hash of every pair: most lookups end here
  std::vector<Split> splits_;          // [n_ranks]
  std::vector<uint32_t>
      shorter_prefix_;                 // [n_ranks], longest token that is a proper prefix, or kNone
  std::vector<uint64_t> order_keys_;   // first eight bytes of each token of `order`, big endian
  std::vector<uint32_t> order_begin_;  // [65537], first place in `order` by the first two bytes
  uint32_t byte_ids_[256] = {};
};

}  // namespace chimera
