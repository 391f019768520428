#include "layers/span_knot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <numbers>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/philox.h"
#include "base/status_macros.h"
#include "hdc/features.h"

namespace chimera {
namespace {

constexpr uint32_t kFirstStream = 128;  // of purpose 4: codes of features use 0..127
constexpr uint16_t kHalfOne = 0x3c00;   // 1.0 in fp16
constexpr double kGainUnit =
    16777216;  // gains are summed as multiples of 2^-24: any order, one sum

constexpr std::array<float, kSpanKnotMaxRank> kOnes = [] {
  std::array<float, kSpanKnotMaxRank> ones{};
  ones.fill(1.0f);
  return ones;
}();

absl::Status CheckRange(const char* name, float value, float low, float high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("span knot ", name, " ", value, " is outside ", low, "..", high));
}

absl::Status CheckConfig(const SpanKnotShape& shape, const SpanKnotEnergy& energy) {
  if (shape.bits < 64 || shape.bits > kSpanKnotMaxBits || shape.bits % 64 != 0) {
    return absl::InvalidArgumentError(absl::StrCat("span knot sketch of ", shape.bits,
                                                   " bits is not a multiple of 64 up to ",
                                                   kSpanKnotMaxBits));
  }
  if (shape.rank < 16 || shape.rank > kSpanKnotMaxRank || shape.rank % 16 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "span knot rank ", shape.rank, " is not a multiple of 16 up to ", kSpanKnotMaxRank));
  }
  if (shape.d_model < 1 || shape.width < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "span knot d_model ", shape.d_model, " and width ", shape.width, " must be positive"));
  }
  CHIMERA_RETURN_IF_ERROR(CheckRange("autoregressive", energy.autoregressive, 0, 64));
  CHIMERA_RETURN_IF_ERROR(CheckRange("memory_coherence", energy.memory, 0, 64));
  CHIMERA_RETURN_IF_ERROR(CheckRange("binding_fidelity", energy.binding, 0, 64));
  CHIMERA_RETURN_IF_ERROR(CheckRange("grammar", energy.grammar, 0, 64));
  CHIMERA_RETURN_IF_ERROR(CheckRange("debt", energy.debt, 0, 64));
  CHIMERA_RETURN_IF_ERROR(
      CheckRange("flip_fraction", static_cast<float>(energy.flip_fraction), 0, 1));
  CHIMERA_RETURN_IF_ERROR(CheckRange("early_exit_delta_e", energy.early_exit, 0, 64));
  return CheckRange("max_iters", static_cast<float>(energy.max_sweeps), 0, 64);
}

uint32_t KeyOf(float gain) {
  uint32_t key;
  std::memcpy(&key, &gain, sizeof(key));
  return key;
}
float GainOf(uint32_t key) {
  float gain;
  std::memcpy(&gain, &key, sizeof(gain));
  return gain;
}

// Writes to `ranked` the positive gains that matter: at least `need` of the largest, or all of them
// when there are fewer. Bisects the bits of the floats, which are ordered like positive floats.
int CollectLargest(const SpanKnotKernels& kernels, const float* gains, int bits, float gain_max,
                   int need, uint64_t* ranked) {
  if (!(gain_max > 0.0f)) return 0;
  uint32_t low = 1, high = KeyOf(gain_max) + 1;  // count(low) >= need > count(high)
  if (kernels.count(gains, bits, GainOf(low)) > need) {
    constexpr uint32_t kSixteenth = 4u << 23;  // of the largest: a good first guess
    uint32_t middle = high > kSixteenth + 1 ? high - kSixteenth : high / 2;
    while (high - low > 1) {
      const int count = kernels.count(gains, bits, GainOf(middle));
      (count < need ? high : low) = middle;
      if (count >= need && count <= need + need / 4 + 16) break;
      middle = low + (high - low) / 2;
    }
  }
  return kernels.collect(gains, bits, GainOf(low), ranked);
}

}  // namespace

SpanKnotScratch::SpanKnotScratch(const SpanKnotShape& shape)
    : z(3 * shape.rank),
      inv(3),
      normed(3 * kActBlock),
      pre(int64_t{3} * shape.bits),
      gains(shape.bits),
      readout(shape.rank),
      previous(shape.words()),
      start(shape.words()),
      relaxed(shape.words()),
      none(shape.words()),
      ranked(shape.bits) {}

SpanKnotCost CostOf(const SpanKnotShape& shape) {
  const int64_t in = int64_t{3} * shape.rank * shape.d_model;
  const int64_t out = int64_t{shape.width} * shape.rank;
  SpanKnotCost cost;
  cost.parameters = in + out + shape.width;
  cost.parameter_bytes = cost.parameters * static_cast<int64_t>(sizeof(float));
  cost.projection_macs = in + out;
  cost.sketch_macs = int64_t{3} * shape.bits * shape.rank;
  cost.codebook_bytes = static_cast<int64_t>(TernaryCodeBytes(shape.bits, kActBlock)) +
                        static_cast<int64_t>(TernaryScaleCount(shape.bits, kActBlock)) * 2 +
                        int64_t{shape.rank} * shape.bits / 8;
  cost.state_bytes = SpanKnotStateFloats(shape.bits) * static_cast<int64_t>(sizeof(float));
  return cost;
}

uint64_t SketchHash(const uint64_t* bits, int n_bits) {
  std::array<uint8_t, kSpanKnotMaxBits / 8> bytes;
  for (int i = 0; i < n_bits / 8; ++i) {
    bytes[i] = static_cast<uint8_t>(bits[i / 8] >> (8 * (i % 8)));
  }
  return Xxh3(std::span<const uint8_t>(bytes.data(), n_bits / 8));
}

absl::StatusOr<SpanKnot> SpanKnot::Create(const SpanKnotShape& shape, const SpanKnotEnergy& energy,
                                          Isa isa) {
  CHIMERA_RETURN_IF_ERROR(CheckConfig(shape, energy));
  SpanKnot knot;
  knot.shape_ = shape;
  knot.energy_ = energy;
  knot.flips_per_sweep_ = std::max(1, static_cast<int>(energy.flip_fraction * shape.bits));
  knot.inv_sqrt_rank_ = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.rank)));
  // Without flips the mean of r is z_state: E[U sign(U z / sqrt R)] = sqrt(2 / (pi R)) z.
  knot.readout_scale_ =
      static_cast<float>(std::sqrt(std::numbers::pi * shape.rank / 2) / shape.bits);
  knot.kernels_ = &SpanKnotKernelsFor(isa);
  knot.norm_ = &RmsNormFor(isa);
  knot.BuildCodebook();
  return knot;
}

void SpanKnot::BuildCodebook() {
  const int bits = shape_.bits;
  std::vector<float> signs(static_cast<size_t>(bits) * kActBlock);
  planes_.resize(static_cast<size_t>(shape_.rank) * shape_.words());
  for (int i = 0; i < shape_.rank; ++i) {
    const PhiloxStream stream(kDefaultCodebookSeed, RngPurpose::kFeatureCode, kFirstStream + i);
    for (int j = 0; j < bits; ++j) {
      const int sign = stream.Sign(j);
      signs[static_cast<size_t>(j) * kActBlock + i] = static_cast<float>(sign);
      if (sign > 0) planes_[int64_t{i} * shape_.words() + j / 64] |= uint64_t{1} << (j % 64);
    }
  }
  codes_.resize(TernaryCodeBytes(bits, kActBlock));
  scales_.resize(TernaryScaleCount(bits, kActBlock));
  QuantizeWeights(signs.data(), bits, kActBlock, codes_.data(), scales_.data());
  std::fill(scales_.begin(), scales_.end(), kHalfOne);
}

void SpanKnot::Project(const SpanKnotWeights& weights, const float* xn, int begin, int end,
                       SpanKnotScratch* scratch) const {
  kernels_->project(weights.sketch + int64_t{begin} * shape_.d_model, end - begin, shape_.d_model,
                    xn, scratch->z.data() + begin);
}

void SpanKnot::Expand(SpanKnotScratch* scratch) const {
  const int rank = shape_.rank;
  alignas(64) int8_t q[3 * kActBlock];
  float s[3];
  int32_t sums[3];
  for (int k = 0; k < 3; ++k) {
    norm_->forward(&scratch->z[k * rank], kOnes.data(), 1, rank, &scratch->normed[k * kActBlock],
                   &scratch->inv[k]);
  }
  QuantizeActivations(scratch->normed.data(), 3, kActBlock, q, s, sums);
  for (float& scale : s) scale *= inv_sqrt_rank_;
  TernaryGemm(codebook(), 0, RowTiles(shape_.bits), 3, q, s, sums, scratch->pre.data(),
              shape_.bits);
}

void SpanKnot::Relax(const SpanFields& fields, bool has_previous, SpanKnotScratch* scratch) const {
  const auto half = [](float term, const SpanField& field) {
    return field.bits == nullptr ? 0.0f : 0.5f * (term * field.weight);
  };
  const auto words = [scratch](const SpanField& field) {
    return field.bits == nullptr ? scratch->none.data() : field.bits;
  };
  const SpanKnotTerms terms = {
      .candidate = energy_.autoregressive,
      .half = {half(energy_.memory, fields.memory), has_previous ? 0.5f * energy_.binding : 0.0f,
               half(energy_.grammar, fields.grammar), half(energy_.debt, fields.debt)},
      .sketch = {words(fields.memory), scratch->previous.data(), words(fields.grammar),
                 words(fields.debt)}};
  const SpanKnotFieldSums sums = kernels_->fields(scratch->pre.data(), shape_.bits, terms,
                                                  scratch->start.data(), scratch->gains.data());
  scratch->relaxed = scratch->start;

  // No term couples two bits, so the sweeps are runs of one ranking by gain: take what they can
  // use, then split off one sweep after the other.
  const int most = std::min(shape_.bits, flips_per_sweep_ * energy_.max_sweeps);
  uint64_t* ranked = scratch->ranked.data();
  int left = most == 0 ? 0
                       : CollectLargest(*kernels_, scratch->gains.data(), shape_.bits,
                                        sums.gain_max, most, ranked);
  double energy = static_cast<double>(sums.gain_sum) / shape_.bits;
  for (const float coefficient : terms.half) energy += static_cast<double>(coefficient);
  SpanKnotTelemetry report = {.energy_before = static_cast<float>(energy)};
  while (report.sweeps < energy_.max_sweeps && left > 0) {
    const int flips = std::min(flips_per_sweep_, left);
    if (flips < left) std::nth_element(ranked, ranked + flips, ranked + left, std::greater<>());
    int64_t gain = 0;
    for (int i = 0; i < flips; ++i) {
      const uint32_t j = 0xffffffffu - static_cast<uint32_t>(ranked[i]);
      scratch->relaxed[j / 64] ^= uint64_t{1} << (j % 64);
      gain += static_cast<int64_t>(
          static_cast<double>(GainOf(static_cast<uint32_t>(ranked[i] >> 32))) * kGainUnit);
    }
    const double drop = static_cast<double>(gain) / kGainUnit * 2.0 / shape_.bits;
    energy -= drop;
    report.flips += flips;
    ++report.sweeps;
    ranked += flips;
    left -= flips;
    if (drop < static_cast<double>(energy_.early_exit)) break;
  }
  report.energy_after = static_cast<float>(energy);
  scratch->telemetry = report;
}

void SpanKnot::Settle(const SpanFields& fields, const float* parent, float* state,
                      SpanKnotScratch* scratch) const {
  const size_t bytes = static_cast<size_t>(shape_.bits) / 8;
  const bool has_previous = parent[shape_.bits / 32] != 0.0f;
  std::memcpy(scratch->previous.data(), parent, bytes);
  Relax(fields, has_previous, scratch);
  std::memcpy(state, scratch->relaxed.data(), bytes);
  state[shape_.bits / 32] = 1.0f;
}

void SpanKnot::FeedBack(const SpanKnotWeights& weights, SpanKnotScratch* scratch, float* y) const {
  kernels_->readout(planes_.data(), shape_.rank, shape_.bits, scratch->relaxed.data(),
                    readout_scale_, scratch->readout.data());
  kernels_->feed_back(weights.back, weights.gate, scratch->readout.data(), shape_.width,
                      shape_.rank, y);
}

void SpanKnot::Step(const SpanKnotWeights& weights, const SpanFields& fields, const float* xn,
                    const float* parent, float* state, SpanKnotScratch* scratch, float* y) const {
  Project(weights, xn, 0, projections(), scratch);
  Expand(scratch);
  Settle(fields, parent, state, scratch);
  FeedBack(weights, scratch, y);
}

}  // namespace chimera
