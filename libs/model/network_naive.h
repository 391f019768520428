// The obvious twin of the whole network, for tests: one sequence from a fresh state, plain loops,
// T = double, quantization off. Where training cuts the gradient (math-backbone 4.3: only the last
// half of a token's iterations send one), the twin takes the value of a frozen copy of the
// parameters, so that its differences are what the tape must give.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "layers/loop_naive.h"
#include "model/layers_naive.h"

namespace chimera {

template <typename T>
class NaiveNetwork {
 public:
  NaiveNetwork(const ModelConfig& config, const Parameters& parameters)
      : c_(config),
        values_(parameters.values().begin(), parameters.values().end()),
        start_(values_),
        live_(c_, parameters, values_),
        frozen_(c_, parameters, start_) {}

  // What the differences move.
  std::vector<T>& values() { return values_; }

  // Mean nats of one sequence. loops: iterations of each token; empty without a loop.
  T Loss(const std::vector<int32_t>& tokens, const std::vector<int32_t>& targets,
         const std::vector<uint8_t>& reset, const std::vector<uint8_t>& loops = {}) const {
    std::vector<T> x = Embed(live_, tokens);
    if (c_.loop.enabled) {
      std::vector<T> f = Embed(frozen_, tokens);
      for (int l = 0; l < c_.loop.first_layer; ++l) {
        x = live_.Run(l, x, reset);
        f = frozen_.Run(l, f, reset);
      }
      x = Loop(live_.Norm(x, "loop.norm", c_.d_model), frozen_.Norm(f, "loop.norm", c_.d_model),
               reset, loops);
      for (int l = c_.loop.last_layer + 1; l < c_.n_layers; ++l) x = live_.Run(l, x, reset);
    } else {
      for (int l = 0; l < c_.n_layers; ++l) x = live_.Run(l, x, reset);
    }
    const std::vector<T> logits =
        live_.Linear(live_.Norm(x, "final_norm", c_.d_model), "embedding");
    T sum = 0;
    for (size_t t = 0; t < tokens.size(); ++t) {
      const T* row = logits.data() + t * size_t(c_.vocab_size);
      T total = 0;
      for (int v = 0; v < c_.vocab_size; ++v) total += std::exp(row[v]);
      sum += std::log(total) - row[targets[t]];
    }
    return sum / static_cast<T>(tokens.size());
  }

 private:
  std::vector<T> Embed(const NaiveLayers<T>& at, const std::vector<int32_t>& tokens) const {
    std::vector<T> x;
    for (int32_t token : tokens) {
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

  std::vector<T> Layers(const NaiveLayers<T>& at, std::vector<T> x,
                        const std::vector<uint8_t>& reset) const {
    for (int l = c_.loop.first_layer; l <= c_.loop.last_layer; ++l) x = at.Run(l, x, reset);
    return x;
  }

  std::vector<T> Loop(const std::vector<T>& e, const std::vector<T>& e_frozen,
                      const std::vector<uint8_t>& reset, const std::vector<uint8_t>& loops) const {
    const size_t n = reset.size(), d = size_t(c_.d_model);
    std::vector<T> h(n * d), h_frozen(n * d);
    for (int iteration = 1; iteration <= c_.loop.loops_max; ++iteration) {
      std::vector<size_t> rows;
      std::vector<uint8_t> resets;
      std::vector<T> u, u_frozen;
      bool pending = false;
      for (size_t t = 0; t < n; ++t) {
        pending = pending || reset[t] != 0;
        if (loops[t] < iteration) continue;
        rows.push_back(t);
        resets.push_back(pending ? 1 : 0);
        pending = false;
        const bool sends = iteration - 1 > loops[t] / 2;
        Inject(live_, (sends ? h : h_frozen).data() + t * d, e.data() + t * d, &u);
        Inject(frozen_, h_frozen.data() + t * d, e_frozen.data() + t * d, &u_frozen);
      }
      if (rows.empty()) break;
      const std::vector<T> out = Layers(live_, u, resets),
                           fixed = Layers(frozen_, u_frozen, resets);
      for (size_t i = 0; i < rows.size(); ++i) {
        std::copy_n(out.begin() + long(i * d), d, h.begin() + long(rows[i] * d));
        std::copy_n(fixed.begin() + long(i * d), d, h_frozen.begin() + long(rows[i] * d));
      }
    }
    return h;
  }

  const ModelConfig c_;
  std::vector<T> values_;
  const std::vector<T> start_;
  NaiveLayers<T> live_, frozen_;
};

}  // namespace chimera
