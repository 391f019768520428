// The obvious twin of moe.h and moe_op.h, for tests: every expert for every token, plain loops,
// T = float or double.
#pragma once

#include <cmath>
#include <vector>

#include "layers/rms_norm_naive.h"
#include "layers/swiglu_naive.h"

namespace chimera {

template <typename T>
struct NaiveMoe {
  using Vector = std::vector<T>;
  int n_experts, d_model, d_expert;
  T scale = 1;
  Vector router;            // [n_experts][d_model]
  Vector bias;              // [n_experts]
  Vector w_in;              // [n_experts][2 * d_expert][d_model], gate rows first
  Vector gain;              // [n_experts][d_expert]
  Vector w_out;             // [n_experts][d_model][d_expert]
  std::vector<int> picked;  // fixed selection [tokens][2], or empty: by score
  // What a quantiser does to the input of a product; straight-through backwards. Null: nothing.
  Vector (*round)(const Vector& x) = nullptr;

  struct Grads {
    Vector x, router, w_in, gain, w_out;
  };

  Vector Rounded(const Vector& x) const { return round == nullptr ? x : round(x); }

  Vector Scores(const T* x) const {
    Vector s(n_experts);
    for (int e = 0; e < n_experts; ++e) {
      T logit = 0;
      for (int c = 0; c < d_model; ++c) logit += router[e * d_model + c] * x[c];
      s[e] = NaiveSigmoid(logit);
    }
    return s;
  }

  // [n_experts]: w of the picks, zero elsewhere.
  Vector Weights(const Vector& s, int token) const {
    std::vector<int> pick;
    if (!picked.empty()) pick = {picked[2 * token], picked[2 * token + 1]};
    while (pick.size() < 2) {
      int best = -1;
      for (int e = 0; e < n_experts; ++e) {
        const bool taken = !pick.empty() && pick[0] == e;
        if (!taken && (best < 0 || s[e] + bias[e] > s[best] + bias[best])) best = e;
      }
      pick.push_back(best);
    }
    Vector w(n_experts);
    for (const int e : pick) w[e] = scale * s[e] / (s[pick[0]] + s[pick[1]] + T(1e-20));
    return w;
  }

  struct Expert {
    Vector x, h, act, normed, out;
  };

  Expert Run(int e, const T* x) const {
    Expert r{Rounded(Vector(x, x + d_model)), Vector(2 * d_expert), Vector(d_expert),
             Vector(d_expert), Vector(d_model)};
    const T* in = &w_in[static_cast<size_t>(e) * 2 * d_expert * d_model];
    for (int i = 0; i < 2 * d_expert; ++i) {
      for (int c = 0; c < d_model; ++c) r.h[i] += in[i * d_model + c] * r.x[c];
    }
    NaiveSwiglu(&r.h[0], &r.h[d_expert], d_expert, r.act.data());
    NaiveRmsNorm(r.act.data(), &gain[e * d_expert], d_expert, r.normed.data());
    r.normed = Rounded(r.normed);
    const T* down = &w_out[static_cast<size_t>(e) * d_model * d_expert];
    for (int c = 0; c < d_model; ++c) {
      for (int i = 0; i < d_expert; ++i) r.out[c] += down[c * d_expert + i] * r.normed[i];
    }
    return r;
  }

  // y [tokens][d_model] without the shared expert.
  Vector Forward(const Vector& x) const {
    Vector y(x.size());
    for (int t = 0; t < static_cast<int>(x.size()) / d_model; ++t) {
      const Vector w = Weights(Scores(&x[t * d_model]), t);
      for (int e = 0; e < n_experts; ++e) {
        const Vector out = Run(e, &x[t * d_model]).out;
        for (int c = 0; c < d_model; ++c) y[t * d_model + c] += w[e] * out[c];
      }
    }
    return y;
  }

  // From the gradients of the two weights to those of the logits [n_experts], zeroed by the caller.
  void LogitGrads(const Vector& s, const int* pick, const T* dw, T* dl) const {
    const T z = s[pick[0]] + s[pick[1]] + T(1e-20);
    const T along = dw[0] * s[pick[0]] + dw[1] * s[pick[1]];
    for (int k = 0; k < 2; ++k) {
      const T si = s[pick[k]];
      dl[pick[k]] = scale * (dw[k] / z - along / (z * z)) * si * (1 - si);
    }
  }

  // Gradients of <y, dy> with the selection held (6.2).
  Grads Backward(const Vector& x, const Vector& dy) const {
    Grads g{Vector(x.size()), Vector(router.size()), Vector(w_in.size()), Vector(gain.size()),
            Vector(w_out.size())};
    for (int t = 0; t < static_cast<int>(x.size()) / d_model; ++t) {
      const T* xt = &x[t * d_model];
      const Vector s = Scores(xt), w = Weights(s, t);
      int pick[2] = {};
      T dw[2] = {};
      for (int e = 0, k = 0; e < n_experts; ++e) {
        if (w[e] == 0) continue;
        pick[k] = e;
        dw[k++] = BackwardExpert(e, xt, w[e], &dy[t * d_model], &g.x[t * d_model], &g);
      }
      Vector dl(n_experts);
      LogitGrads(s, pick, dw, dl.data());
      for (int e = 0; e < n_experts; ++e) {
        for (int c = 0; c < d_model; ++c) {
          g.router[e * d_model + c] += dl[e] * xt[c];
          g.x[t * d_model + c] += dl[e] * router[e * d_model + c];
        }
      }
    }
    return g;
  }

 private:
  // Returns dw = <dy, E(x)>.
  T BackwardExpert(int e, const T* x, T weight, const T* dy, T* dx, Grads* g) const {
    const Expert r = Run(e, x);
    const size_t in = static_cast<size_t>(e) * 2 * d_expert * d_model;
    const size_t down = static_cast<size_t>(e) * d_model * d_expert;
    Vector d_normed(d_expert), d_act(d_expert), dh(2 * d_expert);
    T dw = 0;
    for (int c = 0; c < d_model; ++c) {
      dw += dy[c] * r.out[c];
      for (int i = 0; i < d_expert; ++i) {
        d_normed[i] += weight * dy[c] * w_out[down + c * d_expert + i];
        g->w_out[down + c * d_expert + i] += weight * dy[c] * r.normed[i];
      }
    }
    NaiveRmsNormBackward(r.act.data(), &gain[e * d_expert], d_normed.data(), d_expert, d_act.data(),
                         &g->gain[e * d_expert]);
    NaiveSwigluBackward(&r.h[0], &r.h[d_expert], d_act.data(), d_expert, &dh[0], &dh[d_expert]);
    for (int i = 0; i < 2 * d_expert; ++i) {
      for (int c = 0; c < d_model; ++c) {
        dx[c] += dh[i] * w_in[in + i * d_model + c];
        g->w_in[in + i * d_model + c] += dh[i] * r.x[c];
      }
    }
    return dw;
  }
};

}  // namespace chimera
