#include "ternary/products_bench.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <span>

#include "base/check.h"
#include "base/huge_pages.h"
#include "base/parallel_range.h"
#include "base/philox.h"
#include "ternary/packing.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

// Weights stand at multiples of 64 bytes, as in a mapped file.
struct alignas(64) Line {
  uint8_t bytes[64];
};

// Copies of one random matrix, so many that a pass over them comes from memory.
class Copies {
 public:
  Copies(ProductShape shape, TritPacking packing, size_t bytes, int n_tokens)
      : shape_(shape), packing_(packing), n_tokens_(n_tokens) {
    const PhiloxStream random(1, RngPurpose::kWeightInit, 0);
    const size_t n = Macs() / static_cast<size_t>(n_tokens);
    std::vector<float> w(n), x(static_cast<size_t>(n_tokens * shape.cols));
    for (size_t i = 0; i < n; ++i) w[i] = random.Uniform(i) - 0.5f;
    for (size_t i = 0; i < x.size(); ++i) x[i] = random.Uniform(i + n) - 0.5f;
    const size_t code_bytes =
        static_cast<size_t>(RowTiles(shape.rows)) * TileCodeBytes(packing, shape.cols);
    const size_t scales = TernaryScaleCount(shape.rows, shape.cols);
    copies_ = std::max<size_t>(1, bytes / (code_bytes + 2 * scales));
    matrix_bytes_ = code_bytes;
    lines_.resize(copies_ * code_bytes / sizeof(Line));
    scales_.resize(copies_ * scales);
    std::vector<uint8_t> two_bit(TernaryCodeBytes(shape.rows, shape.cols));
    QuantizeWeights(w.data(), shape.rows, shape.cols, two_bit.data(), scales_.data());
    if (packing == TritPacking::kBase3) {
      PackBase3(two_bit.data(), shape.rows, shape.cols, Codes(0));
    } else {
      std::copy(two_bit.begin(), two_bit.end(), Codes(0));
    }
    for (size_t i = 1; i < copies_; ++i) {
      std::copy_n(Codes(0), code_bytes, Codes(i));
      std::copy_n(scales_.begin(), scales, scales_.begin() + static_cast<int64_t>(i * scales));
    }
    q_.resize(x.size());
    s_.resize(x.size() / kActBlock);
    sums_.resize(s_.size());
    y_.resize(static_cast<size_t>(n_tokens * shape.rows));
    QuantizeActivations(x.data(), n_tokens, shape.cols, q_.data(), s_.data(), sums_.data());
  }

  // Multiply-adds of one copy.
  size_t Macs() const {
    return static_cast<size_t>(shape_.rows) * static_cast<size_t>(shape_.cols) *
           static_cast<size_t>(n_tokens_);
  }
  double TotalBytes() const {
    return static_cast<double>(copies_ * matrix_bytes_) + 2.0 * static_cast<double>(scales_.size());
  }
  double TotalMacs() const { return static_cast<double>(copies_ * Macs()); }

  // One product after the other, each over all threads. Seconds.
  double Run(ExecContext* exec) {
    const int tiles = RowTiles(shape_.rows);
    const auto start = std::chrono::steady_clock::now();
    for (size_t i = 0; i < copies_; ++i) {
      const TernaryView w = {Codes(i), scales_.data() + i * (scales_.size() / copies_), shape_.rows,
                             shape_.cols, packing_};
      const auto product = [&](int64_t first, int64_t last) {
        const int begin = static_cast<int>(first), end = static_cast<int>(last);
        if (n_tokens_ == 1) {
          TernaryGemv(w, begin, end, q_.data(), s_.data(), sums_.data(), y_.data());
        } else {
          TernaryGemm(w, begin, end, n_tokens_, q_.data(), s_.data(), sums_.data(), y_.data(),
                      shape_.rows);
        }
      };
      ParallelRange(exec, tiles, kWorthWakingNs, TilesTogether(n_tokens_), product);
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  uint8_t* Codes(size_t copy) {
    return reinterpret_cast<uint8_t*>(lines_.data()) + copy * matrix_bytes_;
  }

  const ProductShape shape_;
  const TritPacking packing_;
  const int n_tokens_;
  size_t copies_ = 1, matrix_bytes_ = 0;
  BufferVector<Line> lines_;  // on huge pages, as a mapped file may be
  BufferVector<uint16_t> scales_;
  std::vector<int8_t> q_;
  std::vector<float> s_, y_;
  std::vector<int32_t> sums_;
};

ProductFigure Measure(const ProductsBenchOptions& options, ProductShape shape, TritPacking packing,
                      int n_tokens, const std::function<double()>& limit, ExecContext* exec) {
  CHIMERA_CHECK(shape.rows > 0 && shape.cols > 0 && shape.cols % kActBlock == 0);
  Copies copies(shape, packing, options.weight_bytes, n_tokens);
  copies.Run(exec);
  std::vector<double> bytes, macs, fractions;
  ProductFigure figure = {.shape = shape,
                          .packing = packing == TritPacking::kBase3 ? "base3" : "2bit",
                          .n_tokens = n_tokens};
  for (int run = 0; run < options.runs; ++run) {
    const double before = limit();
    const double seconds = copies.Run(exec);
    const double best = 0.5 * (before + limit());
    bytes.push_back(copies.TotalBytes() * 1e-9 / seconds);
    macs.push_back(copies.TotalMacs() * 1e-9 / seconds);
    fractions.push_back((n_tokens == 1 ? bytes.back() : macs.back()) / best);
    figure.limit += best / options.runs;
  }
  figure.gb_per_s = SpreadOf(bytes);
  figure.gmacs_per_s = SpreadOf(macs);
  figure.fraction = SpreadOf(fractions);
  return figure;
}

}  // namespace

Spread SpreadOf(std::vector<double> values) {
  CHIMERA_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

namespace {

std::vector<ProductFigure> MeasureAll(const ProductsBenchOptions& options, int n_tokens,
                                      const std::function<double()>& limit, ExecContext* exec) {
  std::vector<ProductFigure> out;
  for (const ProductShape& shape : options.shapes) {
    for (TritPacking packing : {TritPacking::kTwoBit, TritPacking::kBase3}) {
      out.push_back(Measure(options, shape, packing, n_tokens, limit, exec));
    }
  }
  return out;
}

}  // namespace

std::vector<ProductFigure> BenchGemv(const ProductsBenchOptions& options, const ReadProbe& probe,
                                     ExecContext* exec) {
  return MeasureAll(
      options, 1, [&] { return probe.GbPerS(exec); }, exec);
}

std::vector<ProductFigure> BenchGemm(const ProductsBenchOptions& options, ExecContext* exec) {
  return MeasureAll(
      options, options.gemm_tokens, [&] { return DotGmacsPerS(exec); }, exec);
}

}  // namespace chimera
