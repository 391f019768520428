// Where things lie in the two slabs of a Titans layer (titans.h). Only titans.cc and the training
// op look inside. Sizes are floats; integers and int8 codes live there by memcpy. Borrowed
// pointers.
#pragma once

#include <cstdint>
#include <cstring>

#include "layers/titans.h"

namespace chimera {

inline constexpr int kTitansHeader = 16;  // floats in front of either slab

// memory: header, n_heads * kTitansFast, n_heads * kTitansTokens.
struct TitansMemoryHeader {
  int32_t started;  // 0: the fast weights still have to be copied in
  int32_t pending;  // tokens of the unfinished write chunk
  int64_t position;
  float surprise, mean, variance;
  int32_t fired;
  int32_t unused[8];
};
static_assert(sizeof(TitansMemoryHeader) == kTitansHeader * sizeof(float));

// ring: header, then with attention the sum of r [width] and two banks (blocks, tokens), with
// decay_linear n_heads matrices.
struct TitansRingHeader {
  int32_t started;      // decay_linear: the matrices hold their first state
  int32_t block_count;  // tokens in the sum of r
  int32_t block;        // their block: position / 16
  int32_t unused[13];
};
static_assert(sizeof(TitansRingHeader) == kTitansHeader * sizeof(float));

template <typename Header>
Header ReadHeader(const float* slab) {
  Header header;
  std::memcpy(&header, slab, sizeof(header));
  return header;
}
template <typename Header>
void WriteHeader(const Header& header, float* slab) {
  std::memcpy(slab, &header, sizeof(header));
}

inline int64_t TitansFastAt(int head) { return kTitansHeader + int64_t{head} * kTitansFast; }
inline int64_t TitansTokensAt(const TitansShape& shape, int head) {
  return TitansFastAt(shape.n_heads) + int64_t{head} * kTitansTokens;
}

// A ring of `size` keys and values a kv head, a multiple of 16. Entry `at` of [0, size) holds the
// key of number n when number[at] = n + 1; keys stand in tiles of 16, dimension-major.
class TitansBank {
 public:
  TitansBank(const TitansShape& shape, int size, float* base)
      : kv_heads_(shape.kv_heads), size_(size), base_(base) {}
  static int64_t Floats(const TitansShape& shape, int size) {
    return size + int64_t{size} * shape.kv_heads * (2 + 2 * kHeadDim / 4);
  }

  int size() const { return size_; }
  int32_t number(int at) const {
    int32_t value;
    std::memcpy(&value, base_ + at, sizeof(value));
    return value;
  }
  const float* k_scale(int head) const { return base_ + size_ * int64_t{1 + head}; }
  const float* v_scale(int head) const { return k_scale(kv_heads_ + head); }
  const int8_t* k_tile(int head, int tile) const {
    return Codes(head) + int64_t{tile} * 16 * kHeadDim;
  }
  const int8_t* v_row(int head, int at) const {
    return Codes(kv_heads_ + head) + int64_t{at} * kHeadDim;
  }

  // k, v [kv_heads][64] codes with their scales [kv_heads].
  void Put(int64_t n, const int8_t* k, const float* k_scales, const int8_t* v,
           const float* v_scales) {
    const int at = static_cast<int>(n % size_);
    const auto tag = static_cast<int32_t>(n + 1);
    std::memcpy(base_ + at, &tag, sizeof(tag));
    for (int h = 0; h < kv_heads_; ++h) {
      base_[size_ * int64_t{1 + h} + at] = k_scales[h];
      base_[size_ * int64_t{1 + kv_heads_ + h} + at] = v_scales[h];
      auto* tile = const_cast<int8_t*>(k_tile(h, at / 16));
      for (int d = 0; d < kHeadDim; ++d) tile[d * 16 + at % 16] = k[h * kHeadDim + d];
      std::memcpy(const_cast<int8_t*>(v_row(h, at)), v + h * kHeadDim, kHeadDim);
    }
  }

 private:
  const int8_t* Codes(int row) const {
    return reinterpret_cast<const int8_t*>(base_ + size_ * int64_t{1 + 2 * kv_heads_}) +
           int64_t{row} * size_ * kHeadDim;
  }

  int kv_heads_;
  int size_;
  float* base_;
};

// The banks of a slab; a const slab gives banks that must only be read.
inline TitansBank TitansBlockBank(const TitansShape& shape, const float* ring) {
  return {shape, kTitansBlocks, const_cast<float*>(ring) + kTitansHeader + shape.width()};
}
inline TitansBank TitansTokenBank(const TitansShape& shape, const float* ring) {
  return {shape, shape.window_len,
          const_cast<float*>(ring) + kTitansHeader + shape.width() +
              TitansBank::Floats(shape, kTitansBlocks)};
}

}  // namespace chimera
