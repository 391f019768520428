#include "model/master_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "model/head.h"
#include "model/layout.h"
#include "model/ternary_switches.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

using Bytes = std::span<const uint8_t>;

const char* KindName(TensorKind kind) {
  switch (kind) {
    case TensorKind::kFloat:
      return "float";
    case TensorKind::kTernary:
      return "ternary";
    case TensorKind::kTernaryBase3:
      return "base-3 ternary";
    case TensorKind::kTernarySherry:
      return "Sherry ternary";
    case TensorKind::kInt8Rows:
      return "int8";
    case TensorKind::kGroupedRows6:
      return "6-bit";
    case TensorKind::kGroupedRows4:
      return "4-bit";
  }
  return "unknown";
}

std::string ShapeText(const TensorSpec& spec) {
  return absl::StrCat(spec.rows, " x ", spec.cols, " ", KindName(spec.kind));
}

void RestoreTernary(Bytes payload, const TensorSpec& spec, float* out) {
  const int rows = spec.rows, cols = spec.cols;
  RepackedTensors repacked;
  TernaryView view;
  CHIMERA_CHECK(repacked.Decode(spec, payload, &view).empty());  // checked when it was mapped
  DequantizeWeights(repacked.TwoBit(view), 0, RowTiles(rows), out);
  if (spec.kind == TensorKind::kTernarySherry) return;
  for (int r = 0; r < rows; ++r) {
    for (int begin = 0; begin < cols; begin += kWeightGroup) {
      const int n = std::min(kWeightGroup, cols - begin);
      float* group = out + int64_t{r} * cols + begin;
      const auto zeros = std::count(group, group + n, 0.0f);
      if (zeros == n) continue;
      const float stretch = static_cast<float>(n) / static_cast<float>(n - zeros);
      for (int c = 0; c < n; ++c) group[c] *= stretch;
    }
  }
}

// The float nearest to 127 * scale whose 127th part rounds to scale; there is one when the scale
// came from such a division.
float PeakFor(float scale) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float peak = scale * 127.0f;
  for (float candidate : {peak, std::nextafter(peak, kInfinity), std::nextafter(peak, 0.0f)}) {
    if (candidate / 127.0f == scale) return candidate;
  }
  return peak;
}

void RestoreInt8Rows(Bytes payload, int rows, int cols, float* out) {
  const Int8RowsView view{reinterpret_cast<const int8_t*>(payload.data()),
                          reinterpret_cast<const float*>(payload.data() + Int8RowBytes(rows, cols)),
                          rows, cols};
  for (int r = 0; r < rows; ++r) {
    float* row = out + int64_t{r} * cols;
    DequantizeInt8Row(view, r, row);
    const float seen = view.scale[r] * 127.0f, peak = PeakFor(view.scale[r]);
    for (int c = 0; c < cols; ++c) {
      if (std::abs(row[c]) == seen) row[c] = std::copysign(peak, row[c]);
    }
  }
}

// Grouped rows quantise to themselves: their largest level stands for their largest weight.
void RestoreGroupedRows(Bytes payload, const TensorSpec& spec, float* out) {
  const HeadView view = HeadOf(spec, payload.data());
  for (int r = 0; r < spec.rows; ++r) HeadRow(view, r, out + int64_t{r} * spec.cols);
}

}  // namespace

absl::Status CheckSameTensors(const ModelConfig& model, const ModelConfig& recipe) {
  const std::vector<TensorSpec> mine = ModelLayout(model), other = ModelLayout(recipe);
  for (size_t i = 0; i < std::min(mine.size(), other.size()); ++i) {
    if (mine[i].name != other[i].name) {
      return absl::InvalidArgumentError(
          absl::StrCat("the model has ", mine[i].name, " where the recipe has ", other[i].name));
    }
    if (mine[i].kind != other[i].kind || mine[i].rows != other[i].rows ||
        mine[i].cols != other[i].cols) {
      return absl::InvalidArgumentError(absl::StrCat(mine[i].name, " is ", ShapeText(mine[i]),
                                                     " in the model and ", ShapeText(other[i]),
                                                     " in the recipe"));
    }
  }
  if (mine.size() == other.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the model has ", mine.size(), " tensors, the recipe has ", other.size()));
}

void RestoreMasters(const Model& model, Parameters* parameters) {
  for (const Parameters::Entry& e : parameters->entries()) {
    const Bytes payload = model.weights().payload(e.spec.name);
    CHIMERA_CHECK(payload.size() == PayloadBytes(e.spec.kind, e.spec.rows, e.spec.cols));
    float* out = parameters->values().data() + e.offset;
    switch (e.spec.kind) {
      case TensorKind::kFloat:
        std::memcpy(out, payload.data(), payload.size());
        break;
      case TensorKind::kTernary:
      case TensorKind::kTernaryBase3:
      case TensorKind::kTernarySherry:
        RestoreTernary(payload, e.spec, out);
        break;
      case TensorKind::kGroupedRows6:
      case TensorKind::kGroupedRows4:
        RestoreGroupedRows(payload, e.spec, out);
        break;
      case TensorKind::kInt8Rows:
        RestoreInt8Rows(payload, e.spec.rows, e.spec.cols, out);
        break;
    }
  }
}

}  // namespace chimera
