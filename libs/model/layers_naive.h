// The obvious twin of one layer of the network, for tests: one sequence, plain loops, T = double,
// straight from math-backbone 0.1, 1.1, 2.1, 3.2, 6.1 and 7 with quantization off. What backwards
// hold constant comes from a twin at the values where gradients are taken.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "layers/efla_naive.h"
#include "layers/gated_delta_naive.h"
#include "layers/mlstm_naive.h"
#include "layers/moe_naive.h"
#include "layers/short_conv_naive.h"
#include "layers/swiglu_naive.h"
#include "model/layer_shapes.h"
#include "model/span_knot_mixer_naive.h"
#include "model/titans_mixer_naive.h"

namespace chimera {

// By layer and iteration.
template <typename T>
struct NaiveConstants {
  using Key = std::pair<int, int>;
  std::map<Key, typename NaiveTitansMixer<T>::Constants> titans;
  std::map<Key, std::vector<NaiveSketchConstants<T>>> sketches;
};

template <typename T>
class NaiveLayers : public NaiveTensors<T> {
 public:
  using NaiveTensors<T>::Add;
  using NaiveTensors<T>::At;
  using NaiveTensors<T>::Columns;
  using NaiveTensors<T>::Copy;
  using NaiveTensors<T>::Linear;
  using NaiveTensors<T>::Norm;

  // values: laid out as the parameters. fixes: leaves the constants, which others use. fields: of
  // the sequence, or null. All must outlive this.
  NaiveLayers(const ModelConfig& config, const Parameters& parameters, const std::vector<T>& values,
              const SketchFields* fields, bool fixes, NaiveConstants<T>* constants)
      : NaiveTensors<T>(config, parameters, values),
        c_(config),
        fields_(fields),
        fixes_(fixes),
        constants_(constants) {
    const std::optional<SpanKnot> knot = MakeSpanKnot(config);
    if (knot.has_value()) knot_ = NaiveOf<T>(*knot);
  }

  bool fixes() const { return fixes_; }

  // x [n][d_model] through layer l, from a fresh state.
  std::vector<T> Run(int l, std::vector<T> x, const NaiveRows& rows) const {
    const int d = c_.d_model;
    Add(Mixer(l, Norm(x, LayerTensor(l, "mixer_norm"), d), rows), &x);
    const std::vector<T> ffn = Norm(x, LayerTensor(l, "ffn_norm"), d);
    if (c_.ffn[size_t(l)] == FfnKind::kDense) {
      Add(SwigluFfn(ffn, l, "ffn.w_in", "ffn.out_norm", "ffn.w_out"), &x);
      return x;
    }
    Add(SwigluFfn(ffn, l, "moe.shared_in", "moe.shared_norm", "moe.shared_out"), &x);
    Add(Experts(l, ffn), &x);
    return x;
  }

 private:
  std::vector<T> Mixer(int l, const std::vector<T>& in, const NaiveRows& rows) const {
    std::vector<T> y;
    const char *norm = "gd.out_norm", *out = "gd.w_out";
    switch (c_.layers[size_t(l)]) {
      case LayerKind::kGatedDelta:
        y = GatedDeltaLayer(l, in, rows.n(), rows.reset);
        break;
      case LayerKind::kMlstm:
        y = MlstmLayer(l, in, rows.n(), rows.reset);
        norm = "xm.out_norm", out = "xm.w_out";
        break;
      case LayerKind::kTitans:
        y = TitansLayer(l, in, rows);
        norm = "tm.out_norm", out = "tm.w_out";
        break;
      case LayerKind::kSpanKnot:
        y = GatedDeltaLayer(l, in, rows.n(), rows.reset);
        Add(NaiveSketchBranch(*this, l, knot_, in, rows, fields_, fixes_,
                              &constants_->sketches[{l, rows.iteration}]),
            &y);
        break;
    }
    return Linear(Norm(y, LayerTensor(l, norm), this->width()), LayerTensor(l, out));
  }

  // A loop with a TM layer runs every token equally often. As soon as that is more than once the
  // first iteration is off the tape: what the others read of it is constant.
  std::vector<T> TitansLayer(int l, const std::vector<T>& in, const NaiveRows& rows) const {
    return NaiveTitansMixer<T>(*this, l).Run(
        Linear(in, LayerTensor(l, "tm.w_in")), Linear(in, LayerTensor(l, "tm.w_gates")), rows.reset,
        rows.iteration > 0 ? &constants_->titans[{l, 0}] : nullptr, fixes_,
        &constants_->titans[{l, rows.iteration}]);
  }

  std::vector<T> SwigluFfn(const std::vector<T>& in, int l, const char* w_in, const char* norm,
                           const char* w_out) const {
    const std::vector<T> both = Linear(in, LayerTensor(l, w_in));
    const int d_ff = this->Cols(l, w_out);
    std::vector<T> hidden(both.size() / 2);
    for (size_t t = 0; t < hidden.size() / size_t(d_ff); ++t) {
      const T* row = both.data() + t * 2 * size_t(d_ff);
      NaiveSwiglu(row, row + d_ff, d_ff, hidden.data() + t * size_t(d_ff));
    }
    return Linear(Norm(hidden, LayerTensor(l, norm), d_ff), LayerTensor(l, w_out));
  }

  std::vector<T> Experts(int l, const std::vector<T>& in) const {
    NaiveMoe<T> moe{c_.moe.n_routed, c_.d_model, c_.moe.d_expert};
    moe.router = Copy(l, "moe.router");
    moe.bias = Copy(l, "moe.bias");
    moe.w_in = Copy(l, "moe.w_in");
    moe.gain = Copy(l, "moe.out_norm");
    moe.w_out = Copy(l, "moe.w_out");
    return moe.Forward(in);
  }

  std::vector<T> GatedDeltaLayer(int l, const std::vector<T>& in, int n,
                                 const std::vector<uint8_t>& reset) const {
    const int width = this->width(), heads = c_.n_heads;
    const std::vector<T> proj = Linear(in, LayerTensor(l, "gd.w_in"));
    const std::vector<T> gates = Linear(in, LayerTensor(l, "gd.w_gates"));
    const std::vector<T> qkv = Columns(proj, 4 * width, 0, 3 * width);
    const std::vector<T> gate = Columns(proj, 4 * width, 3 * width, width);
    std::vector<T> conv(qkv.size()), start(size_t(3 * 3 * width));
    NaiveShortConv(qkv.data(), At(LayerTensor(l, "gd.conv")), start.data(), reset.data(), n,
                   3 * width, conv.data());
    const bool efla = DeltaRuleOf(c_, c_.layers[size_t(l)]) == DeltaRule::kEfla;
    std::vector<T> y(size_t(n * width));
    for (int h = 0; h < heads; ++h) {
      std::vector<T> q = Columns(conv, 3 * width, 64 * h, 64);
      std::vector<T> k = Columns(conv, 3 * width, width + 64 * h, 64);
      const std::vector<T> v = Columns(conv, 3 * width, 2 * width + 64 * h, 64);
      std::vector<T> g(size_t(n), 0), beta(size_t(n), 0), o(size_t(n * 64)), state(4096);
      for (int t = 0; t < n; ++t) {
        NaiveL2Norm(q.data() + 64 * t, 64, q.data() + 64 * t);
        const T b = gates[size_t(t * 2 * heads + heads + h)];
        if (efla) {  // keys as they are, no decay
          beta[size_t(t)] = NaiveEflaGate(b, k.data() + 64 * t, 64);
          continue;
        }
        NaiveL2Norm(k.data() + 64 * t, 64, k.data() + 64 * t);
        NaiveGate(gates[size_t(t * 2 * heads + h)], b, At(l, "gd.a_log")[h], At(l, "gd.dt_bias")[h],
                  &g[size_t(t)], &beta[size_t(t)]);
      }
      NaiveGatedDelta<T> rule{n,        64,       q.data(),    k.data(),
                              v.data(), g.data(), beta.data(), reset.data()};
      rule.Forward(state.data(), o.data());
      for (int t = 0; t < n; ++t) {
        NaiveGatedNorm(o.data() + 64 * t, gate.data() + t * width + 64 * h,
                       At(LayerTensor(l, "gd.head_norm")), 64, y.data() + t * width + 64 * h);
      }
    }
    return y;
  }

  std::vector<T> MlstmLayer(int l, const std::vector<T>& in, int n,
                            const std::vector<uint8_t>& reset) const {
    const int width = this->width(), heads = c_.n_heads;
    const std::vector<T> proj = Linear(in, LayerTensor(l, "xm.w_in"));
    const std::vector<T> gates = Linear(in, LayerTensor(l, "xm.w_gates"));
    const T* bias = At(LayerTensor(l, "xm.gate_bias"));
    const std::vector<T> gate = Columns(proj, 4 * width, 3 * width, width);
    std::vector<T> y(size_t(n * width));
    for (int h = 0; h < heads; ++h) {
      const std::vector<T> q = Columns(proj, 4 * width, 64 * h, 64);
      const std::vector<T> k = Columns(proj, 4 * width, width + 64 * h, 64);
      const std::vector<T> v = Columns(proj, 4 * width, 2 * width + 64 * h, 64);
      std::vector<T> i(size_t(n), 0), f(size_t(n), 0), out(size_t(n * 64)), state(4096), norm(64);
      for (int t = 0; t < n; ++t) {
        i[size_t(t)] = NaiveGateCap(gates[size_t(t * 2 * heads + h)] + bias[h]);
        f[size_t(t)] = NaiveGateCap(gates[size_t(t * 2 * heads + heads + h)] + bias[heads + h]);
      }
      T m = 0;
      NaiveMlstm<T> cell{n, 64, q.data(), k.data(), v.data(), i.data(), f.data(), reset.data()};
      cell.Forward(state.data(), norm.data(), &m, out.data());
      for (int t = 0; t < n; ++t) {
        NaiveSigmoidNorm(out.data() + 64 * t, gate.data() + t * width + 64 * h,
                         At(LayerTensor(l, "xm.head_norm")) + 64 * h, 64,
                         y.data() + t * width + 64 * h);
      }
    }
    return y;
  }

  const ModelConfig& c_;
  const SketchFields* fields_;
  bool fixes_;
  NaiveConstants<T>* constants_;
  NaiveSpanKnot<T> knot_{};
};

}  // namespace chimera
