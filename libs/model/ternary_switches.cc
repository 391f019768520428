#include "model/ternary_switches.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "layers/low_rank.h"
#include "model/network.h"
#include "ternary/packing.h"

namespace chimera {
namespace {

TensorKind KindOf(TernaryPacking packing) {
  switch (packing) {
    case TernaryPacking::kRowsInLanes:
      return TensorKind::kTernary;
    case TernaryPacking::kBase3:
      return TensorKind::kTernaryBase3;
    case TernaryPacking::kSherry:
      return TensorKind::kTernarySherry;
  }
  return TensorKind::kTernary;
}

FloatParam ParamOf(Parameters* parameters, const std::string& name) {
  const Parameters::Entry& e = parameters->entry(name);
  return {parameters->values().data() + e.offset, parameters->grads().data() + e.offset,
          e.spec.rows, e.spec.cols};
}

bool IsStacked(const TensorSpec& spec) {
  return spec.name.ends_with("moe.w_in") || spec.name.ends_with("moe.w_out");
}

size_t ScaleBytes(int rows, int cols) { return TernaryScaleCount(rows, cols) * 2; }

bool ScalesAreFinite(const uint16_t* scales, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    if ((scales[i] & 0x7c00) == 0x7c00) return false;
  }
  return true;
}

bool CodesAreTrits(const uint8_t* codes, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) {
    if ((codes[i] & (codes[i] >> 1) & 0x55) != 0) return false;
  }
  return true;
}

}  // namespace

void ApplyTernarySwitches(const QuantConfig& quant, std::vector<TensorSpec>* specs) {
  std::vector<TensorSpec> out;
  for (TensorSpec& spec : *specs) {
    const bool ternary = IsTernary(spec.kind);
    if (ternary) spec.kind = KindOf(quant.packing);
    out.push_back(spec);
    // Experts run as slices of stacked matrices; they go without.
    if (!ternary || !quant.hgf || IsStacked(spec)) continue;
    out.push_back({spec.name + kHgfA, TensorKind::kFloat, kLowRank, spec.cols, true});
    out.push_back({spec.name + kHgfB, TensorKind::kFloat, spec.rows, kLowRank, true});
    // Decay is the regularisation of the gate.
    out.push_back({spec.name + kHgfGate, TensorKind::kFloat, 1, 1, true});
  }
  *specs = std::move(out);
}

void BindTernarySwitches(Parameters* parameters, const std::string& name, LinearParam* linear) {
  if (!linear->quantized) return;
  linear->sherry = parameters->entry(name).spec.kind == TensorKind::kTernarySherry;
  linear->progress = &parameters->progress();
  if (parameters->Find(name + kHgfA) == nullptr) return;
  linear->low_rank.a = ParamOf(parameters, name + kHgfA);
  linear->low_rank.b = ParamOf(parameters, name + kHgfB);
  linear->low_rank.gate = ParamOf(parameters, name + kHgfGate);
}

uint64_t TernaryPayloadBytes(TensorKind kind, int rows, int cols) {
  const size_t scales = ScaleBytes(rows, cols);
  if (kind == TensorKind::kTernaryBase3) return scales + Base3Bytes(rows, cols);
  if (kind == TensorKind::kTernarySherry) return scales + SherryBytes(rows, cols);
  return scales + TernaryCodeBytes(rows, cols);
}

void PackTernary(TensorKind kind, const TernaryView& w, uint8_t* payload) {
  const size_t scales = ScaleBytes(w.rows, w.cols);
  if (kind == TensorKind::kTernarySherry) {
    std::memcpy(payload, w.scales, scales);
    PackSherry(w.codes, w.rows, w.cols, payload + scales);
    return;
  }
  const size_t codes = TernaryPayloadBytes(kind, w.rows, w.cols) - scales;
  if (kind == TensorKind::kTernaryBase3) {
    PackBase3(w.codes, w.rows, w.cols, payload);
  } else {
    std::memcpy(payload, w.codes, codes);
  }
  std::memcpy(payload + codes, w.scales, scales);
}

void EncodeTernary(const TensorSpec& spec, const float* w, uint8_t* payload) {
  CHIMERA_CHECK(IsTernary(spec.kind));
  std::vector<uint8_t> codes(TernaryCodeBytes(spec.rows, spec.cols));
  std::vector<uint16_t> scales(TernaryScaleCount(spec.rows, spec.cols));
  const auto quantize = spec.kind == TensorKind::kTernarySherry ? QuantizeSherry : QuantizeWeights;
  quantize(w, spec.rows, spec.cols, codes.data(), scales.data(), 0, -1);
  PackTernary(spec.kind, {codes.data(), scales.data(), spec.rows, spec.cols}, payload);
}

std::string TernaryFault(const TensorSpec& spec, std::span<const uint8_t> payload) {
  CHIMERA_CHECK(payload.size() == TernaryPayloadBytes(spec.kind, spec.rows, spec.cols));
  const bool sherry = spec.kind == TensorKind::kTernarySherry;  // every five bits are a block
  const size_t code_bytes = payload.size() - ScaleBytes(spec.rows, spec.cols);
  if (spec.kind == TensorKind::kTernaryBase3) {
    if (!Base3MatrixValid(payload.data(), spec.rows, spec.cols)) {
      return "holds a byte that stands for no five trits";
    }
  } else if (!sherry && !CodesAreTrits(payload.data(), code_bytes)) {
    return "holds a trit code 3";
  }
  const uint8_t* scales = payload.data() + (sherry ? 0 : code_bytes);
  const size_t n_scales = TernaryScaleCount(spec.rows, spec.cols);
  return ScalesAreFinite(reinterpret_cast<const uint16_t*>(scales), n_scales)
             ? ""
             : "has a scale that is not finite";
}

TernaryView RepackedTensors::View(const TensorSpec& spec, std::span<const uint8_t> payload) {
  CHIMERA_CHECK(payload.size() == TernaryPayloadBytes(spec.kind, spec.rows, spec.cols));
  TernaryView view{.rows = spec.rows, .cols = spec.cols};
  const size_t scale_bytes = ScaleBytes(spec.rows, spec.cols);
  if (spec.kind == TensorKind::kTernarySherry) {
    uint8_t* codes = NewCodes(spec.rows, spec.cols);
    UnpackSherry(payload.data() + scale_bytes, spec.rows, spec.cols, codes);
    view.codes = codes;
    view.scales = reinterpret_cast<const uint16_t*>(payload.data());
    return view;
  }
  view.codes = payload.data();
  view.scales = reinterpret_cast<const uint16_t*>(payload.data() + payload.size() - scale_bytes);
  if (spec.kind == TensorKind::kTernaryBase3) view.packing = TritPacking::kBase3;
  return view;
}

std::string RepackedTensors::Decode(const TensorSpec& spec, std::span<const uint8_t> payload,
                                    TernaryView* view) {
  *view = View(spec, payload);
  return TernaryFault(spec, payload);
}

TernaryView RepackedTensors::TwoBit(const TernaryView& view) {
  if (view.packing == TritPacking::kTwoBit) return view;
  uint8_t* codes = NewCodes(view.rows, view.cols);
  UnpackBase3(view.codes, view.rows, view.cols, codes);
  return {codes, view.scales, view.rows, view.cols};
}

uint8_t* RepackedTensors::NewCodes(int rows, int cols) {
  codes_.emplace_back(TernaryCodeBytes(rows, cols) / sizeof(Line));  // tiles are whole lines
  return codes_.back().data()->bytes;
}

const float* RepackedTensors::Lanes(const float* b, int rows) {
  lanes_.emplace_back(LowRankLaneFloats(rows));
  LowRankLanes(b, rows, lanes_.back().data());
  return lanes_.back().data();
}

}  // namespace chimera
