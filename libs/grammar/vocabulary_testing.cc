#include "grammar/vocabulary_testing.h"

#include <string>

#include "base/file.h"
#include "grammar/outside_check_testing.h"
#include "gtest/gtest.h"

namespace chimera {

std::shared_ptr<const GrammarVocabulary> TestVocabulary() {
  constexpr size_t kRankFileBytesMax = 64 << 20;
  static const auto* const vocabulary = new std::shared_ptr<const GrammarVocabulary>([] {
    const std::string path =
        Setting("GRAMMAR_TOKENIZER", CHIMERA_SOURCE_DIR "/tests/golden/o200k_8192.tiktoken");
    const auto text = ReadFile(path, kRankFileBytesMax);
    EXPECT_TRUE(text.ok()) << text.status();
    return GrammarVocabulary::Create(*Tokenizer::FromRankText(*text, 0));
  }());
  return *vocabulary;
}

}  // namespace chimera
