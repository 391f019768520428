// The limits a bench measures against: every byte is read, every product counted.
#include "ternary/machine_peak.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "ternary/machine_peak_kernels.h"
#include "ternary/products_bench.h"

namespace chimera {
namespace {

TEST(MachinePeak, EveryLevelReadsEveryByte) {
  std::vector<uint8_t> data(4096, 0);
  for (Isa isa : kEveryIsa) {
    if (!Runs(isa)) continue;
    const PeakKernels& kernels = PeakFor(isa);
    EXPECT_EQ(kernels.read(data.data(), data.size()), 0u);
    for (size_t i = 0; i < data.size(); ++i) {
      data[i] = 0x80;
      EXPECT_EQ(kernels.read(data.data(), data.size()), uint64_t{0x80} << (8 * (i % 8)));
      data[i] = 0;
    }
  }
}

// Each product is of 3 and -5; eight rounds of them fit the 16 bits that some levels sum in, modulo
// 2^16 where lanes have no sign.
TEST(MachinePeak, EveryLevelCountsItsProducts) {
  for (Isa isa : kEveryIsa) {
    if (!Runs(isa)) continue;
    int64_t macs = 0, none = 0;
    EXPECT_EQ(PeakFor(isa).dot(0, &none), 0);
    EXPECT_EQ(none, 0);
    const int64_t sum = PeakFor(isa).dot(8, &macs);
    EXPECT_GT(macs, 0);
    EXPECT_EQ((sum + 15 * macs) % 65536, 0) << IsaName(isa);
    if (isa != Isa::kBaseline) {
      EXPECT_EQ(sum, -15 * macs) << IsaName(isa);
    }
  }
}

TEST(MachinePeak, FiguresAreFractionsOfTheSameRun) {
  ExecContext exec(2);
  const ReadProbe probe(true, size_t{16} << 20);
  EXPECT_GT(probe.GbPerS(&exec), 0.01);
  ProductsBenchOptions options;
  options.shapes = {{100, 192}};
  options.gemm_tokens = 3;
  options.runs = 3;
  options.weight_bytes = 1 << 20;
  for (const auto& figures : {BenchGemv(options, probe, &exec), BenchGemm(options, &exec)}) {
    ASSERT_EQ(figures.size(), 2u);
    EXPECT_STREQ(figures[1].packing, "base3");
    const ProductFigure& f = figures[0];
    EXPECT_GT(f.fraction.least, 0);
    EXPECT_LE(f.fraction.least, f.fraction.median);
    EXPECT_LE(f.fraction.median, f.fraction.most);
    const double made = f.n_tokens == 1 ? f.gb_per_s.median : f.gmacs_per_s.median;
    EXPECT_NEAR(made / f.limit / f.fraction.median, 1, 0.9);
  }
}

}  // namespace
}  // namespace chimera
