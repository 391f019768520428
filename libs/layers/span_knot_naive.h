// The obvious twin of span_knot.h and span_knot_op.h, for tests: plain loops over the equations of
// docs/layers/span_knot.md, T = float or double. Signs are ints of -1 and +1.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "layers/rms_norm_naive.h"

namespace chimera {

using Signs = std::vector<int>;

template <typename T>
struct NaiveSpanField {
  Signs bits;  // empty = absent
  T weight = 0;
};

// One token: what goes in, what the layer makes of it.
template <typename T>
struct NaiveSpanToken {
  NaiveSpanField<T> field[3];  // memory, grammar, debt
  Signs previous;              // empty: a fresh stream
  std::vector<T> z, normed;    // [3][rank]
  std::vector<T> pre;          // [3][bits]
  Signs start, relaxed;
  std::vector<uint8_t> flipped;
  std::vector<T> local;  // [bits] local fields
  std::vector<T> soft;   // the sketch the readout saw: relaxed, or the surrogate
  std::vector<T> r;
  std::vector<T> y;
  int sweeps = 0;
};

template <typename T>
struct NaiveSpanGrads {
  std::vector<T> sketch, back, gate, xn;  // the first three are added to, xn is written
};

template <typename T>
struct NaiveSpanKnot {
  int d_model, width, bits, rank;
  Signs u;    // [bits][rank]
  T term[5];  // autoregressive, memory, binding, grammar, debt
  int flips_per_sweep, max_sweeps;
  T early_exit, flip_clip;
  const T *sketch, *back, *gate;

  T Clip(T x, T limit) const { return std::clamp(x / limit, T(-1), T(1)); }
  static int Sign(T x) { return x >= 0 ? 1 : -1; }

  void Project(const T* xn, NaiveSpanToken<T>* t) const {
    t->z.assign(3 * rank, 0);
    t->normed.resize(3 * rank);
    for (int i = 0; i < 3 * rank; ++i) {
      for (int c = 0; c < d_model; ++c) t->z[i] += sketch[i * d_model + c] * xn[c];
    }
    const std::vector<T> ones(rank, 1);
    for (int k = 0; k < 3; ++k) {
      NaiveRmsNorm(&t->z[k * rank], ones.data(), rank, &t->normed[k * rank]);
    }
  }

  // pre = U normed / sqrt(rank); quantise rounds each vector to int8 first, as serving does.
  void Expand(bool quantise, NaiveSpanToken<T>* t) const {
    t->pre.resize(3 * bits);
    for (int k = 0; k < 3; ++k) {
      const T* v = &t->normed[k * rank];
      T top = 0;
      for (int i = 0; i < rank; ++i) top = std::max(top, std::abs(v[i]));
      const T step = quantise ? std::max(top / 127, T(1e-8)) : T(1);
      const T scale = step * static_cast<T>(1 / std::sqrt(static_cast<double>(rank)));
      for (int j = 0; j < bits; ++j) {
        T sum = 0;
        for (int i = 0; i < rank; ++i) {
          sum += u[j * rank + i] * (quantise ? std::nearbyint(v[i] / step) : v[i]);
        }
        t->pre[k * bits + j] = scale * sum;
      }
    }
  }

  // The energy as it is defined, from counted distances.
  T Energy(const NaiveSpanToken<T>& t, const Signs& s) const {
    const auto distance = [&](const Signs& other, const Signs* role) {
      int differing = 0;
      for (int j = 0; j < bits; ++j) {
        // Bits are XORed: the sign of a XOR b is -sign(a) sign(b) when a set bit is +1.
        const int bit = role == nullptr ? s[j] : -s[j] * (*role)[j];
        differing += bit != other[j];
      }
      return static_cast<T>(differing) / bits;
    };
    T inner = 0;
    for (int j = 0; j < bits; ++j) inner += t.pre[bits + j] * s[j];
    T energy = -term[0] * inner / bits;
    const T weight[3] = {term[1], term[3], term[4]};
    for (int f = 0; f < 3; ++f) {
      if (!t.field[f].bits.empty()) {
        energy += weight[f] * t.field[f].weight * distance(t.field[f].bits, nullptr);
      }
    }
    if (!t.previous.empty()) {
      Signs role(bits);
      for (int j = 0; j < bits; ++j) role[j] = Sign(t.pre[2 * bits + j]);
      energy += term[2] * distance(t.previous, &role);
    }
    return energy;
  }

  // The local field of bit j: minus bits / 2 times the energy's difference between s_j = 1 and -1.
  // role: the value of the role's sign, or its surrogate.
  T Field(const NaiveSpanToken<T>& t, int j, T role) const {
    const auto pull = [&](T weight, const NaiveSpanField<T>& f) {
      return f.bits.empty() ? T(0) : T(0.5) * (weight * f.weight) * f.bits[j];
    };
    T field = t.pre[bits + j] * term[0];
    field += pull(term[1], t.field[0]);
    if (!t.previous.empty()) field += T(0.5) * term[2] * (-role * t.previous[j]);
    field += pull(term[3], t.field[1]);
    field += pull(term[4], t.field[2]);
    return field;
  }

  void Relax(NaiveSpanToken<T>* t) const {
    t->start.resize(bits);
    t->flipped.assign(bits, 0);
    t->local.resize(bits);
    for (int j = 0; j < bits; ++j) {
      t->start[j] = Sign(t->pre[j]);
      t->local[j] = Field(*t, j, static_cast<T>(Sign(t->pre[2 * bits + j])));
    }
    t->relaxed = t->start;
    for (t->sweeps = 0; t->sweeps < max_sweeps;) {
      T drop = 0;
      int flips = 0;
      for (; flips < flips_per_sweep; ++flips) {
        int best = -1;
        T best_gain = 0;
        for (int j = 0; j < bits; ++j) {
          const T gain = -t->relaxed[j] * t->local[j];
          if (gain > best_gain) best = j, best_gain = gain;
        }
        if (best < 0) break;
        t->relaxed[best] = -t->relaxed[best];
        t->flipped[best] = 1;
        drop += 2 * best_gain / bits;
      }
      if (flips == 0) break;
      ++t->sweeps;
      if (drop < early_exit) break;
    }
    t->soft.assign(t->relaxed.begin(), t->relaxed.end());
  }

  // The smooth function the gradients are those of: flips are frozen, signs become ramps.
  void Soften(NaiveSpanToken<T>* t) const {
    for (int j = 0; j < bits; ++j) {
      t->local[j] = Field(*t, j, Clip(t->pre[2 * bits + j], 1));
      t->soft[j] = t->flipped[j] ? Clip(t->local[j], flip_clip) : Clip(t->pre[j], 1);
    }
  }

  void ReadOut(NaiveSpanToken<T>* t) const {
    const T scale = static_cast<T>(std::sqrt(std::acos(-1.0) * rank / 2) / bits);
    t->r.assign(rank, 0);
    t->y.assign(width, 0);
    for (int i = 0; i < rank; ++i) {
      for (int j = 0; j < bits; ++j) t->r[i] += u[j * rank + i] * t->soft[j];
      t->r[i] *= scale;
    }
    for (int c = 0; c < width; ++c) {
      for (int i = 0; i < rank; ++i) t->y[c] += back[c * rank + i] * t->r[i];
      t->y[c] *= gate[c];
    }
  }

  // After Relax or after Soften: the same formulas on what that forward saw.
  void Backward(const NaiveSpanToken<T>& t, const T* xn, const T* dy,
                NaiveSpanGrads<T>* grads) const {
    const T scale = static_cast<T>(std::sqrt(std::acos(-1.0) * rank / 2) / bits);
    const T inv_sqrt = 1 / std::sqrt(T(rank));
    std::vector<T> dr(rank), dnormed(3 * rank), dz(3 * rank);
    for (int c = 0; c < width; ++c) {
      for (int i = 0; i < rank; ++i) {
        grads->gate[c] += dy[c] * back[c * rank + i] * t.r[i];
        grads->back[c * rank + i] += dy[c] * gate[c] * t.r[i];
        dr[i] += dy[c] * gate[c] * back[c * rank + i];
      }
    }
    for (int j = 0; j < bits; ++j) {
      T ds = 0;
      for (int i = 0; i < rank; ++i) ds += scale * u[j * rank + i] * dr[i];
      T dpre[3] = {};
      const T pre_role = t.pre[2 * bits + j];
      if (!t.flipped[j]) {
        if (std::abs(t.pre[j]) < 1) dpre[0] = ds;
      } else if (std::abs(t.local[j]) < flip_clip) {
        dpre[1] = ds / flip_clip * term[0];
        if (!t.previous.empty() && std::abs(pre_role) < 1) {
          dpre[2] = -ds / flip_clip * term[2] / 2 * t.previous[j];
        }
      }
      for (int k = 0; k < 3; ++k) {
        for (int i = 0; i < rank; ++i) {
          dnormed[k * rank + i] += dpre[k] * u[j * rank + i] * inv_sqrt;
        }
      }
    }
    const std::vector<T> ones(rank, 1);
    std::vector<T> unused(rank);
    for (int k = 0; k < 3; ++k) {
      NaiveRmsNormBackward(&t.z[k * rank], ones.data(), &dnormed[k * rank], rank, &dz[k * rank],
                           unused.data());
    }
    for (int c = 0; c < d_model; ++c) {
      grads->xn[c] = 0;
      for (int i = 0; i < 3 * rank; ++i) {
        grads->xn[c] += dz[i] * sketch[i * d_model + c];
        grads->sketch[i * d_model + c] += dz[i] * xn[c];
      }
    }
  }
};

}  // namespace chimera
