#include "services/cli/grammar_flags.h"

#include <CLI/CLI.hpp>

#include "base/file.h"
#include "base/status_macros.h"
#include "grammar/modes.h"

namespace chimera {
namespace {

constexpr size_t kGrammarFileBytesMax = 1 << 20;

}  // namespace

void AddGrammarFlags(CLI::App* sub, GrammarFlags* flags, bool required, bool packs) {
  CLI::Option_group* group = sub->add_option_group("Grammar");
  group->add_option("--mode", flags->mode, "One of " + std::string(GrammarModeList()));
  group->add_option("--schema", flags->schema_file, "File with a JSON Schema");
  group->add_option("--regex", flags->regex, "Regular expression, for the whole text");
  group->add_option("--ebnf", flags->ebnf_file, "File with rules in EBNF; the text is a root");
  if (packs) group->add_option("--pack", flags->pack_file, "File that grammar compile made");
  group->require_option(required ? 1 : 0, 1);
}

absl::StatusOr<GrammarSource> ReadGrammarFlags(const GrammarFlags& flags) {
  using Kind = GrammarSource::Kind;
  if (!flags.mode.empty()) return GrammarSource{Kind::kMode, flags.mode};
  if (!flags.regex.empty()) return GrammarSource{Kind::kRegex, flags.regex};
  GrammarSource source;
  const std::string& file = flags.schema_file.empty() ? flags.ebnf_file : flags.schema_file;
  if (file.empty()) return source;
  source.kind = flags.schema_file.empty() ? Kind::kEbnf : Kind::kJsonSchema;
  CHIMERA_ASSIGN_OR_RETURN(source.text, ReadFile(file, kGrammarFileBytesMax));
  return source;
}

}  // namespace chimera
