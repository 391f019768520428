// The tree of a regular expression.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "grammar/code_points.h"
#include "grammar/regex.h"

namespace chimera {

struct RegexNode {
  enum class Kind : uint8_t { kSet, kSequence, kChoice, kRepeat, kBegin, kEnd };
  static constexpr int kEndless = -1;

  Kind kind = Kind::kSequence;
  CodePointSet set;              // kSet
  std::vector<RegexNode> parts;  // kSequence, kChoice; one of kRepeat
  int min = 0, max = 0;          // kRepeat
};

absl::StatusOr<RegexNode> ParseRegex(std::string_view pattern, RegexOptions options);

}  // namespace chimera
