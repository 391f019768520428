// The second phase of the span knot: a sketch of the hidden state is relaxed under five energy
// terms and fed back (docs/layers/span_knot.md has the equations). The first phase is the gated
// delta rule of the same layer; the branch here is added to its output. Per token, from the
// normalised input xn [d_model]:
//   z = W xn, three vectors of `rank` (state, candidate, role), each divided by its RMS;
//   pre_k = U z_k / sqrt(rank), U a fixed matrix of signs [bits][rank];
//   s = sign(pre_state), then up to 3 sweeps that flip at most 2 % of the bits, the ones whose flip
//   lowers the energy most; r = U^T s sqrt(pi rank / 2) / bits; y = gate * (W_back r).
// The relaxed s is the layer's state. Everything gives the same bits on every instruction set.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "base/cpu.h"
#include "layers/rms_norm.h"
#include "layers/span_knot_kernels.h"
#include "ternary/ternary.h"

namespace chimera {

inline constexpr int kSpanKnotMaxBits = 8192;
inline constexpr int kSpanKnotMaxRank = 64;

struct SpanKnotShape {
  int d_model = 0;
  int width = 0;  // columns of the branch: those of the mixer it joins
  int bits = 0;   // of the sketch: a multiple of 64 up to 8192
  int rank = 0;   // of both projections: 16, 32, 48 or 64

  int words() const { return bits / 64; }
};

// Config section tsp_knot.
struct SpanKnotEnergy {
  float autoregressive = 1.0f;
  float memory = 0.3f;
  float binding = 0.2f;
  float grammar = 0.4f;
  float debt = 0.3f;
  double flip_fraction = 0.02;  // of the bits, a sweep; at least one bit
  int max_sweeps = 3;           // 0: the sketch is never relaxed
  float early_exit = 1e-4f;     // a sweep that gains less is the last
};

// Parameters of one layer, all float. Borrowed.
struct SpanKnotWeights {
  const float* sketch = nullptr;  // [3 * rank][d_model]: rows of state, candidate, role
  const float* back = nullptr;    // [width][rank]
  const float* gate = nullptr;    // [width]
};

// Sketches from outside that pull on the bits: words() words each, null = absent; weight in [0, 1].
struct SpanField {
  const uint64_t* bits = nullptr;
  float weight = 0.0f;
};
struct SpanFields {
  SpanField memory, grammar, debt;
};

struct SpanKnotTelemetry {
  float energy_before = 0.0f;  // of the start bits
  float energy_after = 0.0f;   // of the relaxed bits; never larger
  int flips = 0;
  int sweeps = 0;
};

// Buffers of a step, and what it leaves in them. Allocates in the constructor only.
// Thread-compatible: one step at a time.
struct SpanKnotScratch {
  explicit SpanKnotScratch(const SpanKnotShape& shape);

  std::vector<float> z;        // [3][rank], before the norm
  std::vector<float> inv;      // [3]: 1 / RMS
  std::vector<float> normed;   // [3][64], zero beyond rank
  std::vector<float> pre;      // [3][bits]
  std::vector<float> gains;    // [bits]
  std::vector<float> readout;  // [rank]
  std::vector<uint64_t> previous, start, relaxed, none, ranked;
  SpanKnotTelemetry telemetry;
};

// Floats of a stream's state: the bits of the last sketch, then 1.0f when there is one. All zero is
// a fresh stream. The bits are not numbers: they survive copying, not rounding to bf16.
constexpr int64_t SpanKnotStateFloats(int bits) { return bits / 32 + 1; }

// What one layer costs; the codebook is shared by the layers of a model.
struct SpanKnotCost {
  int64_t parameters = 0;       // of the two projections and the gate
  int64_t parameter_bytes = 0;  // float
  int64_t projection_macs = 0;  // per token, float: hidden state to rank, rank to hidden state
  int64_t sketch_macs = 0;      // per token, int8 times sign: three products with U
  int64_t codebook_bytes = 0;   // U as trits and as bit planes
  int64_t state_bytes = 0;      // per stream
};
SpanKnotCost CostOf(const SpanKnotShape& shape);

// XXH3-64 of the sketch's bytes, words little endian: the name a field travels by.
uint64_t SketchHash(const uint64_t* bits, int n_bits);

// The fixed codebook and the energy's constants of all layers of one shape. Immutable.
class SpanKnot {
 public:
  // InvalidArgument names the value out of range. isa: for tests; every one gives the same bits.
  static absl::StatusOr<SpanKnot> Create(const SpanKnotShape& shape, const SpanKnotEnergy& energy,
                                         Isa isa = BestIsa());

  const SpanKnotShape& shape() const { return shape_; }
  const SpanKnotEnergy& energy() const { return energy_; }
  // U as trits [bits][64], columns beyond rank 0, scales 1.
  TernaryView codebook() const { return {codes_.data(), scales_.data(), shape_.bits, kActBlock}; }
  // Column i of U as bits.
  const uint64_t* plane(int i) const { return planes_.data() + int64_t{i} * shape_.words(); }
  int projections() const { return 3 * shape_.rank; }  // of a token: state, candidate, role
  int flips_per_sweep() const { return flips_per_sweep_; }
  float inv_sqrt_rank() const { return inv_sqrt_rank_; }
  float readout_scale() const { return readout_scale_; }
  const SpanKnotKernels& kernels() const { return *kernels_; }

  // One token: reads parent, writes state (SpanKnotStateFloats each; parent may be state, or that
  // of another node of a token tree) and y [width]. Allocates nothing.
  void Step(const SpanKnotWeights& weights, const SpanFields& fields, const float* xn,
            const float* parent, float* state, SpanKnotScratch* scratch, float* y) const;
  // Its four parts, in this order, with one scratch. Only Settle touches states, so the others may
  // run for several tokens of a stream at once. Project gives rows [begin, end) of projections(),
  // which several threads may share out.
  void Project(const SpanKnotWeights& weights, const float* xn, int begin, int end,
               SpanKnotScratch* scratch) const;
  void Expand(SpanKnotScratch* scratch) const;
  void Settle(const SpanFields& fields, const float* parent, float* state,
              SpanKnotScratch* scratch) const;
  void FeedBack(const SpanKnotWeights& weights, SpanKnotScratch* scratch, float* y) const;

 private:
  SpanKnot() = default;
  void BuildCodebook();
  void Relax(const SpanFields& fields, bool has_previous, SpanKnotScratch* scratch) const;

  SpanKnotShape shape_;
  SpanKnotEnergy energy_;
  int flips_per_sweep_ = 0;
  float inv_sqrt_rank_ = 0.0f;
  float readout_scale_ = 0.0f;
  const SpanKnotKernels* kernels_ = nullptr;
  const RmsNormKernels* norm_ = nullptr;
  std::vector<uint8_t> codes_;
  std::vector<uint16_t> scales_;
  std::vector<uint64_t> planes_;
};

}  // namespace chimera
