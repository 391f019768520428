// Fuzz target: regular expressions.
#include "grammar/fuzz_driver.h"

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
  return chimera::FuzzSource(chimera::GrammarSource::Kind::kRegex, data, size);
}
