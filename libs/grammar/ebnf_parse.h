// The tree of a grammar in EBNF.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grammar/code_points.h"

namespace chimera {

struct EbnfNode {
  enum class Kind : uint8_t { kSequence, kChoice, kRepeat, kText, kSet, kRule, kRegex, kJson };

  Kind kind = Kind::kSequence;
  std::vector<EbnfNode> parts;  // kSequence, kChoice; one of kRepeat
  std::string text;             // kText, kRegex and kJson: as written; kRule: its name
  CodePointSet set;             // kSet
  uint32_t min = 1, max = 1;    // kRepeat; kUnbounded
  size_t at = 0;                // where it stands
};

struct EbnfRule {
  std::string name;
  EbnfNode body;
  size_t at = 0;
};

// In the order they are written. Names are defined once; nothing else is checked.
absl::StatusOr<std::vector<EbnfRule>> ParseEbnf(std::string_view text);

// INVALID_ARGUMENT with the line and column of a place.
absl::Status EbnfFault(std::string_view text, size_t at, std::string_view what);

}  // namespace chimera
