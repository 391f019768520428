// Training forms of the ring attention and of the output gate, compiled once per instruction set;
// see titans_train.h. Sixteen queries meet tiles of 64 keys; probabilities are formed again in the
// backward from the saved log-sum-exp.
#include "layers/chunk_math.h"
#include "layers/titans_train.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kQueries = kTitansChunk;
constexpr int kRows = kQueries * kDim;
constexpr float kScale = 0.125f;   // 64^-1/2
constexpr float kHidden = -1e30f;  // score of what must not be seen: its exponential is 0
// Learned slots, block tokens and the window, each cut at both ends by tiles of 64.
constexpr int kTilesMax = 2 + (kTitansBlocks / 64 + 2) + (kTitansWindowMax / 64 + 3);

// Queries scaled by 64^-1/2, rows past n zero.
struct Queries {
  alignas(64) float plain[kRows], rotated[kRows];
};

void LoadQueries(const TitansQueries& x, Queries& q) {
  LoadRows(x.q, x.q_stride, x.n, kQueries, q.plain);
  LoadRows(x.q_rotated, x.stride, x.n, kQueries, q.rotated);
  ScaleAll(q.plain, kScale, kRows);
  ScaleAll(q.rotated, kScale, kRows);
}

// The part of one tile that some query may see.
struct Part {
  const TitansSight* sight;
  int tile;        // of its keys
  int begin, end;  // columns, multiples of 16
};

int FindParts(const TitansQueries& x, Part* parts) {
  int count = 0;
  for (int s = 0; s < x.n_sights; ++s) {
    const TitansSight& sight = x.sights[s];
    const int begin = sight.begin / 16 * 16, end = (sight.end + 15) / 16 * 16;
    for (int at = begin; at < end;) {
      const int stop = at / kDim * kDim + kDim;
      const int last = stop < end ? stop : end;
      parts[count++] = {&sight, at / kDim, at % kDim, last - at / kDim * kDim};
      at = last;
    }
  }
  return count;
}

// Scores of one part into the columns of a [16][64] tile; what must not be seen is kHidden.
void Scores(const Queries& q, const Part& part, float* scores) {
  const TitansSight& sight = *part.sight;
  const int64_t at = int64_t{part.tile} * kHeadState;
  Product<false, Into::kSet>(sight.rotated ? q.rotated : q.plain, sight.keys->k_t + at + part.begin,
                             scores + part.begin, kQueries, part.end - part.begin, 0, kDim);
  for (int c = part.begin; c < part.end; c += 16) {
    I16 number;
    std::memcpy(&number, sight.keys->number + part.tile * kDim + c, sizeof(number));
    for (int i = 0; i < kQueries; ++i) {
      const int32_t shift = sight.slide * i;
      const I16 seen = (number > sight.low + shift) & (number <= sight.high + shift);
      float* row = scores + i * kDim + c;
      Store(row, Select(seen, Load(row), Splat(kHidden)));
    }
  }
}

void Attend(const TitansQueries* x, float* o, float* lse) {
  Queries q;
  Part parts[kTilesMax];
  alignas(64) float scores[kTilesMax * kRows];
  alignas(64) float out[kRows] = {};
  float scale[kQueries];
  LoadQueries(*x, q);
  const int n_parts = FindParts(*x, parts);
  for (int p = 0; p < n_parts; ++p) Scores(q, parts[p], scores + p * kRows);
  for (int i = 0; i < kQueries; ++i) {
    F16 most = Splat(kHidden);
    for (int p = 0; p < n_parts; ++p) {
      const float* row = scores + p * kRows + i * kDim;
      for (int c = parts[p].begin; c < parts[p].end; c += 16) most = Max(most, Load(row + c));
    }
    const float top = FoldMax(most);
    F16 total = {};
    for (int p = 0; p < n_parts; ++p) {
      float* row = scores + p * kRows + i * kDim;
      for (int c = parts[p].begin; c < parts[p].end; c += 16) {
        const F16 e = Exp(Load(row + c) - top);
        total += e;
        Store(row + c, e);
      }
    }
    const float sum = FoldAdd(total);
    scale[i] = 1.0f / sum;
    if (i < x->n) lse[i] = top + Log1(sum);
  }
  for (int p = 0; p < n_parts; ++p) {
    const float* v = parts[p].sight->keys->v + int64_t{parts[p].tile} * kHeadState;
    Product<false, Into::kAdd>(scores + p * kRows, v, out, kQueries, kDim, parts[p].begin,
                               parts[p].end);
  }
  ScaleRows(out, scale, kQueries, out);
  StoreRows(out, x->n, x->stride, o);
}

// Rows [begin, end) of c [64][64] += p^T x with p, x [16][64].
void AddToKeys(const float* p, const float* x, int begin, int end, float* c) {
  Product<true, Into::kAdd>(p + begin, x, c + begin * kDim, end - begin, kDim, 0, kQueries);
}

void AttendBackward(const TitansQueries* x, const float* o, const float* lse, const float* d_o,
                    float* dq, float* dq_rotated) {
  Queries q;
  Part parts[kTilesMax];
  alignas(64) float p[kRows], ds[kRows], out[kRows], d_out[kRows];
  alignas(64) float d_plain[kRows] = {}, d_rotated[kRows] = {};
  float along[kQueries], sums[kQueries] = {};
  LoadQueries(*x, q);
  LoadRows(o, x->stride, x->n, kQueries, out);
  LoadRows(d_o, x->stride, x->n, kQueries, d_out);
  for (int i = 0; i < kQueries; ++i) {
    along[i] = RowDot(out + i * kDim, d_out + i * kDim);
    if (i < x->n) sums[i] = lse[i];
  }
  const int n_parts = FindParts(*x, parts);
  for (int at = 0; at < n_parts; ++at) {
    const Part& part = parts[at];
    const TitansKeys& keys = *part.sight->keys;
    const int64_t tile = int64_t{part.tile} * kHeadState;
    Scores(q, part, p);
    Product<false, Into::kSet>(d_out, keys.v_t + tile + part.begin, ds + part.begin, kQueries,
                               part.end - part.begin, 0, kDim);
    for (int i = 0; i < kQueries; ++i) {
      for (int c = i * kDim + part.begin; c < i * kDim + part.end; c += 16) {
        const F16 prob = Exp(Load(p + c) - sums[i]);
        Store(p + c, prob);
        Store(ds + c, prob * (Load(ds + c) - along[i]));
      }
    }
    const bool rotated = part.sight->rotated;
    Product<false, Into::kAdd>(ds, keys.k + tile, rotated ? d_rotated : d_plain, kQueries, kDim,
                               part.begin, part.end);
    AddToKeys(ds, rotated ? q.rotated : q.plain, part.begin, part.end, keys.dk + tile);
    AddToKeys(p, d_out, part.begin, part.end, keys.dv + tile);
  }
  ScaleAll(d_plain, kScale, kRows);
  ScaleAll(d_rotated, kScale, kRows);
  StoreRows(d_plain, x->n, x->q_stride, dq);
  StoreRows(d_rotated, x->n, x->stride, dq_rotated);
}

void TransposeTile(const float* tile, float* turned) { Transpose(tile, turned, kDim); }

void HeadGateBackward(const float* o, const float* r, const float* gain, const float* inv,
                      const float* dy, int64_t rows, float* d_o, float* dr, float* dgain) {
  for (int64_t row = 0; row < rows; ++row) {
    const float factor = inv[row];
    F16 dn[4], rn[4];
    F16 sum = {};
    for (int j = 0; j < 4; ++j) {
      const int64_t at = row * kDim + 16 * j;
      rn[j] = Load(r + at) * factor;
      const F16 scale = Load(gain + 16 * j), s = Sigmoid(rn[j] * scale), d = Load(dy + at);
      const F16 d_normed = d * Load(o + at) * s * (1.0f - s) * 2.0f;
      Store(d_o + at, d * s * 2.0f);
      Store(dgain + 16 * j, Load(dgain + 16 * j) + d_normed * rn[j]);
      dn[j] = d_normed * scale;
      sum += dn[j] * rn[j];
    }
    const float mean = FoldAdd(sum) / kDim;
    for (int j = 0; j < 4; ++j) {
      float* into = dr + row * kDim + 16 * j;
      Store(into, Load(into) + (dn[j] - rn[j] * mean) * factor);
    }
  }
}

}  // namespace

extern const TitansAttendTrainKernels kTitansAttendTrain;
const TitansAttendTrainKernels kTitansAttendTrain = {Attend, AttendBackward, TransposeTile,
                                                     HeadGateBackward};

}  // namespace CHIMERA_ISA
}  // namespace chimera
