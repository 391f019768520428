// The vector loops of the span knot and the memory of the Titans layer.
#include <algorithm>
#include <cmath>

#include "kernels/check.h"
#include "layers/head.h"
#include "layers/rms_norm_naive.h"
#include "layers/span_knot_kernels.h"
#include "layers/swiglu_naive.h"
#include "layers/titans.h"
#include "layers/titans_naive.h"

namespace chimera {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;
using Memory = NaiveTitansMemory<double>;

double SignOf(const std::vector<uint64_t>& words, int bit) {
  return (words[static_cast<size_t>(bit / 64)] >> (bit % 64) & 1) != 0 ? 1 : -1;
}

std::vector<uint64_t> Words(int bits, uint32_t seed) {
  const Floats noise = Noise(static_cast<size_t>(bits), 1.0f, 0.0f, seed);
  std::vector<uint64_t> words(static_cast<size_t>(bits / 64));
  for (int j = 0; j < bits; ++j) {
    words[static_cast<size_t>(j / 64)] |= uint64_t{noise[j] >= 0} << (j % 64);
  }
  return words;
}

void CheckSketchFields(Check* check) {
  const SpanKnotKernels& kernels = SpanKnotKernelsFor(check->isa());
  const int bits = 320;
  const Floats pre = Noise(3 * bits, 1.0f, 0.0f, 51);
  std::vector<std::vector<uint64_t>> sketch;
  SpanKnotTerms terms;
  terms.candidate = 0.8f;
  for (int i = 0; i < 4; ++i) {
    sketch.push_back(Words(bits, static_cast<uint32_t>(52 + i)));
    terms.half[i] = 0.1f * static_cast<float>(i + 1);
  }
  for (int i = 0; i < 4; ++i) terms.sketch[i] = sketch[i].data();
  std::vector<uint64_t> start(bits / 64), want_start(bits / 64);
  Floats gains(bits);
  Doubles want(bits);
  const SpanKnotFieldSums sums =
      kernels.fields(pre.data(), bits, terms, start.data(), gains.data());
  double sum = 0, top = 0;
  for (int j = 0; j < bits; ++j) {
    const double role = pre[2 * bits + j] >= 0 ? 1 : -1;
    double field = double{terms.candidate} * pre[bits + j];
    for (int i = 0; i < 4; ++i) {
      field += (i == 1 ? -role : 1) * SignOf(sketch[i], j) * double{terms.half[i]};
    }
    const bool set = pre[j] >= 0;
    want_start[static_cast<size_t>(j / 64)] |= uint64_t{set} << (j % 64);
    want[j] = set ? -field : field;
    sum += want[j];
    top = std::max(top, want[j]);
  }
  check->Same("sketch start", start, want_start);
  check->Close("sketch gains", gains, want);
  check->Close("sketch sums", {sums.gain_sum, sums.gain_max}, {sum, top});

  const float least = 0.25f;
  std::vector<uint64_t> kept, want_kept, plane(bits / 64), want_plane(bits / 64);
  for (int j = 0; j < bits; ++j) {
    uint32_t gain;
    std::memcpy(&gain, &gains[j], sizeof(gain));
    if (gains[j] >= least)
      want_kept.push_back(uint64_t{gain} << 32 | (0xffffffffu - static_cast<uint32_t>(j)));
    if (std::abs(gains[j]) < least)
      want_plane[static_cast<size_t>(j / 64)] |= uint64_t{1} << (j % 64);
  }
  kept.resize(static_cast<size_t>(kernels.count(gains.data(), bits, least)));
  kernels.collect(gains.data(), bits, least, kept.data());
  kernels.below(gains.data(), bits, least, plane.data());
  check->Same("large gains", kept, want_kept);
  check->Same("bits below", plane, want_plane);
}

void CheckSketchMaps(Check* check) {
  const SpanKnotKernels& kernels = SpanKnotKernelsFor(check->isa());
  const int bits = 320, rank = 13, cols = 77;
  const Floats w = Noise(rank * cols, 0.5f, 0.0f, 56), x = Noise(cols, 1.0f, 0.0f, 57);
  Floats z(rank), r(rank), y(cols);
  Doubles want_z(rank), want_r(rank), want_y(cols);
  kernels.project(w.data(), rank, cols, x.data(), z.data());
  std::vector<uint64_t> planes;
  const std::vector<uint64_t> sketch = Words(bits, 58);
  for (int i = 0; i < rank; ++i) {
    for (int c = 0; c < cols; ++c) want_z[i] += double{w[i * cols + c]} * x[c];
    const std::vector<uint64_t> plane = Words(bits, static_cast<uint32_t>(60 + i));
    planes.insert(planes.end(), plane.begin(), plane.end());
    for (int j = 0; j < bits; ++j) want_r[i] += 0.01 * SignOf(plane, j) * SignOf(sketch, j);
  }
  kernels.readout(planes.data(), rank, bits, sketch.data(), 0.01f, r.data());
  kernels.feed_back(w.data(), x.data(), r.data(), cols, rank, y.data());
  for (int c = 0; c < cols; ++c) {
    for (int i = 0; i < rank; ++i) want_y[c] += double{x[c]} * w[c * rank + i] * r[i];
  }
  check->Close("sketch projection", z, want_z);
  check->Close("sketch readout", r, want_r);
  check->Close("sketch fed back", y, want_y);
}

Memory::State StateOf(const Floats& fast) {
  const auto part = [&](int i) {
    const auto from = fast.begin() + int64_t{i} * kHeadState;
    return Transposed(Doubles(from, from + kHeadState), kHeadDim, kHeadDim);
  };
  return {part(0), part(1), part(2), part(3)};
}

void CheckFastWeights(Check* check) {
  const TitansKernels& kernels = TitansFor(check->isa());
  const Memory memory{kHeadDim, kHeadDim};
  for (const int n : {1, 5, 16}) {
    Floats fast = Noise(kTitansFast, 0.1f, 0.0f, 71), tokens = Noise(kTitansTokens, 0.2f, 0.0f, 72);
    const auto fill = [&](int row, float scale, float offset) {
      const Floats gates = Noise(kTitansChunk, scale, offset, static_cast<uint32_t>(73 + row));
      std::copy(gates.begin(), gates.end(), tokens.begin() + kTitansTheta + row * kTitansChunk);
    };
    fill(0, 0.4f, 0.5f), fill(1, 0.4f, 0.5f), fill(2, 0.04f, 0.05f);
    const float* k = tokens.data();
    const float* v = k + kTitansChunk * kHeadDim;
    Memory::State m = StateOf(fast);
    Floats r(kHeadDim);
    Doubles want_r(kHeadDim);
    const Doubles wide = Wide(tokens);
    const double *wk = wide.data(), *wv = wk + kTitansChunk * kHeadDim,
                 *theta = &wide[kTitansTheta];
    kernels.retrieve(fast.data(), k, r.data());
    memory.Read(m, wk, want_r.data());
    check->Close("memory read", r, want_r);
    const float surprise = std::sqrt(kernels.surprise(fast.data(), k, v));
    check->Close("surprise", {surprise}, {memory.Surprise(m, wk, wv)});
    const Memory::Tokens x = {n, wk, wv, theta, theta + kTitansChunk, theta + 2 * kTitansChunk};
    memory.Write(x, memory.GuardOf(m, x, n != 5), &m);
    kernels.write(tokens.data(), n, n != 5, fast.data());
    const Memory::State got = StateOf(fast);
    const auto same = [&](const char* what, const Doubles& from, const Doubles& want) {
      check->Close(what, Floats(from.begin(), from.end()), want);
    };
    same("memory w1", got.w1, m.w1), same("memory w2", got.w2, m.w2);
    same("memory s1", got.s1, m.s1), same("memory s2", got.s2, m.s2);
  }
}

void CheckMemoryGates(Check* check) {
  const TitansKernels& kernels = TitansFor(check->isa());
  const int tokens = 3, heads = 7, rows = 5;
  const Floats pre = Noise(tokens * 3 * heads, 8.0f, 0.0f, 81),
               bias = Noise(3 * heads, 2.0f, 0.0f, 82);
  Floats gates(pre.size()), keep(tokens * heads);
  Doubles want(pre.size()), want_keep(keep.size());
  kernels.gates(pre.data(), bias.data(), tokens, heads, gates.data(), keep.data());
  for (int i = 0; i < tokens * 3 * heads; ++i) {
    const int gate = i % (3 * heads), token = i / (3 * heads);
    want[i] = (gate < 2 * heads ? 1 : 0.1) * NaiveSigmoid(double{pre[i]} + bias[gate]);
    if (gate >= 2 * heads) want_keep[token * heads + gate - 2 * heads] = std::log1p(-want[i]);
  }
  check->Close("memory gates", gates, want);
  check->Close("log of what is kept", keep, want_keep);
  const Floats o = Noise(rows * kHeadDim, 2.0f, 0.0f, 83),
               r = Noise(rows * kHeadDim, 2.0f, 0.0f, 84);
  const Floats gain = Noise(kHeadDim, 1.0f, 0.0f, 85);
  Floats y(o.size());
  Doubles want_y(o.size()), normed(o.size());
  kernels.head_gate(o.data(), r.data(), gain.data(), rows, y.data(), nullptr);
  for (int row = 0; row < rows; ++row) {
    NaiveRmsNorm(Wide(r).data() + row * kHeadDim, Wide(gain).data(), kHeadDim,
                 &normed[row * kHeadDim]);
  }
  for (size_t i = 0; i < o.size(); ++i) want_y[i] = o[i] * 2 * NaiveSigmoid(normed[i]);
  check->Close("memory head gate", y, want_y);
}

void CheckAttention(Check* check) {
  const TitansKernels& kernels = TitansFor(check->isa());
  const int heads = 3, slots = 19, n_tiles = 2;
  const Floats q = Noise(heads * kHeadDim, 2.0f, 0.0f, 86),
               turned = Noise(heads * kHeadDim, 2.0f, 0.0f, 87);
  const Floats slot_k = Noise(slots * kHeadDim, 1.0f, 0.0f, 88),
               slot_v = Noise(slots * kHeadDim, 1.0f, 0.0f, 89);
  const Floats scales = Noise(4 * 16, 0.005f, 0.006f, 90);
  const Floats codes = Noise(4 * 16 * kHeadDim, 127.0f, 0.0f, 91);
  const std::vector<int8_t> bytes(codes.begin(), codes.end());
  const int8_t* tile_bytes = bytes.data();
  const int at_v = n_tiles * 16 * kHeadDim;
  const TitansTile tiles[n_tiles] = {
      {tile_bytes, tile_bytes + at_v, &scales[0], &scales[32], 0xffff},
      {tile_bytes + 16 * kHeadDim, tile_bytes + at_v + 16 * kHeadDim, &scales[16], &scales[48],
       0x80f1}};
  Floats o(heads * kHeadDim);
  Doubles want(heads * kHeadDim);
  kernels.attend(q.data(), turned.data(), heads, slot_k.data(), slot_v.data(), kHeadDim, slots,
                 tiles, n_tiles, o.data());
  for (int at = 0; at < heads * kHeadDim; at += kHeadDim) {
    double total = 0;
    const auto add = [&](double score, const auto& value) {
      const double p = std::exp(score / 8);
      total += p;
      for (int i = 0; i < kHeadDim; ++i) want[at + i] += p * value(i);
    };
    for (int j = 0; j < slots; ++j) {
      double score = 0;
      for (int i = 0; i < kHeadDim; ++i) score += double{q[at + i]} * slot_k[j * kHeadDim + i];
      add(score, [&](int i) { return double{slot_v[j * kHeadDim + i]}; });
    }
    for (const TitansTile& tile : tiles) {
      for (int j = 0; j < 16; ++j) {
        if ((tile.visible >> j & 1) == 0) continue;
        double score = 0;
        for (int i = 0; i < kHeadDim; ++i) {
          score += double{turned[at + i]} * tile.k[i * 16 + j] * tile.k_scale[j];
        }
        add(score, [&](int i) { return double{tile.v_scale[j]} * tile.v[j * kHeadDim + i]; });
      }
    }
    for (int i = 0; i < kHeadDim; ++i) want[at + i] /= total;
  }
  check->Close("attention", o, want, 1e-4);
}

}  // namespace

void CheckMemories(Check* check) {
  CheckSketchFields(check);
  CheckSketchMaps(check);
  CheckFastWeights(check);
  CheckMemoryGates(check);
  CheckAttention(check);
}

}  // namespace chimera
