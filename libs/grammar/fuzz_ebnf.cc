// Fuzz target: grammars in EBNF.
#include "grammar/fuzz_driver.h"

namespace chimera {

std::vector<std::string_view> FuzzSeeds() {
  return {"root ::= item (\",\" item)*\nitem ::= [a-z]+ | /[0-9]+/ | %json {\"type\": \"string\"}",
          "root ::= root \"+\" t | t\nt ::= t \"*\" f | f\nf ::= \"(\" root \")\" | [0-9]{1,3}",
          "start: a b? # x\na = \"x\"{2,1000000}\nb: (a | \"\")* .;",
          "root ::= root root | \"a\" | \"\"",
          "root ::= a\na ::= b? a \"x\" | \"y\"\nb ::= a{0,3} \"z\""};
}

std::vector<std::string_view> FuzzPieces() {
  return {"root",      "a",
          "b",         "::=",
          "\n",        "|",
          "(",         ")",
          "?",         "*",
          "+",         "{2,3}",
          "{1000000}", "{0,}",
          "[^a-c]",    "\"\"",
          "\"ab\"",    "/a*b/",
          "%json {}",  ".",
          "\n a ::= ", "\n b ::= root ",
          "#"};
}

}  // namespace chimera

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return chimera::FuzzSource(chimera::GrammarSource::Kind::kEbnf, data, size);
}
