// The obvious twin of the whole network, for tests: one sequence from a fresh state, plain loops,
// T = double, quantization off. Where training holds something constant, so does the twin: it takes
// the value it had before any parameter moved. That goes for the loop (math-backbone 4.3: only the
// last half of a token's iterations send a gradient) and inside the layers (layers_naive.h), and
// makes its differences what the tape must give.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "layers/loop_naive.h"
#include "model/layers_naive.h"

namespace chimera {

struct NaiveText {
  std::vector<int32_t> tokens, targets;
  std::vector<uint8_t> reset;
  std::vector<uint8_t> loops;            // iterations of each token; empty: the default
  const SketchFields* fields = nullptr;  // of SK layers; null: none
};

template <typename T>
class NaiveNetwork {
 public:
  // text must outlive this.
  NaiveNetwork(const ModelConfig& config, const Parameters& parameters, const NaiveText& text)
      : c_(config),
        text_(text),
        values_(parameters.values().begin(), parameters.values().end()),
        live_(c_, parameters, values_, text.fields, false, &constants_) {
    Body(NaiveLayers<T>(c_, parameters, values_, text.fields, true, &constants_));
  }

  // What the differences move.
  std::vector<T>& values() { return values_; }

  // Mean nats. moved: the parameters that moved are of this layer or behind it, and of nothing
  // else; -1: they may be any.
  T Loss(int moved = -1) {
    const std::vector<T> x = Body(live_, moved);
    const std::vector<T> logits =
        live_.Linear(live_.Norm(x, "final_norm", c_.d_model), "embedding");
    T sum = 0;
    for (size_t t = 0; t < text_.tokens.size(); ++t) {
      const T* row = logits.data() + t * size_t(c_.vocab_size);
      T total = 0;
      for (int v = 0; v < c_.vocab_size; ++v) total += std::exp(row[v]);
      sum += std::log(total) - row[text_.targets[t]];
    }
    return sum / static_cast<T>(text_.tokens.size());
  }

 private:
  // With layers that fix the constants this fixes those of the loop, and what each layer outside of
  // it is given.
  std::vector<T> Body(const NaiveLayers<T>& at, int moved = -1) {
    NaiveRows all{text_.reset, {}, 0};
    for (size_t t = 0; t < text_.tokens.size(); ++t) all.rows.push_back(t);
    const int from = std::max(0, c_.loop.Contains(moved) ? c_.loop.first_layer : moved);
    std::vector<T> x = from > 0 ? fixed_x_[size_t(from)] : Embed(at);
    for (int l = from; l < c_.n_layers; ++l) {
      if (at.fixes()) fixed_x_.push_back(x);
      if (!c_.loop.Contains(l)) {
        x = at.Run(l, x, all);
      } else if (l == c_.loop.first_layer) {
        x = Loop(at, at.Norm(x, "loop.norm", c_.d_model));
      }
    }
    if (at.fixes()) fixed_x_.push_back(x);
    return x;
  }

  std::vector<T> Embed(const NaiveLayers<T>& at) const {
    std::vector<T> x;
    for (int32_t token : text_.tokens) {
      const T* row = at.At("embedding") + int64_t{token} * c_.d_model;
      x.insert(x.end(), row, row + c_.d_model);
    }
    return x;
  }

  // u = Abar h + Bbar e for one token.
  void Inject(const NaiveLayers<T>& at, const T* h, const T* e, std::vector<T>* u) const {
    for (int i = 0; i < c_.d_model; ++i) {
      T a, b;
      NaiveLoopGains(at.At("loop.a_log")[i], at.At("loop.dt_bias")[i], at.At("loop.b")[i], &a, &b);
      u->push_back(a * h[i] + b * e[i]);
    }
  }

  int LoopsOf(size_t t) const {
    return text_.loops.empty() ? c_.loop.loops_default : text_.loops[t];
  }
  // A gradient passes through this iteration of token t.
  bool Sends(size_t t, int iteration) const {
    return iteration > LoopsOf(t) / 2 && iteration <= LoopsOf(t);
  }

  // The tokens of an iteration, from 1.
  NaiveRows RowsOf(int iteration) const {
    NaiveRows rows{{}, {}, iteration - 1};
    bool pending = false;
    for (size_t t = 0; t < text_.reset.size(); ++t) {
      pending = pending || text_.reset[t] != 0;
      if (LoopsOf(t) < iteration) continue;
      rows.rows.push_back(t);
      rows.reset.push_back(pending ? 1 : 0);
      pending = false;
    }
    return rows;
  }

  std::vector<T> Loop(const NaiveLayers<T>& at, const std::vector<T>& e) {
    const size_t n = text_.tokens.size(), d = size_t(c_.d_model);
    std::vector<T> h(n * d);
    if (at.fixes()) fixed_h_ = {h};
    for (int iteration = 1; iteration <= c_.loop.loops_max; ++iteration) {
      const NaiveRows rows = RowsOf(iteration);
      const bool matters = std::any_of(rows.rows.begin(), rows.rows.end(),
                                       [&](size_t t) { return Sends(t, iteration); });
      if (!at.fixes() && !matters) continue;
      std::vector<T> u;
      for (size_t t : rows.rows) {
        const bool sends = at.fixes() || Sends(t, iteration - 1);
        Inject(at, (sends ? h : fixed_h_[size_t(iteration - 1)]).data() + t * d, e.data() + t * d,
               &u);
      }
      if (rows.rows.empty()) break;
      for (int l = c_.loop.first_layer; l <= c_.loop.last_layer; ++l) u = at.Run(l, u, rows);
      for (size_t i = 0; i < rows.rows.size(); ++i) {
        std::copy_n(u.begin() + long(i * d), d, h.begin() + long(rows.rows[i] * d));
      }
      if (at.fixes()) fixed_h_.push_back(h);
    }
    return h;
  }

  const ModelConfig c_;
  const NaiveText& text_;
  std::vector<T> values_;
  NaiveConstants<T> constants_;
  std::vector<std::vector<T>> fixed_x_;  // before each layer, and behind the last
  std::vector<std::vector<T>> fixed_h_;  // after each iteration, from 0
  NaiveLayers<T> live_;
};

}  // namespace chimera
