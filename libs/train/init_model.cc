#include "train/init_model.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "config/config.h"
#include "model/master_weights.h"
#include "model/model.h"

namespace chimera {
namespace {

constexpr size_t kManifestBytesMax = 64 << 10;

absl::Status Named(const std::string& folder, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat("train.init_model = \"", folder, "\": ", status.message()));
}

// The id of the model in a folder, from its manifest alone.
absl::StatusOr<std::string> IdOf(const std::string& folder) {
  const absl::StatusOr<std::string> manifest =
      ReadFile(folder + "/" + kManifestFile, kManifestBytesMax);
  if (!manifest.ok()) return Named(folder, manifest.status());
  return Sha256Hex(std::string_view(*manifest));
}

}  // namespace

absl::Status CheckInitModel(const TrainRecipe& recipe) {
  const std::string& folder = recipe.init_model;
  CHIMERA_RETURN_IF_ERROR(IdOf(folder).status());
  const absl::StatusOr<Config> config = LoadConfig(folder + "/" + kConfigFile);
  if (!config.ok()) return Named(folder, config.status());
  return Named(folder, CheckSameTensors(config->model, recipe.config.model));
}

absl::StatusOr<std::string> StartParameters(const TrainRecipe& recipe, const Tokenizer& tokenizer,
                                            Parameters* parameters) {
  const std::string& folder = recipe.init_model;
  if (folder.empty()) {
    parameters->Initialize(recipe.config.model, recipe.seed);
    return "";
  }
  const absl::StatusOr<std::shared_ptr<const Model>> model = Model::Load(folder);
  if (!model.ok()) return Named(folder, model.status());
  CHIMERA_RETURN_IF_ERROR(Named(folder, CheckSameTensors((*model)->shape(), recipe.config.model)));
  if ((*model)->tokenizer()->Hash() != tokenizer.Hash()) {
    return Named(folder, absl::InvalidArgumentError(
                             "its tokenizer has other ranks than the one this run encodes with"));
  }
  RestoreMasters(**model, parameters);
  return (*model)->id();
}

absl::Status CheckOrigin(const std::string& path, const Checkpoint& checkpoint,
                         const TrainRecipe& recipe) {
  constexpr char kAdvice[] = "; give this run a fresh work folder";
  if (const char* optimizer = OptimizerName(recipe.optimizer); checkpoint.optimizer != optimizer) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": belongs to a run with train.optimizer = \"", checkpoint.optimizer,
                     "\", this one has \"", optimizer, "\"", kAdvice));
  }
  std::string id;
  if (!recipe.init_model.empty()) {
    const absl::StatusOr<std::string> found = IdOf(recipe.init_model);
    if (!found.ok() && !checkpoint.init_model.empty()) return absl::OkStatus();
    CHIMERA_RETURN_IF_ERROR(found.status());
    id = *found;
  }
  if (id == checkpoint.init_model) return absl::OkStatus();
  const auto origin = [](const std::string& model) {
    return model.empty() ? std::string("fresh parameters") : "model " + model;
  };
  return absl::FailedPreconditionError(absl::StrCat(path, ": belongs to a run that began with ",
                                                    origin(checkpoint.init_model),
                                                    ", this one with ", origin(id), kAdvice));
}

}  // namespace chimera
