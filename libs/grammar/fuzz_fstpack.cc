// Fuzz target: grammar packs, under a checksum that fits.
#include <cstring>

#include "base/file.h"
#include "grammar/fstpack.h"
#include "grammar/fuzz_driver.h"

namespace chimera {

std::vector<std::string_view> FuzzSeeds() {
  static const auto* packs = [] {
    using Kind = GrammarSource::Kind;
    auto* all = new std::vector<std::string>;
    const GrammarSource sources[] = {
        {Kind::kRegex, "[a-z]{1,3}( x)*"},
        {Kind::kEbnf, "root ::= '(' root ')' | root 'x' | [a-z]{2,5}"},
        {Kind::kMode, "python"},
        {Kind::kJsonSchema, R"({"type": "string", "pattern": "^[a-z\n]*$", "minLength": 2})"},
        {Kind::kJsonSchema, R"({"required": ["a"], "properties": {"a": {"maxLength": 3}}})"}};
    for (const GrammarSource& source : sources) {
      for (const GrammarUse use : {GrammarUse::kGenerate, GrammarUse::kCheck}) {
        all->push_back(*MakeGrammarPack(source, use, **CompileGrammar(source, use)));
      }
    }
    return all;
  }();
  return {packs->begin(), packs->end()};
}

std::vector<std::string_view> FuzzPieces() {
  static constexpr char kZeros[20] = {};
  return {{kZeros, 4}, {kZeros, 20}, "\xFF\xFF\xFF\xFF", {"\1\0\0\0", 4}, {"\2\0\0\0", 4}};
}

}  // namespace chimera

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string file(reinterpret_cast<const char*>(data), size);
  if (size >= 24) {
    const uint64_t checksum = chimera::Xxh3(std::string_view(file).substr(24));
    std::memcpy(file.data() + 16, &checksum, 8);
  }
  const auto pack = chimera::ParseGrammarPack(file);
  return pack.ok() ? chimera::FuzzWalk(pack->machine, pack->use, static_cast<uint32_t>(size)) : -1;
}
