#include "model/repack.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/b158_format.h"
#include "model/head.h"
#include "model/layout.h"
#include "model/model.h"
#include "model/ternary_switches.h"
#include "model/weight_file.h"

namespace chimera {
namespace {

// The payload of a tensor in a file that Weights::Map has accepted.
std::span<const uint8_t> PayloadOf(std::span<const uint8_t> file, size_t index) {
  B158Record record;
  std::memcpy(&record, file.data() + sizeof(B158Header) + index * sizeof(record), sizeof(record));
  return file.subspan(record.offset, record.bytes);
}

// What the rows stand for, rounded anew, a row tile at a time.
void RoundRows(const HeadView& from, int bits, uint8_t* out) {
  const int cols = from.cols, tiles = RowTiles(from.rows);
  const size_t tile_bytes = GroupedCodeBytes(bits, kRowTile, cols);
  auto* scales = reinterpret_cast<uint16_t*>(out + static_cast<size_t>(tiles) * tile_bytes);
  std::vector<float> w(static_cast<size_t>(kRowTile) * static_cast<size_t>(cols));
  for (int tile = 0; tile < tiles; ++tile) {
    const int first = tile * kRowTile, rows = std::min(kRowTile, from.rows - first);
    for (int r = 0; r < rows; ++r) HeadRow(from, first + r, w.data() + int64_t{r} * cols);
    QuantizeGroupedRows(w.data(), rows, cols, bits, out + static_cast<size_t>(tile) * tile_bytes,
                        scales + static_cast<size_t>(tile) * GroupedScaleCount(kRowTile, cols));
  }
}

std::string Repacked(const TensorSpec& from, const TensorSpec& to,
                     std::span<const uint8_t> payload) {
  std::string out(PayloadBytes(to.kind, to.rows, to.cols), '\0');
  if (from.kind == to.kind) {
    std::memcpy(out.data(), payload.data(), out.size());
    return out;
  }
  if (IsGrouped(to.kind)) {
    RoundRows(HeadOf(from, payload.data()), GroupedBits(to.kind),
              reinterpret_cast<uint8_t*>(out.data()));
    return out;
  }
  RepackedTensors codes;
  TernaryView view;
  codes.Decode(from, payload, &view);
  PackTernary(to.kind, codes.TwoBit(view), reinterpret_cast<uint8_t*>(out.data()));
  return out;
}

absl::Status CheckPackings(const std::string& from, const QuantConfig& quant,
                           const RepackOptions& to) {
  if (!quant.enabled) {
    return absl::InvalidArgumentError(absl::StrCat(from, ": a float model has no trits to pack"));
  }
  const int bits = to.head_bits.value_or(quant.head_bits);
  if (bits != 8 && bits != 6 && bits != 4) {
    return absl::InvalidArgumentError(
        absl::StrCat("a head of ", bits, " bits: it can have 8, 6 or 4"));
  }
  if (bits > quant.head_bits) {
    return absl::InvalidArgumentError(absl::StrCat(from, ": its head has ", quant.head_bits,
                                                   " bits a weight and cannot get back to ", bits));
  }
  if (to.packing.has_value() && (quant.sherry() || *to.packing == TernaryPacking::kSherry)) {
    return absl::InvalidArgumentError(
        absl::StrCat(from,
                     ": Sherry is a way to train, not a packing of other trits; only "
                     "rows_in_lanes and base3 go into each other"));
  }
  return absl::OkStatus();
}

// The keys of the copy's configuration that differ.
std::string Overlay(const RepackOptions& options) {
  std::vector<std::string> keys;
  if (options.packing.has_value()) {
    const bool base3 = *options.packing == TernaryPacking::kBase3;
    keys.push_back(absl::StrCat("\"packing\": \"", base3 ? "base3" : "rows_in_lanes", "\""));
  }
  if (options.head_bits.has_value()) {
    keys.push_back(absl::StrCat("\"head_bits\": ", *options.head_bits));
  }
  return absl::StrCat("{\"quantization\": {", absl::StrJoin(keys, ", "), "}}");
}

}  // namespace

absl::StatusOr<std::string> RepackModel(const std::string& from, const RepackOptions& options,
                                        const std::string& to) {
  CHIMERA_ASSIGN_OR_RETURN(const std::shared_ptr<const Model> model, Model::Load(from));
  CHIMERA_RETURN_IF_ERROR(CheckPackings(from, model->shape().quant, options));
  if (ReadFile(to + "/" + kManifestFile, 1 << 20).ok()) {
    return absl::AlreadyExistsError(absl::StrCat(to, ": holds a model already"));
  }
  CHIMERA_ASSIGN_OR_RETURN(const Config config,
                           ParseConfig(ConfigJson(model->config()), {Overlay(options)}));
  const std::vector<TensorSpec> before = ModelLayout(model->shape());
  const std::vector<TensorSpec> after = ModelLayout(config.model);
  CHIMERA_ASSIGN_OR_RETURN(const MmapFile file, MmapFile::Open(from + "/" + kWeightsFile));
  const std::string weights = EncodeTensors(
      after, [&](size_t i) { return Repacked(before[i], after[i], PayloadOf(file.bytes(), i)); });
  CHIMERA_RETURN_IF_ERROR(MakeDirs(to));
  CHIMERA_RETURN_IF_ERROR(WriteFileAtomic(to + "/" + kWeightsFile, weights));
  CHIMERA_RETURN_IF_ERROR(WriteFileAtomic(to + "/" + kConfigFile, ConfigJson(config)));
  CHIMERA_RETURN_IF_ERROR(model->tokenizer()->WriteFile(to + "/" + kTokenizerFile));
  return WriteManifest(to, config.model.name);
}

}  // namespace chimera
