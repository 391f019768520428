// The obvious twin of the whole Titans layer between its projections, for tests: one document from
// its first token, forward and backward, any sizes, T = float or double. Quantizers of keys and
// values enter as constant offsets, which is what the straight-through gradient assumes.
#pragma once

#include <cmath>
#include <vector>

#include "layers/gated_delta_naive.h"
#include "layers/titans_naive.h"

namespace chimera {

template <typename T>
struct NaiveTitansLayer {
  using Vector = std::vector<T>;
  using Memory = NaiveTitansMemory<T>;

  int heads, kv_heads, d, slots, window, chunk, blocks;
  bool decay_linear = false, frozen = false, first_order = false, momentum_guard = true;
  // Parameters as in titans.h; w_kv [2 * kv][width] and block_norm [width] project a block's mean.
  struct Params {
    Vector gate_bias, w1, w2, slot_k, slot_v, head_norm, w_kv, block_norm;
  } p;
  // [n][4 * width + 2 * kv], [n][3 * heads]
  Vector in, gates;
  // Rounding offsets of keys, values [n][kv] and of block keys, values [n / chunk][kv]; may be
  // empty.
  Vector k_offset, v_offset, block_k_offset, block_v_offset;
  // Frozen guards of every (chunk, head), or empty: they are computed and left here.
  std::vector<typename Memory::Guard> guards;
  // The states of the first iteration of a loop: this is a later one, which reads them as constants
  // and writes nothing. Empty: the layer has a memory of its own.
  std::vector<typename Memory::State> given;

  int width() const { return heads * d; }
  int kv() const { return kv_heads * d; }
  int n() const { return static_cast<int>(in.size()) / (4 * width() + 2 * kv()); }
  const T* At(int t, int part) const { return &in[t * (4 * width() + 2 * kv()) + part]; }

  // What Forward leaves.
  Vector y, r, attention, means, block_k, block_v;
  Vector km, qm, act;  // unit keys and queries, squashed gates [n][3 * heads]
  Vector q_rot, k, v;  // rotated (unit with decay_linear), with offsets
  std::vector<typename Memory::State> states;  // [chunk][head] at its start
  typename Memory::State end_of_head(int h) const { return states[n() / chunk * heads + h]; }

  struct Grads {
    Vector in, gates;
    Params p;
  };

  void Rotate(const T* x, int position, T sign, T* out) const {
    for (int i = 0; i < d / 2; ++i) {
      const T angle = position * std::pow(T(10000), T(-2 * i) / d);
      const T c = std::cos(angle), s = std::sin(angle) * sign, low = x[i], high = x[i + d / 2];
      out[i] = low * c + high * s;
      out[i + d / 2] = high * c - low * s;
    }
  }

  void Forward() {
    const int w = width(), total = n();
    y = r = attention = km = qm = q_rot = Vector(total * w);
    k = v = Vector(total * kv());
    act = Vector(total * 3 * heads);
    for (int t = 0; t < total; ++t) Project(t);
    RunMemory();
    MakeBlocks();
    for (int t = 0; t < total; ++t) {
      for (int h = 0; h < heads; ++h) {
        if (decay_linear) continue;
        const auto keys = KeysOf(t, h);
        for (size_t j = 0; j < keys.size(); ++j) {
          for (int i = 0; i < d; ++i) attention[t * w + h * d + i] += keys[j].p * keys[j].v[i];
        }
      }
    }
    if (decay_linear) RunDecay(nullptr, nullptr);
    for (int at = 0; at < total * w; at += d) {
      Vector normed(d);
      NaiveRmsNorm(&r[at], p.head_norm.data(), d, normed.data());
      for (int i = 0; i < d; ++i) y[at + i] = attention[at + i] * 2 * NaiveSigmoid(normed[i]);
    }
  }

  // After Forward.
  Grads Backward(const Vector& dy) {
    Grads g = ZeroGrads();
    const int w = width(), total = n();
    Vector d_o(total * w), dr(total * w), dk(k.size()), dv(v.size());
    Vector d_block_k(block_k.size()), d_block_v(block_v.size());
    for (int at = 0; at < total * w; at += d) {
      Vector normed(d), dn(d);
      NaiveRmsNorm(&r[at], p.head_norm.data(), d, normed.data());
      for (int i = 0; i < d; ++i) {
        const T s = NaiveSigmoid(normed[i]);
        d_o[at + i] = dy[at + i] * 2 * s;
        dn[i] = dy[at + i] * attention[at + i] * 2 * s * (1 - s);
      }
      NaiveRmsNormBackward(&r[at], p.head_norm.data(), dn.data(), d, &dr[at], g.p.head_norm.data());
    }
    Vector dq_rot(total * w);
    if (decay_linear) {
      RunDecay(&d_o, &g, &dq_rot, &dk, &dv);
    } else {
      for (int t = 0; t < total; ++t) {
        for (int h = 0; h < heads; ++h) {
          AttentionBackward(t, h, &d_o[t * w + h * d], &dq_rot, &dk, &dv, &d_block_k, &d_block_v,
                            &g);
        }
      }
      BlocksBackward(d_block_k, d_block_v, &dr, &g);
    }
    MemoryBackward(dr, &g);
    for (int t = 0; t < total; ++t) ProjectBackward(t, dq_rot, dk, dv, &g);
    return g;
  }

 private:
  struct Key {
    const T *q, *k, *v;
    T p;
    int slot, block, token;  // the one that is not negative
  };

  int KvOf(int h) const { return h / (heads / kv_heads) * d; }

  Grads ZeroGrads() const {
    Grads g;
    const auto zero = [](const Vector& x) { return Vector(x.size()); };
    g.in = zero(in), g.gates = zero(gates);
    g.p = {zero(p.gate_bias), zero(p.w1),        zero(p.w2),   zero(p.slot_k),
           zero(p.slot_v),    zero(p.head_norm), zero(p.w_kv), zero(p.block_norm)};
    return g;
  }

  void Project(int t) {
    const int w = width();
    for (int h = 0; h < heads; ++h) {
      NaiveL2Norm(At(t, w + h * d), d, &km[t * w + h * d]);
      NaiveL2Norm(At(t, 3 * w + h * d), d, &qm[t * w + h * d]);
      if (decay_linear) {
        NaiveL2Norm(At(t, h * d), d, &q_rot[t * w + h * d]);
      } else {
        Rotate(At(t, h * d), t, 1, &q_rot[t * w + h * d]);
      }
    }
    for (int h = 0; h < kv_heads; ++h) {
      T* kt = &k[t * kv() + h * d];
      if (decay_linear) {
        NaiveL2Norm(At(t, 4 * w + h * d), d, kt);
      } else {
        Rotate(At(t, 4 * w + h * d), t, 1, kt);
      }
    }
    for (int i = 0; i < kv(); ++i) {
      v[t * kv() + i] = At(t, 4 * w + kv())[i];
      if (!k_offset.empty()) k[t * kv() + i] += k_offset[t * kv() + i];
      if (!v_offset.empty()) v[t * kv() + i] += v_offset[t * kv() + i];
    }
    for (int i = 0; i < 3 * heads; ++i) {
      const T s = NaiveSigmoid(gates[t * 3 * heads + i] + p.gate_bias[i]);
      act[t * 3 * heads + i] = i < 2 * heads ? s : s / 10;
    }
  }

  typename Memory::State First(int h) const {
    const Vector w1(&p.w1[h * d * d], &p.w1[h * d * d] + d * d);
    const Vector w2(&p.w2[h * d * d], &p.w2[h * d * d] + d * d);
    return {Transposed(w1, d, d), Transposed(w2, d, d), Vector(d * d), Vector(d * d)};
  }

  // The tokens of chunk c of head h, contiguous.
  struct Packed {
    Vector k, v, theta, eta, alpha;
    typename Memory::Tokens tokens() const {
      return {static_cast<int>(theta.size()),
              k.data(),
              v.data(),
              theta.data(),
              eta.data(),
              alpha.data()};
    }
  };
  Packed Pack(int c, int h) const {
    Packed out;
    for (int t = c * chunk; t < (c + 1) * chunk; ++t) {
      const T *kt = &km[t * width() + h * d], *vt = At(t, 2 * width() + h * d);
      out.k.insert(out.k.end(), kt, kt + d);
      out.v.insert(out.v.end(), vt, vt + d);
      out.theta.push_back(act[t * 3 * heads + h]);
      out.eta.push_back(act[t * 3 * heads + heads + h]);
      out.alpha.push_back(act[t * 3 * heads + 2 * heads + h]);
    }
    return out;
  }

  void RunMemory() {
    const Memory memory{d, d};
    const int full = n() / chunk;
    const bool fresh = guards.empty(), writes = !frozen && given.empty();
    states = given;
    if (given.empty()) states.assign((full + 1) * heads, memory.Zeros());
    if (fresh) guards.resize(full * heads);
    for (int h = 0; h < heads; ++h) {
      typename Memory::State m = First(h);
      for (int c = 0; c <= full; ++c) {
        if (given.empty()) states[c * heads + h] = m;
        for (int t = c * chunk; t < n() && t < (c + 1) * chunk; ++t) {
          memory.Read(states[c * heads + h], &qm[t * width() + h * d], &r[t * width() + h * d]);
        }
        if (c == full || !writes) continue;
        const Packed packed = Pack(c, h);
        auto& guard = guards[c * heads + h];
        if (fresh) guard = memory.GuardOf(m, packed.tokens(), momentum_guard);
        memory.Write(packed.tokens(), guard, &m);
      }
    }
  }

  void MemoryBackward(const Vector& dr, Grads* g) {
    const Memory memory{d, d};
    const int w = width(), in_width = 4 * w + 2 * kv();
    for (int h = 0; h < heads; ++h) {
      typename Memory::State bar = memory.Zeros();
      for (int c = n() / chunk; c >= 0; --c) {
        const auto& m = states[c * heads + h];
        if (c < n() / chunk && !frozen && given.empty()) {
          const Packed packed = Pack(c, h);
          const auto grads =
              memory.WriteBackward(m, packed.tokens(), guards[c * heads + h], first_order, &bar);
          for (int i = 0; i < chunk; ++i) {
            const int t = c * chunk + i, gate = t * 3 * heads + h;
            NaiveL2NormBackward(At(t, w + h * d), &grads.k[i * d], d,
                                &g->in[t * in_width + w + h * d]);
            std::copy_n(&grads.v[i * d], d, &g->in[t * in_width + 2 * w + h * d]);
            g->gates[gate] = grads.theta[i];
            g->gates[gate + heads] = grads.eta[i];
            g->gates[gate + 2 * heads] += grads.alpha[i];
          }
        }
        for (int t = c * chunk; t < n() && t < (c + 1) * chunk; ++t) {
          Vector dq(d);
          memory.ReadBackward(m, &qm[t * w + h * d], &dr[t * w + h * d], dq.data(), &bar);
          NaiveL2NormBackward(At(t, 3 * w + h * d), dq.data(), d,
                              &g->in[t * in_width + 3 * w + h * d]);
        }
      }
      if (!given.empty()) continue;
      const Vector w1 = Transposed(bar.w1, d, d), w2 = Transposed(bar.w2, d, d);
      std::copy(w1.begin(), w1.end(), &g->p.w1[h * d * d]);
      std::copy(w2.begin(), w2.end(), &g->p.w2[h * d * d]);
    }
  }

  int Blocks() const { return decay_linear || n() == 0 ? 0 : (n() - 1) / chunk; }

  void MakeBlocks() {
    const int w = width();
    means = Vector(Blocks() * w);
    block_k = block_v = Vector(Blocks() * kv());
    for (int b = 0; b < Blocks(); ++b) {
      for (int t = b * chunk; t < (b + 1) * chunk; ++t) {
        for (int i = 0; i < w; ++i) means[b * w + i] += r[t * w + i] / chunk;
      }
      Vector normed(w), raw(2 * kv());
      NaiveRmsNorm(&means[b * w], p.block_norm.data(), w, normed.data());
      for (int o = 0; o < 2 * kv(); ++o) {
        for (int i = 0; i < w; ++i) raw[o] += p.w_kv[o * w + i] * normed[i];
      }
      for (int h = 0; h < kv_heads; ++h) {
        Rotate(&raw[h * d], (b + 1) * chunk - 1, 1, &block_k[b * kv() + h * d]);
      }
      for (int i = 0; i < kv(); ++i) {
        block_v[b * kv() + i] = raw[kv() + i];
        if (!block_k_offset.empty()) block_k[b * kv() + i] += block_k_offset[b * kv() + i];
        if (!block_v_offset.empty()) block_v[b * kv() + i] += block_v_offset[b * kv() + i];
      }
    }
  }

  void BlocksBackward(const Vector& dk, const Vector& dv, Vector* dr, Grads* g) const {
    const int w = width();
    for (int b = 0; b < Blocks(); ++b) {
      Vector normed(w), raw(2 * kv()), dn(w), d_mean(w);
      NaiveRmsNorm(&means[b * w], p.block_norm.data(), w, normed.data());
      for (int h = 0; h < kv_heads; ++h) {
        Rotate(&dk[b * kv() + h * d], (b + 1) * chunk - 1, -1, &raw[h * d]);
      }
      std::copy_n(&dv[b * kv()], kv(), &raw[kv()]);
      for (int o = 0; o < 2 * kv(); ++o) {
        for (int i = 0; i < w; ++i) {
          g->p.w_kv[o * w + i] += raw[o] * normed[i];
          dn[i] += p.w_kv[o * w + i] * raw[o];
        }
      }
      NaiveRmsNormBackward(&means[b * w], p.block_norm.data(), dn.data(), w, d_mean.data(),
                           g->p.block_norm.data());
      for (int t = b * chunk; t < (b + 1) * chunk; ++t) {
        for (int i = 0; i < w; ++i) (*dr)[t * w + i] += d_mean[i] / chunk;
      }
    }
  }

  // Everything the query sees, with its probability.
  std::vector<Key> KeysOf(int t, int h) const {
    std::vector<Key> keys;
    const int at = KvOf(h);
    const T *q = At(t, h * d), *turned = &q_rot[t * width() + h * d];
    for (int j = 0; j < slots; ++j) {
      keys.push_back({q, &p.slot_k[j * kv() + at], &p.slot_v[j * kv() + at], 0, j, -1, -1});
    }
    for (int b = std::max(0, t / chunk - blocks); b < t / chunk; ++b) {
      keys.push_back({turned, &block_k[b * kv() + at], &block_v[b * kv() + at], 0, -1, b, -1});
    }
    for (int s = std::max(0, t - window + 1); s <= t; ++s) {
      keys.push_back({turned, &k[s * kv() + at], &v[s * kv() + at], 0, -1, -1, s});
    }
    T top = -1e30, total = 0;
    for (Key& key : keys) {
      for (int i = 0; i < d; ++i) key.p += key.q[i] * key.k[i] / std::sqrt(T(d));
      top = std::max(top, key.p);
    }
    for (Key& key : keys) total += key.p = std::exp(key.p - top);
    for (Key& key : keys) key.p /= total;
    return keys;
  }

  void AttentionBackward(int t, int h, const T* d_o, Vector* dq_rot, Vector* dk, Vector* dv,
                         Vector* d_block_k, Vector* d_block_v, Grads* g) const {
    const auto keys = KeysOf(t, h);
    const int at = KvOf(h), w = width();
    Vector dp(keys.size());
    T mean = 0;
    for (size_t j = 0; j < keys.size(); ++j) {
      for (int i = 0; i < d; ++i) dp[j] += d_o[i] * keys[j].v[i];
      mean += keys[j].p * dp[j];
    }
    for (size_t j = 0; j < keys.size(); ++j) {
      const Key& key = keys[j];
      const T ds = key.p * (dp[j] - mean) / std::sqrt(T(d));
      T* dq = key.slot >= 0 ? &g->in[t * (4 * w + 2 * kv()) + h * d] : &(*dq_rot)[t * w + h * d];
      T* key_grad = key.slot >= 0    ? &g->p.slot_k[key.slot * kv() + at]
                    : key.block >= 0 ? &(*d_block_k)[key.block * kv() + at]
                                     : &(*dk)[key.token * kv() + at];
      T* value_grad = key.slot >= 0    ? &g->p.slot_v[key.slot * kv() + at]
                      : key.block >= 0 ? &(*d_block_v)[key.block * kv() + at]
                                       : &(*dv)[key.token * kv() + at];
      for (int i = 0; i < d; ++i) {
        dq[i] += ds * key.k[i];
        key_grad[i] += ds * key.q[i];
        value_grad[i] += key.p * d_o[i];
      }
    }
  }

  // S = (1 - alpha) S + k v^T, o = d^-1/2 S^T q; with d_o the gradients as well.
  void RunDecay(const Vector* d_o, Grads* g, Vector* dq = nullptr, Vector* dk = nullptr,
                Vector* dv = nullptr) {
    const T scale = 1 / std::sqrt(T(d));
    const int w = width();
    for (int h = 0; h < heads; ++h) {
      const int at = KvOf(h);
      std::vector<Vector> s(n() + 1, Vector(d * d));
      for (int j = 0; j < slots; ++j)
        AddOuterAt(&p.slot_k[j * kv() + at], &p.slot_v[j * kv() + at], &s[0]);
      for (int t = 0; t < n(); ++t) {
        for (int i = 0; i < d * d; ++i) s[t + 1][i] = Keep(t, h) * s[t][i];
        AddOuterAt(&k[t * kv() + at], &v[t * kv() + at], &s[t + 1]);
        if (d_o != nullptr) continue;
        for (int i = 0; i < d * d; ++i) {
          attention[t * w + h * d + i % d] += scale * s[t + 1][i] * q_rot[t * w + h * d + i / d];
        }
      }
      if (d_o == nullptr) continue;
      Vector bar(d * d);
      for (int t = n() - 1; t >= 0; --t) {
        T keep_bar = 0;
        for (int i = 0; i < d * d; ++i) {
          const int row = i / d, col = i % d;
          const T out = (*d_o)[t * w + h * d + col];
          bar[i] += scale * q_rot[t * w + h * d + row] * out;
          (*dq)[t * w + h * d + row] += scale * s[t + 1][i] * out;
          (*dk)[t * kv() + at + row] += bar[i] * v[t * kv() + at + col];
          (*dv)[t * kv() + at + col] += bar[i] * k[t * kv() + at + row];
          keep_bar += bar[i] * s[t][i];
          bar[i] *= Keep(t, h);
        }
        g->gates[t * 3 * heads + 2 * heads + h] -= keep_bar;  // of alpha, before its slope
      }
      for (int j = 0; j < slots; ++j) {
        for (int i = 0; i < d * d; ++i) {
          g->p.slot_k[j * kv() + at + i / d] += bar[i] * p.slot_v[j * kv() + at + i % d];
          g->p.slot_v[j * kv() + at + i % d] += bar[i] * p.slot_k[j * kv() + at + i / d];
        }
      }
    }
  }
  T Keep(int t, int h) const { return 1 - act[t * 3 * heads + 2 * heads + h]; }
  void AddOuterAt(const T* x, const T* y, Vector* s) const {
    for (int i = 0; i < d * d; ++i) (*s)[i] += x[i / d] * y[i % d];
  }

  void ProjectBackward(int t, const Vector& dq_rot, const Vector& dk, const Vector& dv,
                       Grads* g) const {
    const int w = width();
    T* out = &g->in[t * (4 * w + 2 * kv())];
    Vector turned(d);
    for (int h = 0; h < heads; ++h) {
      if (decay_linear) {
        NaiveL2NormBackward(At(t, h * d), &dq_rot[t * w + h * d], d, turned.data());
      } else {
        Rotate(&dq_rot[t * w + h * d], t, -1, turned.data());
      }
      for (int i = 0; i < d; ++i) out[h * d + i] += turned[i];
    }
    for (int h = 0; h < kv_heads; ++h) {
      if (decay_linear) {
        NaiveL2NormBackward(At(t, 4 * w + h * d), &dk[t * kv() + h * d], d, out + 4 * w + h * d);
      } else {
        Rotate(&dk[t * kv() + h * d], t, -1, out + 4 * w + h * d);
      }
    }
    std::copy_n(&dv[t * kv()], kv(), out + 4 * w + kv());
    for (int i = 0; i < 3 * heads; ++i) {
      const T a = act[t * 3 * heads + i];
      T& gate = g->gates[t * 3 * heads + i];
      gate *= i < 2 * heads ? a * (1 - a) : a * (1 - 10 * a);
      g->p.gate_bias[i] += gate;
    }
  }
};

}  // namespace chimera
