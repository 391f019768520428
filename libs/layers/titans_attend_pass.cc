// Ring attention over a batch: keys of a document are gathered from the start state and from the
// batch into tiles of 64, then every 16 queries of a head meet the tiles they may see.
#include <algorithm>
#include <cstring>

#include "layers/rope.h"
#include "layers/titans_core.h"
#include "layers/titans_memory_pass.h"
#include "layers/titans_slab.h"
#include "layers/titans_train.h"
#include "layers/token_blocks.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

constexpr int64_t kTileFloats = 6 * kHeadState;  // k, k_t, v, v_t, dk, dv

int Tiles(int64_t keys) { return static_cast<int>((keys + kHeadDim - 1) / kHeadDim); }

// Keys of one kind being gathered for one kv head: where each came from, and the tiles.
class KeyList {
 public:
  // `tiles` tiles at memory.
  void Start(float* memory, int tiles) {
    tiles_ = tiles;
    memory_ = memory;
    numbers_.assign(static_cast<size_t>(tiles) * kHeadDim, INT32_MAX);
    rows_.clear();
    std::memset(Part(0), 0, static_cast<size_t>(tiles) * kHeadState * sizeof(float));
    std::memset(Part(2), 0, static_cast<size_t>(tiles) * kHeadState * sizeof(float));
  }
  // Room for the next key; row: where its gradient belongs, -1 for nowhere.
  void Add(int32_t number, int64_t row, float** k, float** v) {
    const int64_t at = static_cast<int64_t>(rows_.size());
    numbers_[static_cast<size_t>(at)] = number;
    rows_.push_back(row);
    *k = Part(0) + at * kHeadDim;
    *v = Part(2) + at * kHeadDim;
  }
  void Finish(bool gradients) {
    for (int t = 0; t < tiles_; ++t) {
      TitansAttendTrain().transpose(Part(0) + t * kHeadState, Part(1) + t * kHeadState);
      TitansAttendTrain().transpose(Part(2) + t * kHeadState, Part(3) + t * kHeadState);
    }
    if (gradients) {
      std::memset(Part(4), 0, static_cast<size_t>(tiles_) * 2 * kHeadState * sizeof(float));
    }
    keys_ = {Part(0), Part(1), Part(2), Part(3), Part(4), Part(5), numbers_.data()};
  }
  const TitansKeys* keys() const { return &keys_; }
  int size() const { return static_cast<int>(rows_.size()); }
  int64_t row(int i) const { return rows_[static_cast<size_t>(i)]; }
  const float* dk(int i) const { return keys_.dk + int64_t{i} * kHeadDim; }
  const float* dv(int i) const { return keys_.dv + int64_t{i} * kHeadDim; }
  // The first key whose number is at least this.
  int LowerBound(int32_t number) const {
    const auto end = numbers_.begin() + size();
    return static_cast<int>(std::lower_bound(numbers_.begin(), end, number) - numbers_.begin());
  }

 private:
  float* Part(int i) { return memory_ + int64_t{i} * tiles_ * kHeadState; }

  int tiles_ = 0;
  float* memory_ = nullptr;
  std::vector<int32_t> numbers_;
  std::vector<int64_t> rows_;
  TitansKeys keys_;
};

struct Keys {
  KeyList slots, blocks, tokens;
};

// Codes of keys and values with what they stand for. Rows of kv_width.
struct QuantizedKv {
  int8_t *k, *v;
  float *k_scale, *v_scale;  // [rows][kv_heads]
  float *k_hat, *v_hat;
};

class AttendPass : public TitansCore {
 public:
  explicit AttendPass(const TitansCoreInput& input)
      : in_(input),
        shape_(input.shape),
        heads_(shape_.n_heads),
        group_(shape_.n_heads / shape_.kv_heads),
        width_(shape_.width()),
        kv_width_(shape_.kv_width()),
        rows_(input.batch.rows()),
        lse_(input.tape->arena().New<float>(rows_ * heads_)),
        q_rotated_(input.tape->arena().New<float>(rows_ * width_)),
        tokens_(NewKv(rows_)) {}

  void Forward(const std::vector<TitansBlock>& blocks, const float* block_kv, float* o) override {
    blocks_ = blocks;
    block_rows_ = NewKv(static_cast<int64_t>(blocks.size()));
    RotateAndQuantize(block_kv);
    scratch_ = std::make_unique<ScratchPool>(in_.tape, ScratchFloats());
    ForHeads([&](int seq, int kv, float* scratch) {
      ForPieces(seq, kv, scratch, false, [&](const Keys& keys, const TitansPiece& piece) {
        ForQueries(keys, piece, kv, [&](const TitansQueries& queries, int64_t row, int head) {
          float lse[kTitansChunk];
          TitansAttendTrain().attend(&queries, o + row * width_ + head * kHeadDim, lse);
          for (int i = 0; i < queries.n; ++i) lse_[(row + i) * heads_ + head] = lse[i];
        });
      });
    });
    for (int s = 0; s < in_.batch.n_seqs; ++s) WriteEnd(s);
  }

  void Backward(const float* o, const float* d_o, const TitansCoreGrads& grads) override {
    const int64_t slot_floats = int64_t{shape_.persistent_slots} * kv_width_;
    float* d_slots = in_.tape->arena().New<float>(in_.batch.n_seqs * 2 * slot_floats);
    float* dq_rotated = in_.tape->arena().New<float>(rows_ * width_);
    std::memset(d_slots, 0,
                static_cast<size_t>(in_.batch.n_seqs * 2 * slot_floats) * sizeof(float));
    ForHeads([&](int seq, int kv, float* scratch) {
      ForPieces(seq, kv, scratch, true, [&](const Keys& keys, const TitansPiece& piece) {
        ForQueries(keys, piece, kv, [&](const TitansQueries& queries, int64_t row, int head) {
          float lse[kTitansChunk];
          for (int i = 0; i < queries.n; ++i) lse[i] = lse_[(row + i) * heads_ + head];
          const int64_t at = row * width_ + head * kHeadDim;
          TitansAttendTrain().attend_backward(&queries, o + at, lse, d_o + at,
                                              grads.d_proj + row * 4 * width_ + head * kHeadDim,
                                              dq_rotated + at);
        });
        float* into = d_slots + seq * 2 * slot_floats;
        Scatter(keys.slots, kv, kv_width_, into, into + slot_floats);
        Scatter(keys.blocks, kv, 2 * kv_width_, grads.d_block_kv, grads.d_block_kv + kv_width_);
        Scatter(keys.tokens, kv, 2 * kv_width_, grads.d_kv, grads.d_kv + kv_width_);
      });
    });
    for (int64_t s = 0; s < in_.batch.n_seqs; ++s) {
      for (int64_t i = 0; i < slot_floats; ++i) {
        in_.slot_k.grad[i] += d_slots[s * 2 * slot_floats + i];
        in_.slot_v.grad[i] += d_slots[(s * 2 + 1) * slot_floats + i];
      }
    }
    UnrotateGrads(dq_rotated, grads);
  }

 private:
  QuantizedKv NewKv(int64_t rows) {
    Arena& arena = in_.tape->arena();
    return {arena.New<int8_t>(rows * kv_width_),      arena.New<int8_t>(rows * kv_width_),
            arena.New<float>(rows * shape_.kv_heads), arena.New<float>(rows * shape_.kv_heads),
            arena.New<float>(rows * kv_width_),       arena.New<float>(rows * kv_width_)};
  }

  // A row of [k | v], its key turned to a position, as codes and back.
  void QuantizeRow(const float* kv, const float* cos, const float* sin, int64_t row,
                   const QuantizedKv& to) {
    const int64_t at = row * kv_width_, scales = row * shape_.kv_heads;
    int32_t unused[kTitansHeadsMax];
    Rope().rotate(kv, shape_.kv_heads, cos, sin, to.k_hat + at);
    QuantizeActivations(to.k_hat + at, 1, kv_width_, to.k + at, to.k_scale + scales, unused);
    DequantizeActivations(to.k + at, to.k_scale + scales, 1, kv_width_, to.k_hat + at);
    QuantizeActivations(kv + kv_width_, 1, kv_width_, to.v + at, to.v_scale + scales, unused);
    DequantizeActivations(to.v + at, to.v_scale + scales, 1, kv_width_, to.v_hat + at);
  }

  int64_t LastPosition(const TitansBlock& block) const {
    return int64_t{block.number} * kTitansChunk + kTitansChunk - 1;
  }

  void RotateAndQuantize(const float* block_kv) {
    ForTokens(in_.tape->exec(), rows_, [&](int64_t t, int64_t n) {
      float cos[kRopePairs], sin[kRopePairs];
      for (int64_t row = t; row < t + n; ++row) {
        Rope().angles(in_.plan->position(row), cos, sin);
        Rope().rotate(in_.proj->value + row * 4 * width_, heads_, cos, sin,
                      q_rotated_ + row * width_);
        QuantizeRow(in_.kv->value + row * 2 * kv_width_, cos, sin, row, tokens_);
      }
    });
    float cos[kRopePairs], sin[kRopePairs];
    for (size_t b = 0; b < blocks_.size(); ++b) {
      Rope().angles(LastPosition(blocks_[b]), cos, sin);
      const auto row = static_cast<int64_t>(b);
      QuantizeRow(block_kv + row * 2 * kv_width_, cos, sin, row, block_rows_);
    }
  }

  void UnrotateGrads(const float* dq_rotated, const TitansCoreGrads& grads) {
    ForTokens(in_.tape->exec(), rows_, [&](int64_t t, int64_t n) {
      float cos[kRopePairs], sin[kRopePairs];
      std::vector<float> turned(static_cast<size_t>(width_));
      for (int64_t row = t; row < t + n; ++row) {
        Rope().angles(in_.plan->position(row), cos, sin);
        Rope().unrotate(dq_rotated + row * width_, heads_, cos, sin, turned.data());
        float* dq = grads.d_proj + row * 4 * width_;
        for (int i = 0; i < width_; ++i) dq[i] += turned[static_cast<size_t>(i)];
        float* dk = grads.d_kv + row * 2 * kv_width_;
        Rope().unrotate(dk, shape_.kv_heads, cos, sin, dk);
      }
    });
    float cos[kRopePairs], sin[kRopePairs];
    for (size_t b = 0; b < blocks_.size(); ++b) {
      Rope().angles(LastPosition(blocks_[b]), cos, sin);
      float* dk = grads.d_block_kv + static_cast<int64_t>(b) * 2 * kv_width_;
      Rope().unrotate(dk, shape_.kv_heads, cos, sin, dk);
    }
  }

  template <typename Body>
  void ForHeads(const Body& body) {
    in_.tape->exec()->ParallelFor(int64_t{in_.batch.n_seqs} * shape_.kv_heads, [&](int64_t i) {
      float* scratch = scratch_->Take();
      body(static_cast<int>(i / shape_.kv_heads), static_cast<int>(i % shape_.kv_heads), scratch);
      scratch_->Give(scratch);
    });
  }

  int BlocksOf(int piece) const {
    return static_cast<int>(std::count_if(blocks_.begin(), blocks_.end(),
                                          [&](const TitansBlock& b) { return b.piece == piece; }));
  }
  int BlockTiles(int piece) const {
    return Tiles(BlocksOf(piece) + (in_.piece(piece).carried ? kTitansBlocks : 0));
  }
  int TokenTiles(const TitansPiece& piece) const {
    return Tiles(piece.n + (piece.carried ? shape_.window_len : 0));
  }
  int64_t ScratchFloats() const {
    int most = 0;
    for (size_t p = 0; p < in_.plan->pieces().size(); ++p) {
      most = std::max(most, BlockTiles(static_cast<int>(p)) + TokenTiles(in_.plan->pieces()[p]));
    }
    return (most + Tiles(shape_.persistent_slots)) * kTileFloats;
  }

  template <typename Body>
  void ForPieces(int seq, int kv, float* scratch, bool gradients, const Body& body) {
    Keys keys;
    for (int p = in_.plan->piece_begin(seq); p < in_.plan->piece_end(seq); ++p) {
      const TitansPiece& piece = in_.piece(p);
      const int slot_tiles = Tiles(shape_.persistent_slots), block_tiles = BlockTiles(p);
      keys.slots.Start(scratch, slot_tiles);
      keys.blocks.Start(scratch + slot_tiles * kTileFloats, block_tiles);
      keys.tokens.Start(scratch + (slot_tiles + block_tiles) * kTileFloats, TokenTiles(piece));
      GatherSlots(kv, &keys.slots);
      if (piece.carried) GatherCarried(in_.RingStart(seq, piece), piece, kv, &keys);
      GatherBatch(p, kv, &keys);
      for (KeyList* list : {&keys.slots, &keys.blocks, &keys.tokens}) list->Finish(gradients);
      body(keys, piece);
    }
  }

  void GatherSlots(int kv, KeyList* list) const {
    float *k, *v;
    for (int j = 0; j < shape_.persistent_slots; ++j) {
      list->Add(1, j, &k, &v);
      std::memcpy(k, in_.slot_k.value + j * kv_width_ + kv * kHeadDim, kHeadDim * sizeof(float));
      std::memcpy(v, in_.slot_v.value + j * kv_width_ + kv * kHeadDim, kHeadDim * sizeof(float));
    }
  }

  // The entries low .. high of a bank, as floats.
  static void GatherBank(const TitansBank& bank, int64_t low, int64_t high, int kv, KeyList* list) {
    float *k, *v;
    for (int64_t n = std::max<int64_t>(0, low); n <= high; ++n) {
      const int at = static_cast<int>(n % bank.size());
      if (bank.number(at) != n + 1) continue;
      list->Add(static_cast<int32_t>(n), -1, &k, &v);
      const int8_t* k_codes = bank.k_tile(kv, at / 16) + at % 16;
      const int8_t* v_codes = bank.v_row(kv, at);
      for (int d = 0; d < kHeadDim; ++d) {
        k[d] = bank.k_scale(kv)[at] * static_cast<float>(k_codes[d * 16]);
        v[d] = bank.v_scale(kv)[at] * static_cast<float>(v_codes[d]);
      }
    }
  }

  void GatherCarried(const float* ring, const TitansPiece& piece, int kv, Keys* keys) const {
    const int64_t at = piece.position, block = at / kTitansChunk;
    GatherBank(TitansBlockBank(shape_, ring), block - kTitansBlocks, block - 1, kv, &keys->blocks);
    GatherBank(TitansTokenBank(shape_, ring), at - shape_.window_len + 1, at - 1, kv,
               &keys->tokens);
  }

  void GatherBatch(int p, int kv, Keys* keys) const {
    const TitansPiece& piece = in_.piece(p);
    const auto add = [&](const QuantizedKv& from, int32_t number, int64_t row, KeyList* list) {
      float *k, *v;
      list->Add(number, row, &k, &v);
      const int64_t at = row * kv_width_ + kv * kHeadDim;
      std::memcpy(k, from.k_hat + at, kHeadDim * sizeof(float));
      std::memcpy(v, from.v_hat + at, kHeadDim * sizeof(float));
    };
    for (size_t b = 0; b < blocks_.size(); ++b) {
      if (blocks_[b].piece != p) continue;
      add(block_rows_, blocks_[b].number, static_cast<int64_t>(b), &keys->blocks);
    }
    for (int i = 0; i < piece.n; ++i) {
      add(tokens_, piece.position + i, piece.row + i, &keys->tokens);
    }
  }

  // Runs body(queries, first_row, head) over the chunks of a piece and the heads of a kv head.
  template <typename Body>
  void ForQueries(const Keys& keys, const TitansPiece& piece, int kv, const Body& body) {
    for (int c = piece.chunk_begin; c < piece.chunk_end; ++c) {
      const TitansChunk& chunk = in_.plan->chunk(c);
      const int32_t block = chunk.position / kTitansChunk;
      const int32_t low = chunk.position - shape_.window_len;
      const TitansSight sights[3] = {
          {keys.slots.keys(), 0, keys.slots.size(), 0, 1, 0, false},
          {keys.blocks.keys(), keys.blocks.LowerBound(block - kTitansBlocks),
           keys.blocks.LowerBound(block), block - kTitansBlocks - 1, block - 1, 0, true},
          {keys.tokens.keys(), keys.tokens.LowerBound(low + 1),
           keys.tokens.LowerBound(chunk.position + chunk.n), low, chunk.position, 1, true}};
      for (int head = kv * group_; head < (kv + 1) * group_; ++head) {
        const TitansQueries queries = {in_.proj->value + chunk.row * 4 * width_ + head * kHeadDim,
                                       4 * width_,
                                       q_rotated_ + chunk.row * width_ + head * kHeadDim,
                                       width_,
                                       chunk.n,
                                       sights,
                                       3};
        body(queries, chunk.row, head);
      }
    }
  }

  // Adds the gradients of a list to rows of its kv head, `stride` floats apart.
  static void Scatter(const KeyList& list, int kv, int64_t stride, float* d_k, float* d_v) {
    for (int i = 0; i < list.size(); ++i) {
      if (list.row(i) < 0) continue;
      const int64_t at = list.row(i) * stride + kv * kHeadDim;
      for (int d = 0; d < kHeadDim; ++d) {
        d_k[at + d] += list.dk(i)[d];
        d_v[at + d] += list.dv(i)[d];
      }
    }
  }

  // The ring as serving would have left it.
  void WriteEnd(int seq) const {
    const int p = in_.plan->piece_end(seq) - 1;
    const TitansPiece& piece = in_.piece(p);
    float* ring = in_.RingEnd(seq);
    const auto bytes = static_cast<size_t>(TitansRingFloats(shape_)) * sizeof(float);
    if (piece.carried) {
      std::memcpy(ring, in_.RingStart(seq, piece), bytes);
    } else {
      std::memset(ring, 0, bytes);
    }
    const auto put = [&](TitansBank bank, const QuantizedKv& from, int64_t number, int64_t row) {
      bank.Put(number, from.k + row * kv_width_, from.k_scale + row * shape_.kv_heads,
               from.v + row * kv_width_, from.v_scale + row * shape_.kv_heads);
    };
    for (size_t b = 0; b < blocks_.size(); ++b) {
      if (blocks_[b].piece != p) continue;
      put(TitansBlockBank(shape_, ring), block_rows_, blocks_[b].number, static_cast<int64_t>(b));
    }
    for (int i = std::max(0, piece.n - shape_.window_len); i < piece.n; ++i) {
      put(TitansTokenBank(shape_, ring), tokens_, piece.position + i, piece.row + i);
    }
    WriteBlockSum(piece, ring);
  }

  // The sum of r over the block that is still open, or due.
  void WriteBlockSum(const TitansPiece& piece, float* ring) const {
    const TitansChunk& last = in_.plan->chunk(piece.chunk_end - 1);
    auto header = ReadHeader<TitansRingHeader>(ring);
    const int32_t block = last.position / kTitansChunk;
    float* sum = ring + kTitansHeader;
    if (header.block_count == 0 || header.block != block) {
      header.block_count = 0;
      std::memset(sum, 0, static_cast<size_t>(width_) * sizeof(float));
    }
    header.block = block;
    header.block_count += last.n;
    for (int64_t row = last.row; row < last.row + last.n; ++row) {
      for (int i = 0; i < width_; ++i) sum[i] = sum[i] + in_.r[row * width_ + i];
    }
    WriteHeader(header, ring);
  }

  TitansCoreInput in_;
  TitansShape shape_;
  int heads_, group_, width_, kv_width_;
  int64_t rows_;
  float* lse_;        // [rows][heads]
  float* q_rotated_;  // [rows][width]
  QuantizedKv tokens_;
  QuantizedKv block_rows_ = {};
  std::vector<TitansBlock> blocks_;
  std::unique_ptr<ScratchPool> scratch_;
};

}  // namespace

std::unique_ptr<TitansCore> NewTitansAttention(const TitansCoreInput& input) {
  return std::make_unique<AttendPass>(input);
}

}  // namespace chimera
