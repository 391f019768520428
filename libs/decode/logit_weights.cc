#include "decode/logit_weights.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace chimera {
namespace {

// False for NaN too.
bool InRange(float weight) { return weight >= -kWeightMax && weight <= kWeightMax; }

}  // namespace

absl::Status CheckClassTable(const ClassTable& table, int vocab_size) {
  if (table.size() != static_cast<size_t>(vocab_size)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a class table of ", table.size(), " tokens for ", vocab_size));
  }
  const auto largest = std::max_element(table.begin(), table.end());
  if (largest != table.end() && *largest >= kClassesMax) {
    return absl::InvalidArgumentError(absl::StrCat("class ", int{*largest}, " of token ",
                                                   largest - table.begin(), " is outside 0..",
                                                   kClassesMax - 1));
  }
  return absl::OkStatus();
}

absl::Status CheckWeights(const LogitWeights& weights, int vocab_size) {
  if (weights.classes.size() > size_t{kClassesMax} ||
      weights.tokens.size() > size_t{kTokenWeightsMax}) {
    return absl::InvalidArgumentError(
        absl::StrCat(weights.classes.size(), " class weights and ", weights.tokens.size(),
                     " token weights, the limits are ", kClassesMax, " and ", kTokenWeightsMax));
  }
  if (!weights.classes.empty() && weights.table == nullptr) {
    return absl::InvalidArgumentError("class weights need a class table");
  }
  for (const float weight : weights.classes) {
    if (!InRange(weight)) {
      return absl::InvalidArgumentError(
          absl::StrCat("class weight ", weight, " is outside ", -kWeightMax, "..", kWeightMax));
    }
  }
  for (const TokenWeight& token : weights.tokens) {
    if (token.token_id < 0 || token.token_id >= vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("a weight of token ", token.token_id, ", outside 0..", vocab_size - 1));
    }
    if (!InRange(token.weight)) {
      return absl::InvalidArgumentError(absl::StrCat("token weight ", token.weight, " is outside ",
                                                     -kWeightMax, "..", kWeightMax));
    }
  }
  return absl::OkStatus();
}

}  // namespace chimera
