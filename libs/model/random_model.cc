#include "model/random_model.h"

#include <algorithm>
#include <vector>

#include "base/cpu.h"
#include "base/exec_context.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/model.h"
#include "model/network.h"
#include "model/weight_file.h"

namespace chimera {

absl::StatusOr<std::string> WriteRandomModel(const Config& config, const Tokenizer& tokenizer,
                                             uint64_t seed, const std::string& folder) {
  CHIMERA_RETURN_IF_ERROR(MakeDirs(folder));
  // One tensor at a time: the floats of a large shape would not fit a machine that serves it.
  const std::vector<TensorSpec> specs = ModelLayout(config.model);
  ExecContext exec(UsableCpus());
  std::vector<float> values;
  auto source = [&](const std::string& name) -> std::span<const float> {
    const auto spec = std::find_if(specs.begin(), specs.end(),
                                   [&](const TensorSpec& s) { return s.name == name; });
    values.resize(static_cast<size_t>(spec->rows) * static_cast<size_t>(spec->cols));
    FillInitial(config.model, *spec, static_cast<size_t>(spec - specs.begin()), seed, &exec,
                values.data());
    return values;
  };
  CHIMERA_RETURN_IF_ERROR(WriteWeights(folder + "/" + kWeightsFile, config.model, source));
  CHIMERA_RETURN_IF_ERROR(WriteFileAtomic(folder + "/" + kConfigFile, ConfigJson(config)));
  CHIMERA_RETURN_IF_ERROR(tokenizer.WriteFile(folder + "/" + kTokenizerFile));
  return WriteManifest(folder, config.model.name);
}

}  // namespace chimera
