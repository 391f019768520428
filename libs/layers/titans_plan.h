// How a training batch falls into documents, write chunks and blocks: everything the Titans op
// needs to know about positions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "layers/titans.h"
#include "layers/train_batch.h"

namespace chimera {

// Rows of one document within one write chunk of 16 positions.
struct TitansChunk {
  int64_t row;       // first row in the batch
  int n;             // rows
  int lane;          // position of the first row, modulo 16
  int32_t position;  // of the first row
};

// A run of rows of one document. Chunks [chunk_begin, chunk_end).
struct TitansPiece {
  int64_t row;
  int n;
  int32_t position;
  bool carried;  // goes on from the sequence's start state
  int chunk_begin, chunk_end;
};

// Immutable.
class TitansPlan {
 public:
  // positions [n_seqs]: tokens each stream has consumed before the batch.
  TitansPlan(const TrainBatch& batch, const std::vector<int64_t>& positions);

  int n_seqs() const { return static_cast<int>(piece_begin_.size()) - 1; }
  const std::vector<TitansPiece>& pieces() const { return pieces_; }
  int piece_begin(int seq) const { return piece_begin_[static_cast<size_t>(seq)]; }
  int piece_end(int seq) const { return piece_begin_[static_cast<size_t>(seq) + 1]; }
  const TitansChunk& chunk(int i) const { return chunks_[static_cast<size_t>(i)]; }
  // Position of a row.
  int32_t position(int64_t row) const { return positions_[static_cast<size_t>(row)]; }

 private:
  std::vector<TitansPiece> pieces_;
  std::vector<TitansChunk> chunks_;
  std::vector<int> piece_begin_;
  std::vector<int32_t> positions_;
};

}  // namespace chimera
