// Grammars in EBNF, as GBNF and Lark write them (docs/grammars.md):
//
//   # one rule a line or over several; root (or start) is where a text begins
//   root   ::= greeting ("," ws name)* [.!]
//   name   ::= [A-Z] [a-z]{1,20} | /[0-9]+(-[0-9]+)?/
//   data   ::= %json {"type": "integer"}
//
// Names are letters, digits, _ and -. `::=`, `:=`, `=` and `:` all define; a `;` at the end of a
// rule may stand. Literals in "…" or '…' with JSON's escapes, \xHH and \UHHHHHHHH. Classes
// [a-z^0-9], `.` (any character but a newline), groups, | ? * + {m} {m,} {m,n}, regular expressions
// /…/ and schemas %json {…}. Comments run from # or // to the end of the line.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "grammar/machine.h"
#include "grammar/rules.h"

namespace chimera {

inline constexpr int kEbnfBytesMax = 1 << 20;
inline constexpr int kEbnfRulesMax = 10000;
inline constexpr int kEbnfDepthMax = 200;
inline constexpr int kEbnfPartsMax = 200000;  // of sequences and choices, about 130 bytes each
inline constexpr int kEbnfRepeatMax = 1000000;

// INVALID_ARGUMENT names line and column of what is wrong; RESOURCE_EXHAUSTED the limit.
absl::StatusOr<RuleTables> CompileEbnf(std::string_view text, GrammarUse use);

}  // namespace chimera
