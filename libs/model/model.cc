#include "model/model.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/layer_shapes.h"
#include "nlohmann/json.hpp"

namespace chimera {
namespace {

using nlohmann::json;

constexpr size_t kManifestBytesMax = 64 << 10;
constexpr int kManifestVersion = 1;

struct FileEntry {
  uint64_t bytes = 0;
  std::string sha256;
};

absl::Status Bad(const std::string& path, const std::string& fault) {
  return absl::DataLossError(absl::StrCat(path, ": ", fault));
}

// Only the known files, each exactly once, with size and digest.
absl::StatusOr<std::map<std::string, FileEntry>> ParseManifest(const std::string& path,
                                                               const std::string& text) {
  const json root = json::parse(text, nullptr, false);
  if (!root.is_object()) return Bad(path, "is not a JSON object");
  if (!root.contains("version") || root["version"] != kManifestVersion) {
    return Bad(path, absl::StrCat("version is not ", kManifestVersion));
  }
  if (!root.contains("files") || !root["files"].is_array())
    return Bad(path, "has no list of files");
  std::map<std::string, FileEntry> files;
  for (const json& file : root["files"]) {
    if (!file.is_object() || !file.contains("name") || !file["name"].is_string() ||
        !file.contains("bytes") || !file["bytes"].is_number_unsigned() ||
        !file.contains("sha256") || !file["sha256"].is_string()) {
      return Bad(path, "a file entry lacks name, bytes or sha256");
    }
    const std::string name = file["name"];
    if (name != kWeightsFile && name != kConfigFile && name != kTokenizerFile) {
      return Bad(path, absl::StrCat("names an unknown file '", name, "'"));
    }
    if (!files.emplace(name, FileEntry{file["bytes"], file["sha256"]}).second) {
      return Bad(path, absl::StrCat("names ", name, " twice"));
    }
  }
  if (files.size() != 3)
    return Bad(path, absl::StrCat("names ", files.size(), " files, expected 3"));
  return files;
}

absl::Status CheckSize(const std::string& path, size_t bytes, const FileEntry& entry) {
  if (bytes == entry.bytes) return absl::OkStatus();
  return Bad(path, absl::StrCat("has ", bytes, " bytes, the manifest says ", entry.bytes));
}

absl::Status CheckDigest(const std::string& path, std::span<const uint8_t> bytes,
                         const std::string& sha256) {
  if (Sha256Hex(bytes) == sha256) return absl::OkStatus();
  return Bad(path, "does not match the manifest's SHA-256: the file is damaged or was changed");
}

absl::Status CheckFile(const std::string& folder, const std::string& name, const FileEntry& entry,
                       bool digest) {
  const std::string path = folder + "/" + name;
  CHIMERA_ASSIGN_OR_RETURN(const MmapFile file, MmapFile::Open(path));
  CHIMERA_RETURN_IF_ERROR(CheckSize(path, file.bytes().size(), entry));
  return digest ? CheckDigest(path, file.bytes(), entry.sha256) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Model>> Model::Load(const std::string& folder) {
  return Open(folder, PayloadChecks::kNow);
}

absl::StatusOr<std::shared_ptr<const Model>> Model::Map(const std::string& folder) {
  return Open(folder, PayloadChecks::kLater);
}

absl::Status Model::CheckWeights(const std::atomic<bool>* stop) const {
  const std::string path = folder_ + "/" + kWeightsFile;
  CHIMERA_RETURN_IF_ERROR(weights_.Check(path, shape(), stop));
  return CheckDigest(path, weights_.file(), weights_sha256_);
}

absl::StatusOr<std::shared_ptr<const Model>> Model::Open(const std::string& folder,
                                                         PayloadChecks checks) {
  std::shared_ptr<Model> model(new Model());
  model->folder_ = folder;
  const std::string manifest_path = folder + "/" + kManifestFile;
  absl::StatusOr<std::string> manifest = ReadFile(manifest_path, kManifestBytesMax);
  if (absl::IsNotFound(manifest.status())) {
    return absl::NotFoundError(absl::StrCat(folder,
                                            ": not a model folder (no manifest.json); train "
                                            "one with 'chimera train', or use models/nano"));
  }
  if (!manifest.ok()) return manifest.status();
  CHIMERA_ASSIGN_OR_RETURN(const auto files, ParseManifest(manifest_path, *manifest));
  for (const auto& [name, entry] : files) {
    const bool digest = name != kWeightsFile || checks == PayloadChecks::kNow;
    CHIMERA_RETURN_IF_ERROR(CheckFile(folder, name, entry, digest));
  }
  model->weights_sha256_ = files.at(kWeightsFile).sha256;
  model->id_ = Sha256Hex(std::string_view(*manifest));
  CHIMERA_ASSIGN_OR_RETURN(model->config_, LoadConfig(folder + "/" + kConfigFile));
  CHIMERA_RETURN_IF_ERROR(CheckTrainable(model->config_));
  CHIMERA_ASSIGN_OR_RETURN(model->tokenizer_, Tokenizer::FromFile(folder + "/" + kTokenizerFile));
  if (model->tokenizer_->vocab_size() != model->shape().vocab_size) {
    return Bad(folder,
               absl::StrCat("tokenizer has ", model->tokenizer_->vocab_size(),
                            " ids, the config's vocab_size is ", model->shape().vocab_size));
  }
  CHIMERA_ASSIGN_OR_RETURN(model->weights_,
                           Weights::Map(folder + "/" + kWeightsFile, model->shape(), checks));
  model->knot_ = MakeSpanKnot(model->shape());
  return std::shared_ptr<const Model>(std::move(model));
}

absl::StatusOr<std::string> WriteManifest(const std::string& folder, const std::string& name) {
  json files = json::array();
  for (const char* file : {kWeightsFile, kConfigFile, kTokenizerFile}) {
    CHIMERA_ASSIGN_OR_RETURN(const MmapFile map, MmapFile::Open(folder + "/" + file));
    files.push_back(
        {{"name", file}, {"bytes", map.bytes().size()}, {"sha256", Sha256Hex(map.bytes())}});
  }
  const std::string text =
      json{{"version", kManifestVersion}, {"name", name}, {"files", files}}.dump(1) + "\n";
  CHIMERA_RETURN_IF_ERROR(WriteFileAtomic(folder + "/" + kManifestFile, text));
  return Sha256Hex(std::string_view(text));
}

}  // namespace chimera
