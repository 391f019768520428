// Which rows of a vocabulary may come out: those that are text, and of them those a mask allows.
// Rows count in order of their ids; the head evaluates them in tiles of 16, only those that hold a
// row of the set (DESIGN D4, D16: masked rows cost nothing).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"

namespace chimera {

inline constexpr int kHeadTile = 16;  // rows that the head evaluates together

// Which rows of a vocabulary may be generated: byte sequences and end-of-text, never another
// special token.
struct AllowedRows {
  int n_ranks = 0;  // ids below are byte sequences
  int eot = 0;

  bool Has(int id) const { return id < n_ranks || id == eot; }
};

// Every allowed row at first. Allocates in the constructor only. Thread-compatible.
class RowSet {
 public:
  RowSet(int vocab_size, AllowedRows allowed);

  // The allowed rows of a mask: one bit a token, least significant first; empty means all of them.
  // INVALID_ARGUMENT when the mask has another number of words or nothing is left.
  absl::Status Set(std::span<const uint64_t> mask);

  // What Set would answer.
  absl::Status Check(std::span<const uint64_t> mask) const;

  int size() const { return size_; }
  // Tiles with at least one row, ascending: tile t has ids 16 t to 16 t + 15.
  std::span<const int32_t> tiles() const { return tiles_; }
  // Which of the 16 ids of a tile are in the set, the first at bit 0.
  uint32_t TileBits(int tile) const;
  // Place of a tile in tiles(), which must have it.
  size_t TileIndex(int tile) const;
  // How many rows of the set have a smaller id, or -1 when the id is not in the set.
  int Position(int32_t id) const;
  // The id at a position, 0 <= position < size().
  int32_t IdAt(int position) const;

 private:
  const int vocab_size_;
  bool whole_ = false;                  // all allowed rows: the state after an empty mask
  std::vector<uint64_t> allowed_bits_;  // what AllowedRows has
  std::vector<uint64_t> bits_;
  std::vector<int32_t> before_;  // rows in the words before each word
  std::vector<int32_t> tiles_;
  int size_ = 0;
};

}  // namespace chimera
