// Speed of the ternary and int8 products: prints GMAC/s of the median of several runs, per path,
// one thread. Usage: ternary_bench
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "base/cpu.h"
#include "base/philox.h"
#include "ternary/packing.h"
#include "ternary/ternary.h"
#include "ternary/ternary_kernels.h"

namespace chimera {
namespace {

struct Shape {
  int rows;
  int cols;
};

// A random matrix in both formats and n_tokens random activations.
struct Problem {
  Problem(Shape shape, int n_tokens) : n(n_tokens) {
    const PhiloxStream random(1, RngPurpose::kWeightInit, 0);
    const auto rows = static_cast<size_t>(shape.rows), cols = static_cast<size_t>(shape.cols);
    const auto tokens = static_cast<size_t>(n_tokens);
    w.resize(rows * cols);
    for (size_t i = 0; i < w.size(); ++i) w[i] = random.Uniform(i) - 0.5f;
    x.resize(tokens * cols);
    for (size_t i = 0; i < x.size(); ++i) x[i] = random.Uniform(i + w.size()) - 0.5f;
    codes.resize(TernaryCodeBytes(shape.rows, shape.cols));
    mu.resize(TernaryScaleCount(shape.rows, shape.cols));
    rows_q.resize(Int8RowBytes(shape.rows, shape.cols));
    row_scale.resize(Int8RowScaleCount(shape.rows));
    q.resize(x.size());
    s.resize(x.size() / kActBlock);
    sums.resize(s.size());
    y.resize(tokens * rows);
    QuantizeWeights(w.data(), shape.rows, shape.cols, codes.data(), mu.data());
    QuantizeInt8Rows(w.data(), shape.rows, shape.cols, rows_q.data(), row_scale.data());
    QuantizeActivations(x.data(), n_tokens, shape.cols, q.data(), s.data(), sums.data());
    ternary = {codes.data(), mu.data(), shape.rows, shape.cols};
    int8 = {rows_q.data(), row_scale.data(), shape.rows, shape.cols};
  }
  int tiles() const { return RowTiles(ternary.rows); }
  double macs() const { return static_cast<double>(w.size()) * n; }

  int n;
  std::vector<float> w, x, s, y, row_scale;
  std::vector<uint8_t> codes;
  std::vector<uint16_t> mu;
  std::vector<int8_t> q, rows_q;
  std::vector<int32_t> sums;
  TernaryView ternary;
  Int8RowsView int8;
};

// Median seconds of one call, over nine samples of at least 5 ms.
template <typename Body>
double Seconds(const Body& body) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> samples;
  body();
  for (int64_t repeat = 1; samples.size() < 9;) {
    const auto start = Clock::now();
    for (int64_t i = 0; i < repeat; ++i) body();
    const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    if (elapsed < 0.005) {
      repeat *= 2;
      continue;
    }
    samples.push_back(elapsed / static_cast<double>(repeat));
  }
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

void Print(const char* what, const char* path, const Problem& p, double seconds) {
  std::printf("%-14s %-8s %5d x %-5d tokens %-5d %9.1f GMAC/s  %10.1f us\n", what, path,
              p.ternary.rows, p.ternary.cols, p.n, p.macs() / seconds * 1e-9, seconds * 1e6);
}

void Products(Shape shape, int n_tokens) {
  Problem p(shape, n_tokens);
  const int64_t ldy = shape.rows;
  for (Isa isa : kEveryIsa) {
    if (!Runs(isa)) continue;
    Print("ternary", IsaName(isa), p, Seconds([&] {
            TernaryFor(isa).gemm(p.ternary, 0, p.tiles(), p.n, p.q.data(), p.s.data(),
                                 p.sums.data(), p.y.data(), ldy);
          }));
    Print("int8 rows", IsaName(isa), p, Seconds([&] {
            Int8For(isa).gemm(p.int8, 0, p.tiles(), p.n, p.q.data(), p.s.data(), p.y.data(), ldy);
          }));
  }
  if (n_tokens < 16 || !HasAmxInt8()) return;
  Print("ternary", "amx", p, Seconds([&] {
          Amx().ternary_gemm(p.ternary, 0, p.tiles(), p.n, p.q.data(), p.s.data(), p.y.data(), ldy);
        }));
  Print("int8 rows", "amx", p, Seconds([&] {
          Amx().int8_gemm(p.int8, 0, p.tiles(), p.n, p.q.data(), p.s.data(), p.y.data(), ldy);
        }));
}

void Quantizers(Shape shape, int n_tokens) {
  Problem p(shape, n_tokens);
  std::vector<float> back(p.w.size());
  std::vector<uint16_t> back16(std::max(p.w.size(), p.x.size()));
  for (Isa isa : kEveryIsa) {
    if (!Runs(isa)) continue;
    const QuantizeKernels& k = QuantizeFor(isa);
    auto line = [&](const char* what, size_t n, double seconds) {
      std::printf("%-14s %-8s %9.2f G values/s\n", what, IsaName(isa),
                  static_cast<double>(n) / seconds * 1e-9);
    };
    line("weights", p.w.size(), Seconds([&] {
           k.weights(p.w.data(), shape.rows, shape.cols, p.codes.data(), p.mu.data(), 0, p.tiles());
         }));
    line("sherry", p.w.size(), Seconds([&] {
           k.sherry(p.w.data(), shape.rows, shape.cols, p.codes.data(), p.mu.data(), 0, p.tiles());
         }));
    line("weights back", p.w.size(),
         Seconds([&] { k.weights_back(p.ternary, 0, p.tiles(), back.data()); }));
    line("... in bf16", p.w.size(),
         Seconds([&] { k.weights_back_bf16(p.ternary, 0, p.tiles(), back16.data()); }));
    line("activations", p.x.size(), Seconds([&] {
           k.activations(p.x.data(), p.n, shape.cols, p.q.data(), p.s.data(), p.sums.data());
         }));
    line("... back bf16", p.x.size(), Seconds([&] {
           k.activations_back_bf16(p.q.data(), p.s.data(), p.n, shape.cols, back16.data());
         }));
    line("int8 rows", p.w.size(), Seconds([&] {
           k.int8_rows(p.w.data(), shape.rows, shape.cols, p.rows_q.data(), p.row_scale.data(), 0,
                       p.tiles());
         }));
  }
}

// What opening a packed file costs.
void Packings(Shape shape) {
  Problem p(shape, 1);
  std::vector<uint8_t> packed(Base3Bytes(shape.rows, shape.cols));
  auto line = [&](const char* what, double seconds) {
    std::printf("%-23s %9.2f G values/s\n", what, static_cast<double>(p.w.size()) / seconds * 1e-9);
  };
  line("base-3 pack",
       Seconds([&] { PackBase3(p.codes.data(), shape.rows, shape.cols, packed.data()); }));
  line("base-3 unpack",
       Seconds([&] { UnpackBase3(packed.data(), shape.rows, shape.cols, p.codes.data()); }));
  QuantizeSherry(p.w.data(), shape.rows, shape.cols, p.codes.data(), p.mu.data());
  line("Sherry pack",
       Seconds([&] { PackSherry(p.codes.data(), shape.rows, shape.cols, packed.data()); }));
  line("Sherry unpack",
       Seconds([&] { UnpackSherry(packed.data(), shape.rows, shape.cols, p.codes.data()); }));
}

}  // namespace
}  // namespace chimera

int main() {
  std::printf("best %s, amx %s, one thread, median of 9\n", chimera::IsaName(chimera::BestIsa()),
              chimera::HasAmxInt8() ? "yes" : "no");
  for (chimera::Shape shape : {chimera::Shape{320, 320}, {896, 320}, {2560, 2560}, {6912, 2560}}) {
    chimera::Products(shape, 1);
  }
  for (int n : {4, 16}) chimera::Products({2560, 2560}, n);
  for (chimera::Shape shape : {chimera::Shape{320, 320}, {896, 320}, {2560, 2560}}) {
    chimera::Products(shape, 1024);
  }
  chimera::Quantizers({2560, 2560}, 1024);
  chimera::Packings({2560, 2560});
  return 0;
}
