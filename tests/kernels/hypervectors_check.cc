// Operations on hypervectors.
#include "hdc/hyper_kernels.h"
#include "hdc/hyper_naive.h"
#include "kernels/check.h"

namespace chimera {
namespace {

constexpr int kRows = 6;

struct alignas(64) Rows {
  uint64_t words[128 * kRows];
  uint64_t* operator[](int r) { return words + 128 * r; }
};

}  // namespace

void CheckHypervectors(Check* check) {
  const HyperKernels& kernels = HyperFor(check->isa());
  static Rows rows, out;
  uint64_t state = 99;
  for (uint64_t& word : rows.words) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    word = state ^ state >> 29;
  }
  const auto words = [](const uint64_t* a) { return NaiveBits(a, a + 128); };
  kernels.bind(rows[0], rows[1], out[0]);
  check->Same("bind", words(out[0]), NaiveBind(rows[0], rows[1]));
  for (const int left : {0, 1, 64, 777, 8191}) {
    kernels.rotate(rows[0], left, out[0]);
    check->Same("rotate", words(out[0]), NaiveRotate(rows[0], left));
  }
  out = rows;
  static Rows twin;
  twin = rows;
  kernels.full_add(out[0], rows[2], out[1]);
  NaiveFullAdd(twin[0], rows[2], twin[1]);
  check->Same("full adder, sum", words(out[0]), words(twin[0]));
  check->Same("full adder, carry", words(out[1]), words(twin[1]));
  for (const uint32_t half : {0u, 3u, 9u, 15u}) {
    kernels.exceeds(rows[0], 4, half, rows[5], out[0]);
    check->Same("majority", words(out[0]), NaiveExceeds(rows[0], 4, half, rows[5]));
  }
  using Counts = std::vector<uint32_t>;
  Counts got(2 * kRows), want;
  kernels.hamming_rows(rows[0], 2, rows[0], kRows, got.data());
  for (int r = 0; r < kRows; ++r) {
    for (int q = 0; q < 2; ++q) want.push_back(NaiveHamming(rows[q], rows[r]));
    check->Same("distance", Counts{kernels.hamming(rows[1], rows[r])}, Counts{want.back()});
    check->Same("bounded distance", Counts{kernels.hamming_within(rows[1], rows[r], 8192)},
                Counts{want.back()});
  }
  check->Same("distances", got, want);
  uint16_t positions[PickPlan::kPositions];
  std::vector<uint16_t> picked(64), bits(64);
  for (int i = 0; i < PickPlan::kPositions; ++i) {
    positions[i] = static_cast<uint16_t>((rows.words[i % 768] >> i / 768) % 8192);
    bits[i / 16] = static_cast<uint16_t>(bits[i / 16] | NaiveBit(rows[3], positions[i]) << i % 16);
  }
  kernels.pick(rows[3], MakePickPlan(positions), 64, picked.data());
  check->Same("picked bits", picked, bits);
}

}  // namespace chimera
