#include "model/repack.h"

#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/b158_format.h"
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

std::string Repacked(const TensorSpec& from, const TensorSpec& to,
                     std::span<const uint8_t> payload) {
  std::string out(PayloadBytes(to.kind, to.rows, to.cols), '\0');
  if (!IsTernary(from.kind)) {
    std::memcpy(out.data(), payload.data(), out.size());
    return out;
  }
  RepackedTensors codes;
  TernaryView view;
  codes.Decode(from, payload, &view);
  PackTernary(to.kind, codes.TwoBit(view), reinterpret_cast<uint8_t*>(out.data()));
  return out;
}

absl::Status CheckPackings(const std::string& from, const Model& model, TernaryPacking to) {
  const QuantConfig& quant = model.shape().quant;
  if (!quant.enabled) {
    return absl::InvalidArgumentError(absl::StrCat(from, ": a float model has no trits to pack"));
  }
  if (quant.sherry() || to == TernaryPacking::kSherry) {
    return absl::InvalidArgumentError(
        absl::StrCat(from,
                     ": Sherry is a way to train, not a packing of other trits; only "
                     "rows_in_lanes and base3 go into each other"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> RepackModel(const std::string& from, TernaryPacking packing,
                                        const std::string& to) {
  CHIMERA_ASSIGN_OR_RETURN(const std::shared_ptr<const Model> model, Model::Load(from));
  CHIMERA_RETURN_IF_ERROR(CheckPackings(from, *model, packing));
  if (ReadFile(to + "/" + kManifestFile, 1 << 20).ok()) {
    return absl::AlreadyExistsError(absl::StrCat(to, ": holds a model already"));
  }
  const char* name = packing == TernaryPacking::kBase3 ? "base3" : "rows_in_lanes";
  CHIMERA_ASSIGN_OR_RETURN(
      const Config config,
      ParseConfig(ConfigJson(model->config()),
                  {absl::StrCat("{\"quantization\": {\"packing\": \"", name, "\"}}")}));
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
