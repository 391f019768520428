// --mode, --schema, --regex and --ebnf, for every command that takes a grammar.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "grammar/grammar_cache.h"

namespace CLI {
class App;
class Option_group;
}  // namespace CLI

namespace chimera {

struct GrammarFlags {
  std::string mode;
  std::string schema_file;
  std::string regex;
  std::string ebnf_file;
  std::string pack_file;  // for commands that ask for it
};

// At most one of them may be given; `required`: exactly one; `packs`: --pack is one of them.
void AddGrammarFlags(CLI::App* sub, GrammarFlags* flags, bool required = false, bool packs = false);
// Not of --pack. Reads the file that is named.
absl::StatusOr<GrammarSource> ReadGrammarFlags(const GrammarFlags& flags);

}  // namespace chimera
