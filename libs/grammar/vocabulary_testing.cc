#include "grammar/vocabulary_testing.h"

#include <cstdlib>

#include "base/file.h"
#include "gtest/gtest.h"

namespace chimera {

std::shared_ptr<const GrammarVocabulary> TestVocabulary() {
  constexpr size_t kRankFileBytesMax = 64 << 20;
  static const auto* const vocabulary = new std::shared_ptr<const GrammarVocabulary>([] {
    const char* const asked = std::getenv("GRAMMAR_TOKENIZER");
    const char* const path =
        asked != nullptr ? asked : CHIMERA_SOURCE_DIR "/tests/golden/o200k_8192.tiktoken";
    const auto text = ReadFile(path, kRankFileBytesMax);
    EXPECT_TRUE(text.ok()) << text.status();
    return GrammarVocabulary::Create(*Tokenizer::FromRankText(*text, 0));
  }());
  return *vocabulary;
}

}  // namespace chimera
