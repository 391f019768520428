#include "decode/row_set.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace chimera {
namespace {

constexpr int kWordTiles = 64 / kHeadTile;

}  // namespace

RowSet::RowSet(int vocab_size, AllowedRows allowed) : vocab_size_(vocab_size) {
  const auto n = static_cast<size_t>(vocab_size);
  allowed_bits_.resize((n + 63) / 64);
  for (int id = 0; id < vocab_size; ++id) {
    if (!allowed.Has(id)) continue;
    allowed_bits_[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
  }
  bits_.resize(allowed_bits_.size());
  before_.resize(allowed_bits_.size());
  tiles_.reserve((n + kHeadTile - 1) / kHeadTile);
  CHIMERA_CHECK(Set({}).ok());
}

absl::Status RowSet::Check(std::span<const uint64_t> mask) const {
  if (mask.empty()) return absl::OkStatus();
  if (mask.size() != bits_.size()) {
    return absl::InvalidArgumentError(absl::StrCat("a mask of ", mask.size(), " words for ",
                                                   vocab_size_, " tokens, which take ",
                                                   bits_.size()));
  }
  for (size_t w = 0; w < mask.size(); ++w) {
    if ((allowed_bits_[w] & mask[w]) != 0) return absl::OkStatus();
  }
  return absl::InvalidArgumentError("the mask allows no token");
}

absl::Status RowSet::Set(std::span<const uint64_t> mask) {
  if (mask.empty() && whole_) return absl::OkStatus();
  CHIMERA_RETURN_IF_ERROR(Check(mask));
  whole_ = mask.empty();
  tiles_.clear();
  size_ = 0;
  for (size_t w = 0; w < bits_.size(); ++w) {
    bits_[w] = whole_ ? allowed_bits_[w] : allowed_bits_[w] & mask[w];
    before_[w] = size_;
    size_ += std::popcount(bits_[w]);
    const int first = static_cast<int>(w) * kWordTiles;
    for (int tile = first; bits_[w] != 0 && tile < first + kWordTiles; ++tile) {
      if (TileBits(tile) != 0) tiles_.push_back(tile);
    }
  }
  return absl::OkStatus();
}

uint32_t RowSet::TileBits(int tile) const {
  const uint64_t word = bits_[static_cast<size_t>(tile / kWordTiles)];
  return static_cast<uint32_t>(word >> (tile % kWordTiles * kHeadTile)) & 0xFFFFu;
}

size_t RowSet::TileIndex(int tile) const {
  const auto at = static_cast<size_t>(tile);
  if (at < tiles_.size() && tiles_[at] == tile) return at;  // none is left out before it
  return static_cast<size_t>(std::lower_bound(tiles_.begin(), tiles_.end(), tile) - tiles_.begin());
}

int RowSet::Position(int32_t id) const {
  if (id < 0 || id >= vocab_size_) return -1;
  const auto word = static_cast<size_t>(id) / 64;
  const uint64_t bit = uint64_t{1} << (id % 64);
  if ((bits_[word] & bit) == 0) return -1;
  return before_[word] + std::popcount(bits_[word] & (bit - 1));
}

int32_t RowSet::IdAt(int position) const {
  if (Position(position) == position) return position;  // no smaller id is left out
  const auto word = std::upper_bound(before_.begin(), before_.end(), position) - 1;
  const auto w = word - before_.begin();
  uint64_t bits = bits_[static_cast<size_t>(w)];
  for (int skip = position - *word; skip > 0; --skip) bits &= bits - 1;
  return static_cast<int32_t>(w * 64) + std::countr_zero(bits);
}

}  // namespace chimera
