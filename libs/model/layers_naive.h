// The obvious twin of one layer of the network, for tests: one sequence, plain loops, T = double,
// straight from math-backbone 0.1, 1.1, 2.1, 6.1 with quantization off.
#pragma once

#include <string>
#include <vector>

#include "layers/gated_delta_naive.h"
#include "layers/mlstm_naive.h"
#include "layers/moe_naive.h"
#include "layers/rms_norm_naive.h"
#include "layers/short_conv_naive.h"
#include "layers/swiglu_naive.h"
#include "model/network.h"

namespace chimera {

template <typename T>
class NaiveLayers {
 public:
  // values: laid out as the parameters; both must outlive this.
  NaiveLayers(const ModelConfig& config, const Parameters& parameters, const std::vector<T>& values)
      : c_(config), parameters_(parameters), values_(values) {}

  const T* At(const std::string& name) const {
    return values_.data() + parameters_.entry(name).offset;
  }
  int Width() const { return c_.n_heads * c_.head_dim; }

  std::vector<T> Norm(const std::vector<T>& x, const std::string& gamma, int n) const {
    std::vector<T> y(x.size());
    for (size_t at = 0; at < x.size(); at += size_t(n)) {
      NaiveRmsNorm(x.data() + at, At(gamma), n, y.data() + at);
    }
    return y;
  }

  std::vector<T> Linear(const std::vector<T>& x, const std::string& name) const {
    const TensorSpec& spec = parameters_.entry(name).spec;
    const T* w = At(name);
    const size_t rows = size_t(spec.rows), cols = size_t(spec.cols), n = x.size() / cols;
    std::vector<T> y(n * rows);
    for (size_t t = 0; t < n; ++t) {
      for (size_t r = 0; r < rows; ++r) {
        for (size_t i = 0; i < cols; ++i) y[t * rows + r] += w[r * cols + i] * x[t * cols + i];
      }
    }
    return y;
  }

  static void Add(const std::vector<T>& y, std::vector<T>* x) {
    for (size_t i = 0; i < y.size(); ++i) (*x)[i] += y[i];
  }

  // Column block [begin, begin + width) of rows of `stride`.
  static std::vector<T> Columns(const std::vector<T>& x, int stride, int begin, int width) {
    std::vector<T> out;
    for (size_t at = 0; at < x.size(); at += size_t(stride)) {
      out.insert(out.end(), x.begin() + long(at) + begin, x.begin() + long(at) + begin + width);
    }
    return out;
  }

  // x [n][d_model] of the tokens that run layer l, from a fresh state.
  std::vector<T> Run(int l, std::vector<T> x, const std::vector<uint8_t>& reset) const {
    const int d = c_.d_model, n = static_cast<int>(reset.size());
    const std::vector<T> in = Norm(x, LayerTensor(l, "mixer_norm"), d);
    const bool xm = c_.layers[size_t(l)] == LayerKind::kMlstm;
    const std::vector<T> y = xm ? MlstmLayer(l, in, n, reset) : GatedDeltaLayer(l, in, n, reset);
    Add(Linear(Norm(y, LayerTensor(l, xm ? "xm.out_norm" : "gd.out_norm"), Width()),
               LayerTensor(l, xm ? "xm.w_out" : "gd.w_out")),
        &x);
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
  std::vector<T> Copy(const std::string& name) const {
    const Parameters::Entry& e = parameters_.entry(name);
    return {At(name), At(name) + e.size};
  }

  std::vector<T> SwigluFfn(const std::vector<T>& in, int l, const char* w_in, const char* norm,
                           const char* w_out) const {
    const std::vector<T> both = Linear(in, LayerTensor(l, w_in));
    const int d_ff = parameters_.entry(LayerTensor(l, w_out)).spec.cols;
    std::vector<T> hidden(both.size() / 2);
    for (size_t t = 0; t < hidden.size() / size_t(d_ff); ++t) {
      const T* row = both.data() + t * 2 * size_t(d_ff);
      NaiveSwiglu(row, row + d_ff, d_ff, hidden.data() + t * size_t(d_ff));
    }
    return Linear(Norm(hidden, LayerTensor(l, norm), d_ff), LayerTensor(l, w_out));
  }

  std::vector<T> Experts(int l, const std::vector<T>& in) const {
    NaiveMoe<T> moe{c_.moe.n_routed, c_.d_model, c_.moe.d_expert};
    moe.router = Copy(LayerTensor(l, "moe.router"));
    moe.bias = Copy(LayerTensor(l, "moe.bias"));
    moe.w_in = Copy(LayerTensor(l, "moe.w_in"));
    moe.gain = Copy(LayerTensor(l, "moe.out_norm"));
    moe.w_out = Copy(LayerTensor(l, "moe.w_out"));
    return moe.Forward(in);
  }

  std::vector<T> GatedDeltaLayer(int l, const std::vector<T>& in, int n,
                                 const std::vector<uint8_t>& reset) const {
    const int width = Width(), heads = c_.n_heads;
    const std::vector<T> proj = Linear(in, LayerTensor(l, "gd.w_in"));
    const std::vector<T> gates = Linear(in, LayerTensor(l, "gd.w_gates"));
    const std::vector<T> qkv = Columns(proj, 4 * width, 0, 3 * width);
    const std::vector<T> gate = Columns(proj, 4 * width, 3 * width, width);
    std::vector<T> conv(qkv.size()), start(size_t(3 * 3 * width));
    NaiveShortConv(qkv.data(), At(LayerTensor(l, "gd.conv")), start.data(), reset.data(), n,
                   3 * width, conv.data());
    std::vector<T> y(size_t(n * width));
    for (int h = 0; h < heads; ++h) {
      std::vector<T> q = Columns(conv, 3 * width, 64 * h, 64);
      std::vector<T> k = Columns(conv, 3 * width, width + 64 * h, 64);
      const std::vector<T> v = Columns(conv, 3 * width, 2 * width + 64 * h, 64);
      std::vector<T> g(size_t(n), 0), beta(size_t(n), 0), o(size_t(n * 64)), state(4096);
      for (int t = 0; t < n; ++t) {
        NaiveL2Norm(q.data() + 64 * t, 64, q.data() + 64 * t);
        NaiveL2Norm(k.data() + 64 * t, 64, k.data() + 64 * t);
        NaiveGate(gates[size_t(t * 2 * heads + h)], gates[size_t(t * 2 * heads + heads + h)],
                  At(LayerTensor(l, "gd.a_log"))[h], At(LayerTensor(l, "gd.dt_bias"))[h],
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
    const int width = Width(), heads = c_.n_heads;
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
  const Parameters& parameters_;
  const std::vector<T>& values_;
};

}  // namespace chimera
