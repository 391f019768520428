// .fstpack: compiled grammars in files, byte by byte in docs/formats/fstpack.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grammar/grammar_cache.h"
#include "grammar/machine.h"
#include "grammar/rules.h"

namespace chimera {

// What a pack holds. The machine is one made anew from the pack's rules, or the mode's own.
struct GrammarPack {
  GrammarUse use = GrammarUse::kGenerate;
  GrammarSource source;
  std::shared_ptr<const Machine> machine;
};

// The pack of a grammar. INVALID_ARGUMENT when it is refused; errors as of CompileGrammar.
absl::StatusOr<std::string> MakeGrammarPack(const GrammarSource& source, GrammarUse use,
                                            const Machine& machine);
// DATA_LOSS names what is wrong with the file; UNIMPLEMENTED when it names a mode that this program
// has in another revision. Allocates no more than a multiple of bytes.size(). Thread-safe.
absl::StatusOr<GrammarPack> ParseGrammarPack(std::string_view bytes);
// Maps the file; NOT_FOUND when there is none.
absl::StatusOr<GrammarPack> ReadGrammarPack(const std::string& path);

// Whether rules from outside have the form that the machine relies on; `ends`: the final place of
// each rule. DATA_LOSS says what has not (fstpack_check.cc).
absl::Status CheckPackedRules(const RuleTables& tables, const std::vector<uint32_t>& ends,
                              GrammarUse use);

}  // namespace chimera
