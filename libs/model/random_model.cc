#include "model/random_model.h"

#include "base/file.h"
#include "base/status_macros.h"
#include "model/model.h"
#include "model/network.h"
#include "model/weight_file.h"

namespace chimera {

absl::StatusOr<std::string> WriteRandomModel(const Config& config, const Tokenizer& tokenizer,
                                             uint64_t seed, const std::string& folder) {
  Parameters parameters(config.model);
  parameters.Initialize(config.model, seed);
  CHIMERA_RETURN_IF_ERROR(MakeDirs(folder));
  CHIMERA_RETURN_IF_ERROR(
      WriteWeights(folder + "/" + kWeightsFile, config.model,
                   [&](const std::string& name) { return parameters.value(name); }));
  CHIMERA_RETURN_IF_ERROR(WriteFileAtomic(folder + "/" + kConfigFile, ConfigJson(config)));
  CHIMERA_RETURN_IF_ERROR(tokenizer.WriteFile(folder + "/" + kTokenizerFile));
  return WriteManifest(folder, config.model.name);
}

}  // namespace chimera
