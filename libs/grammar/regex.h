// Regular expressions: what RE2 and ECMAScript have in common and a finite automaton can decide.
//
// Refused, each by name: look-ahead and look-behind, back-references, \b and \B, atomic groups and
// possessive quantifiers, flags other than i and s, case-insensitive letters beyond ASCII, and
// properties other than L, Lu, Ll, Lt, N, M.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "grammar/byte_dfa.h"
#include "grammar/code_points.h"

namespace chimera {

inline constexpr int kRegexBytesMax = 64 << 10;
inline constexpr int kRegexRepeatMax = 1000;
inline constexpr int kRegexDepthMax = 200;
inline constexpr int64_t kRegexStepsMax = 20 * 1000 * 1000;
inline constexpr int kRegexStatesMax = 50000;  // of the automaton that is not deterministic yet

struct RegexOptions {
  // JSON Schema's reading: \s is Unicode's white space, and the pattern may match anywhere in the
  // text. Without it the whole text has to match, and \s is ASCII's.
  bool ecma_search = false;
  // What may be spent on automata, in walks over edges; what this one took is subtracted. Null:
  // kRegexStepsMax.
  int64_t* steps_left = nullptr;
};

// The texts that match, over bytes of UTF-8. INVALID_ARGUMENT names the place of what is wrong or
// refused; RESOURCE_EXHAUSTED the limit that was passed.
absl::StatusOr<ByteDfa> CompileRegex(std::string_view pattern, RegexOptions options);

}  // namespace chimera
