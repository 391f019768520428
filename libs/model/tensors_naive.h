// What the twins of all layers of the network share, for tests: the parameters in T, and the maps
// between the mixers, in plain loops with quantization off.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "layers/rms_norm_naive.h"
#include "model/network.h"

namespace chimera {

// The tokens that run a layer, one sequence from a fresh state.
struct NaiveRows {
  std::vector<uint8_t> reset;  // of each
  std::vector<size_t> rows;    // where each stands in the sequence
  int iteration = 0;           // of the loop, from 0; 0 outside

  int n() const { return static_cast<int>(rows.size()); }
};

template <typename T>
class NaiveTensors {
 public:
  using Vector = std::vector<T>;

  // values: laid out as the parameters; all must outlive this.
  NaiveTensors(const ModelConfig& config, const Parameters& parameters, const Vector& values)
      : c_(config), parameters_(parameters), values_(values) {}

  const ModelConfig& config() const { return c_; }
  int width() const { return c_.n_heads * c_.head_dim; }

  const T* At(const std::string& name) const {
    return values_.data() + parameters_.entry(name).offset;
  }
  const T* At(int l, const char* name) const { return At(LayerTensor(l, name)); }
  Vector Copy(int l, const char* name) const {
    const Parameters::Entry& e = parameters_.entry(LayerTensor(l, name));
    return {values_.begin() + e.offset, values_.begin() + e.offset + e.size};
  }
  int Cols(int l, const char* name) const {
    return parameters_.entry(LayerTensor(l, name)).spec.cols;
  }

  Vector Norm(const Vector& x, const std::string& gamma, int n) const {
    Vector y(x.size());
    for (size_t at = 0; at < x.size(); at += size_t(n)) {
      NaiveRmsNorm(x.data() + at, At(gamma), n, y.data() + at);
    }
    return y;
  }

  Vector Linear(const Vector& x, const std::string& name) const {
    const TensorSpec& spec = parameters_.entry(name).spec;
    const T* w = At(name);
    const size_t rows = size_t(spec.rows), cols = size_t(spec.cols), n = x.size() / cols;
    Vector y(n * rows);
    for (size_t t = 0; t < n; ++t) {
      for (size_t r = 0; r < rows; ++r) {
        for (size_t i = 0; i < cols; ++i) y[t * rows + r] += w[r * cols + i] * x[t * cols + i];
      }
    }
    return y;
  }

  static void Add(const Vector& y, Vector* x) {
    for (size_t i = 0; i < y.size(); ++i) (*x)[i] += y[i];
  }

  // Column block [begin, begin + width) of rows of `stride`.
  static Vector Columns(const Vector& x, int stride, int begin, int width) {
    Vector out;
    for (size_t at = 0; at < x.size(); at += size_t(stride)) {
      out.insert(out.end(), x.begin() + long(at) + begin, x.begin() + long(at) + begin + width);
    }
    return out;
  }

 private:
  const ModelConfig& c_;
  const Parameters& parameters_;
  const Vector& values_;
};

}  // namespace chimera
