#include "layers/span_knot_op.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "base/check.h"
#include "layers/token_blocks.h"
#include "tensor/matmul.h"

namespace chimera {
namespace {

constexpr int64_t kRowsAtOnce = 32;  // whose bits are in floats at the same time

// What the backward needs of one row, as bit planes.
enum Plane { kFlipped, kOpen, kOpenRole, kPrevious, kPlanes };

// One application of the branch: what the forward leaves stays in the tape's arena.
class SpanKnotOp {
 public:
  SpanKnotOp(Tape* tape, const TrainBatch& batch, const SpanKnot& knot,
             const SpanKnotParams& params, const SketchFields& fields, Var* xn,
             int64_t state_offset)
      : tape_(tape),
        exec_(tape->exec()),
        batch_(batch),
        knot_(knot),
        params_(params),
        fields_(fields),
        xn_(xn),
        state_offset_(state_offset),
        rows_(batch.rows()),
        width_(knot.shape().width),
        rank_(knot.shape().rank),
        bits_(knot.shape().bits),
        words_(knot.shape().words()),
        y_(tape->New(rows_, width_)) {
    CHIMERA_CHECK(xn->rows == rows_ && xn->cols == knot.shape().d_model);
    Arena& arena = tape->arena();
    z_ = arena.New<float>(rows_ * 3 * rank_);
    inv_ = arena.New<float>(rows_ * 3);
    r_ = arena.New<float>(rows_ * rank_);
    planes_ = arena.New<uint64_t>(rows_ * kPlanes * words_);
  }

  Var* y() const { return y_; }

  void Forward() {
    const int64_t floats = SpanKnotStateFloats(bits_);
    exec_->ParallelFor(batch_.n_seqs, [&](int64_t s) {
      SpanKnotScratch scratch(knot_.shape());
      const float* start = batch_.Start(s) + state_offset_;
      std::vector<float> state(start, start + floats);
      for (int64_t row = batch_.Row(s); row < batch_.Row(s + 1); ++row) {
        if (batch_.reset != nullptr && batch_.reset[row] != 0) {
          std::fill(state.begin(), state.end(), 0.0f);
        }
        const bool has_previous = state.back() != 0.0f;
        knot_.Step({params_.sketch.value, params_.back.value, params_.gate.value},
                   FieldsOfRow(fields_, row, words_), xn_->value + row * xn_->cols, state.data(),
                   state.data(), &scratch, y_->value + row * width_);
        Save(row, has_previous, scratch);
      }
      std::copy(state.begin(), state.end(), batch_.End(s) + state_offset_);
    });
  }

  void Backward() {
    if (!y_->has_grad) return;
    Arena& arena = tape_->arena();
    const int64_t d_model = xn_->cols;
    float* dr = arena.New<float>(rows_ * rank_);
    float* dz = arena.New<float>(rows_ * 3 * rank_);
    FeedBackBackward(dr);
    SketchBackward(dr, dz);
    bool accumulate = false;
    float* dx = tape_->GradTarget(xn_, &accumulate);
    ParallelMatmul(exec_,
                   {.m = rows_,
                    .n = d_model,
                    .k = 3 * rank_,
                    .lda = 3 * rank_,
                    .ldb = d_model,
                    .ldc = d_model,
                    .accumulate = accumulate},
                   dz, params_.sketch.value, dx);
    ParallelMatmul(exec_,
                   {.m = 3 * rank_,
                    .n = d_model,
                    .k = rows_,
                    .lda = 3 * rank_,
                    .ldb = d_model,
                    .ldc = d_model,
                    .trans_a = true,
                    .accumulate = true},
                   dz, xn_->value, params_.sketch.grad);
  }

 private:
  uint64_t* PlaneOf(int64_t row, Plane plane) const {
    return planes_ + (row * kPlanes + plane) * words_;
  }

  void Save(int64_t row, bool has_previous, const SpanKnotScratch& scratch) {
    std::copy(scratch.z.begin(), scratch.z.end(), z_ + row * 3 * rank_);
    std::copy(scratch.inv.begin(), scratch.inv.end(), inv_ + row * 3);
    std::copy(scratch.readout.begin(), scratch.readout.end(), r_ + row * rank_);
    std::copy(scratch.previous.begin(), scratch.previous.end(), PlaneOf(row, kPrevious));
    uint64_t* flipped = PlaneOf(row, kFlipped);
    uint64_t* open = PlaneOf(row, kOpen);
    uint64_t* role = PlaneOf(row, kOpenRole);
    const SpanKnotKernels& kernels = knot_.kernels();
    const int bits = static_cast<int>(bits_);
    kernels.below(scratch.gains.data(), bits, kFlipClip, flipped);  // |gain| is |field|
    kernels.below(scratch.pre.data(), bits, 1.0f, open);
    kernels.below(scratch.pre.data() + 2 * bits_, bits, 1.0f, role);
    for (int64_t w = 0; w < words_; ++w) {
      const uint64_t flips = scratch.start[w] ^ scratch.relaxed[w];
      open[w] = (open[w] & ~flips) | (flipped[w] & flips);
      if (!has_previous) role[w] = 0;
      flipped[w] = flips;
    }
  }

  // y = gate * (W_back r). Adds to the gradients of gate and W_back, writes dr.
  void FeedBackBackward(float* dr) {
    float* raw = tape_->arena().New<float>(rows_ * width_);  // W_back r
    float* d_raw = tape_->arena().New<float>(rows_ * width_);
    ParallelMatmul(exec_,
                   {.m = rows_,
                    .n = width_,
                    .k = rank_,
                    .lda = rank_,
                    .ldb = rank_,
                    .ldc = width_,
                    .trans_b = true},
                   r_, params_.back.value, raw);
    PartialSums d_gate(tape_, rows_, width_);
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      float* sums = d_gate.Block(t);
      for (int64_t row = t; row < t + n; ++row) {
        const float* dy = y_->grad + row * width_;
        for (int64_t c = 0; c < width_; ++c) {
          sums[c] += dy[c] * raw[row * width_ + c];
          d_raw[row * width_ + c] = dy[c] * params_.gate.value[c];
        }
      }
    });
    d_gate.AddTo(params_.gate.grad);
    ParallelMatmul(exec_,
                   {.m = rows_, .n = rank_, .k = width_, .lda = width_, .ldb = rank_, .ldc = rank_},
                   d_raw, params_.back.value, dr);
    ParallelMatmul(exec_,
                   {.m = width_,
                    .n = rank_,
                    .k = rows_,
                    .lda = width_,
                    .ldb = rank_,
                    .ldc = rank_,
                    .trans_a = true,
                    .accumulate = true},
                   d_raw, r_, params_.back.grad);
  }

  // From dr to dz, through readout, surrogate, codebook and norm.
  void SketchBackward(float* dr, float* dz) {
    float* signs = tape_->arena().New<float>(bits_ * kActBlock);
    DequantizeWeights(knot_.codebook(), 0, RowTiles(static_cast<int>(bits_)), signs);
    const std::vector<float> ones(static_cast<size_t>(rank_), 1.0f);
    // Every way back from a bit passes the readout once and 1 / sqrt(rank) of pre once.
    const float scale = knot_.readout_scale() * knot_.inv_sqrt_rank();
    ForTokens(exec_, rows_, [&](int64_t begin, int64_t n) {
      std::vector<float> d_bits(static_cast<size_t>(std::min(n, kRowsAtOnce) * bits_));
      for (int64_t row = begin; row < begin + n; row += kRowsAtOnce) {
        const int64_t count = std::min(kRowsAtOnce, begin + n - row);
        for (int64_t i = row * rank_; i < (row + count) * rank_; ++i) dr[i] *= scale;
        Matmul({.m = count,
                .n = bits_,
                .k = rank_,
                .lda = rank_,
                .ldb = kActBlock,
                .ldc = bits_,
                .trans_b = true},
               dr + row * rank_, signs, d_bits.data());
        for (int64_t i = 0; i < count; ++i) {
          BitsBackward(row + i, signs, d_bits.data() + i * bits_, dz + (row + i) * 3 * rank_);
        }
        Matmul(
            {.m = count, .n = rank_, .k = bits_, .lda = bits_, .ldb = kActBlock, .ldc = 3 * rank_},
            d_bits.data(), signs, dz + row * 3 * rank_);
      }
      RmsNorm().backward(z_ + begin * 3 * rank_, ones.data(), inv_ + begin * 3,
                         dz + begin * 3 * rank_, static_cast<int>(3 * n), static_cast<int>(rank_),
                         dz + begin * 3 * rank_, nullptr);
    });
  }

  // d_bits [bits] of one row: on return that of pre_state. Writes the gradients of the normalised
  // candidate and role behind the place of the state's in d_normed [3][rank]; few bits are flipped.
  void BitsBackward(int64_t row, const float* signs, float* d_bits, float* d_normed) const {
    float* d_candidate = d_normed + rank_;
    float* d_role = d_normed + 2 * rank_;
    std::fill(d_candidate, d_candidate + 2 * rank_, 0.0f);
    const float candidate = knot_.energy().autoregressive / kFlipClip;
    const float binding = 0.5f * knot_.energy().binding / kFlipClip;
    for (int64_t w = 0; w < words_; ++w) {
      const uint64_t flipped = PlaneOf(row, kFlipped)[w], open = PlaneOf(row, kOpen)[w];
      for (uint64_t left = flipped & open; left != 0; left &= left - 1) {
        const int k = __builtin_ctzll(left);
        const int64_t j = 64 * w + k;
        const float* sign = signs + j * kActBlock;
        const float d = d_bits[j] * candidate;
        for (int64_t i = 0; i < rank_; ++i) d_candidate[i] += d * sign[i];
        if ((PlaneOf(row, kOpenRole)[w] >> k & 1) == 0) continue;
        // role XOR s is to equal the previous sketch: the field pulls towards -role * previous.
        const bool previous = (PlaneOf(row, kPrevious)[w] >> k & 1) != 0;
        const float b = d_bits[j] * (previous ? -binding : binding);
        for (int64_t i = 0; i < rank_; ++i) d_role[i] += b * sign[i];
      }
      const uint64_t keep = open & ~flipped;
      for (int k = 0; k < 64; ++k) d_bits[64 * w + k] *= static_cast<float>(keep >> k & 1);
    }
  }

  Tape* tape_;
  ExecContext* exec_;
  TrainBatch batch_;
  const SpanKnot& knot_;
  SpanKnotParams params_;
  SketchFields fields_;
  Var* xn_;
  int64_t state_offset_;
  int64_t rows_, width_, rank_, bits_, words_;
  Var* y_;
  float* z_;          // [rows][3][rank]
  float* inv_;        // [rows][3]
  float* r_;          // [rows][rank]
  uint64_t* planes_;  // [rows][kPlanes][words]
};

}  // namespace

SpanFields FieldsOfRow(const SketchFields& fields, int64_t row, int words) {
  const auto field = [&](int f) {
    if (fields.bits == nullptr || fields.index[f] == nullptr || fields.index[f][row] < 0) {
      return SpanField{};
    }
    return SpanField{fields.bits + int64_t{fields.index[f][row]} * words, fields.weight[f][row]};
  };
  return {field(0), field(1), field(2)};
}

Var* SpanKnotBranch(Tape* tape, const TrainBatch& batch, const SpanKnot& knot,
                    const SpanKnotParams& params, const SketchFields& fields, Var* xn,
                    int64_t state_offset) {
  auto op = std::make_shared<SpanKnotOp>(tape, batch, knot, params, fields, xn, state_offset);
  op->Forward();
  tape->OnBackward([op] { op->Backward(); });
  return op->y();
}

}  // namespace chimera
