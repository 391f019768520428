// The obvious twin of a TM layer of the network, for tests: documents of one sequence through
// layers/titans_layer_naive.h. What the backward holds constant is computed once, at the values
// where gradients are taken, and given to every later run: guards of the writes, the rounding of
// keys and values, and the memory that later iterations of a loop read.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "layers/titans_layer_naive.h"
#include "model/layer_shapes.h"
#include "model/tensors_naive.h"

namespace chimera {

template <typename T>
struct NaiveTitansConstants {  // of one document
  using Memory = NaiveTitansMemory<T>;
  std::vector<typename Memory::Guard> guards;
  std::vector<typename Memory::State> states;
  std::vector<T> k, v, block_k, block_v;  // rounded minus exact
};

template <typename T>
class NaiveTitansMixer {
 public:
  using Vector = std::vector<T>;
  using Constants = std::vector<NaiveTitansConstants<T>>;  // of each document

  NaiveTitansMixer(const NaiveTensors<T>& tensors, int l)
      : shape_(TitansShapeOf(tensors.config())), params_{tensors.Copy(l, "tm.gate_bias"),
                                                         tensors.Copy(l, "tm.w1"),
                                                         tensors.Copy(l, "tm.w2"),
                                                         tensors.Copy(l, "tm.persistent_k"),
                                                         tensors.Copy(l, "tm.persistent_v"),
                                                         tensors.Copy(l, "tm.head_norm"),
                                                         tensors.Copy(l, "tm.w_in"),
                                                         tensors.Copy(l, "tm.block_norm")} {
    Vector& w = params_.w_kv;  // the rows of the window's keys and values
    w.erase(w.begin(), w.end() - 2 * shape_.kv_width() * shape_.width());
  }

  // proj [n][in_width], gates [n][3 * heads] -> y [n][width]. first: constants of the iteration
  // whose memory is read; null when this is it. fix: computes the constants.
  Vector Run(const Vector& proj, const Vector& gates, const std::vector<uint8_t>& reset,
             const Constants* first, bool fix, Constants* constants) const {
    if (fix) constants->clear();
    Vector y;
    size_t document = 0;
    for (size_t begin = 0; begin < reset.size(); ++document) {
      size_t end = begin + 1;
      while (end < reset.size() && reset[end] == 0) ++end;
      NaiveTitansLayer<T> layer = Layer();
      layer.in = Rows(proj, reset.size(), begin, end);
      layer.gates = Rows(gates, reset.size(), begin, end);
      if (first != nullptr) layer.given = (*first)[document].states;
      if (fix) constants->push_back(Fix(layer));
      Adopt((*constants)[document], &layer);
      layer.Forward();
      y.insert(y.end(), layer.y.begin(), layer.y.end());
      begin = end;
    }
    return y;
  }

 private:
  NaiveTitansLayer<T> Layer() const {
    NaiveTitansLayer<T> layer;
    layer.heads = shape_.n_heads, layer.kv_heads = shape_.kv_heads, layer.d = kHeadDim;
    layer.slots = shape_.persistent_slots, layer.window = shape_.window_len;
    layer.chunk = kTitansChunk, layer.blocks = kTitansBlocks;
    layer.decay_linear = shape_.decay_linear, layer.momentum_guard = shape_.momentum_guard;
    layer.p = params_;
    return layer;
  }

  static Vector Rows(const Vector& x, size_t n, size_t begin, size_t end) {
    const size_t width = x.size() / n;
    return {x.begin() + long(begin * width), x.begin() + long(end * width)};
  }

  // int8 with one scale per 64, minus the exact value.
  static Vector Rounding(const Vector& x) {
    Vector offset(x.size());
    for (size_t at = 0; at < x.size(); at += kHeadDim) {
      T top = 0;
      for (size_t i = at; i < at + kHeadDim; ++i) top = std::max(top, std::abs(x[i]));
      const T step = std::max(top / 127, T(1e-8));
      for (size_t i = at; i < at + kHeadDim; ++i) {
        offset[i] = step * std::nearbyint(x[i] / step) - x[i];
      }
    }
    return offset;
  }

  NaiveTitansConstants<T> Fix(NaiveTitansLayer<T> layer) const {
    layer.Forward();
    NaiveTitansConstants<T> fixed{layer.guards, layer.states, {}, {}, {}, {}};
    if (layer.decay_linear) return fixed;  // keeps its keys and values in floats
    fixed.k = Rounding(layer.k), fixed.v = Rounding(layer.v);
    fixed.block_k = Rounding(layer.block_k), fixed.block_v = Rounding(layer.block_v);
    return fixed;
  }

  static void Adopt(const NaiveTitansConstants<T>& fixed, NaiveTitansLayer<T>* layer) {
    layer->guards = fixed.guards;
    layer->k_offset = fixed.k, layer->v_offset = fixed.v;
    layer->block_k_offset = fixed.block_k, layer->block_v_offset = fixed.block_v;
  }

  TitansShape shape_;
  typename NaiveTitansLayer<T>::Params params_;
};

}  // namespace chimera
