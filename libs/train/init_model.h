// Starting a run from a trained model (train.init_model of a recipe). Errors begin with the key.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/recipe.h"
#include "model/network.h"
#include "text/tokenizer.h"
#include "train/checkpoint.h"

namespace chimera {

// Whether the recipe can start from its init_model: a model folder with the recipe's tensors. Reads
// its configuration only. NOT_FOUND or INVALID_ARGUMENT.
absl::Status CheckInitModel(const TrainRecipe& recipe);

// Fills the parameters of a run that begins: with what quantises to the recipe's init_model
// (model/master_weights.h), so that the run starts at the model's loss, or else from the seed.
// Returns the model's id, empty without one. Model::Load's errors, and INVALID_ARGUMENT for other
// tensors or another vocabulary.
absl::StatusOr<std::string> StartParameters(const TrainRecipe& recipe, const Tokenizer& tokenizer,
                                            Parameters* parameters);

// Whether the checkpoint at `path` is of a run with the recipe's optimizer that began where the
// recipe says. An init_model that is no longer there is not missed: the checkpoint holds
// everything. FAILED_PRECONDITION names both sides.
absl::Status CheckOrigin(const std::string& path, const Checkpoint& checkpoint,
                         const TrainRecipe& recipe);

}  // namespace chimera
