// Fuzz target: regular expressions.
#include <algorithm>

#include "grammar/fuzz_driver.h"
#include "grammar/grammar_cache.h"

namespace chimera {

std::vector<std::string_view> FuzzSeeds() {
  return {"[a-z]{1,12}( \\w+)*[.!?]",
          "(?i)ab|\\d+(\\.\\d{2,})?",
          "(a|b)*abb",
          "[^\\x00-\\x1f\"]*",
          "\\p{L}+|[à-ü]?é",
          "((a?){3}b){2}",
          "(?:x|y|)+z??"};
}

std::vector<std::string_view> FuzzPieces() {
  return {"{2,5}",   "{1000}", "*", "+", "?", "(", ")", "|", "[^", "]",          "\\w",
          "\\p{Lu}", "(?s)",   ".", "^", "$", "a", "é", "-", "\\", "[[:alpha:]]"};
}

}  // namespace chimera

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using chimera::GrammarUse;
  const chimera::GrammarSource source = {chimera::GrammarSource::Kind::kRegex,
                                         std::string(reinterpret_cast<const char*>(data), size)};
  int taken = -1;
  for (const GrammarUse use : {GrammarUse::kGenerate, GrammarUse::kCheck}) {
    const auto machine = chimera::CompileGrammar(source, use);
    taken = std::max(taken, chimera::FuzzWalk(machine, use, static_cast<uint32_t>(size)));
  }
  return taken;
}
