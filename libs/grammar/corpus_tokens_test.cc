// Real files under the tokens of a vocabulary, canonical and at random: a text is in a grammar
// however it is cut into tokens. GRAMMAR_CORPUS_FILES=0 in the environment reads all files,
// GRAMMAR_TOKENIZER=FILE takes another vocabulary.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/philox.h"
#include "grammar/mode_judges_testing.h"
#include "grammar/modes.h"
#include "grammar/outside_check_testing.h"
#include "grammar/token_grammar.h"
#include "grammar/vocabulary_testing.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

// Cuts text into tokens of random lengths. Every byte is a token, so this always works.
class RandomCutter {
 public:
  explicit RandomCutter(const Tokenizer& tokenizer) {
    for (int id = 0; id < tokenizer.n_ranks(); ++id) ids_[tokenizer.TokenBytes(id)] = id;
  }
  std::vector<int32_t> Cut(std::string_view text, uint64_t seed) const {
    std::vector<int32_t> tokens;
    for (uint32_t n = 0; !text.empty(); ++n) {
      const PhiloxBlock draw = Philox4x32({n, 3, 4, 0}, uint32_t(seed), uint32_t(seed >> 32));
      auto found = ids_.end();
      for (size_t length = 1 + draw[0] % 8; found == ids_.end(); --length) {
        found = ids_.find(text.substr(0, length));
      }
      tokens.push_back(found->second);
      text.remove_prefix(found->first.size());
    }
    return tokens;
  }

 private:
  std::unordered_map<std::string_view, int32_t> ids_;
};

class CorpusTokens : public testing::Test {
 protected:
  explicit CorpusTokens() : cutter_(TestVocabulary()->tokenizer()) {}

  // Every token follows, the masks of some places have it, and the text may end.
  void ExpectTaken(const std::shared_ptr<TokenGrammar>& grammar, const std::vector<int32_t>& tokens,
                   const std::string& path) {
    constexpr size_t kMaskEvery = 97;
    GrammarMatcher matcher(grammar);
    std::vector<uint64_t> bits(grammar->vocabulary().mask_words());
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i % kMaskEvery == 0) {
        ASSERT_TRUE(matcher.Mask(1 << 30, bits).ok()) << path;
        ASSERT_TRUE(bits[size_t(tokens[i]) / 64] >> (tokens[i] % 64) & 1) << path << " token " << i;
      }
      const absl::Status taken = matcher.Advance(tokens[i]);
      ASSERT_TRUE(taken.ok()) << path << " token " << i << ": " << taken;
    }
    EXPECT_TRUE(matcher.CanEnd()) << path;
    ++texts_;
    tokens_ += static_cast<int64_t>(tokens.size());
  }

  void ExpectAllTaken(GrammarMode mode, const std::vector<std::string>& paths) {
    const auto grammar =
        std::make_shared<TokenGrammar>(TestVocabulary(), ModeMachine(mode, GrammarUse::kCheck));
    for (size_t i = 0; i < paths.size() && !HasFailure(); ++i) {
      const std::string text = FileText(paths[i]);
      ExpectTaken(grammar, TestVocabulary()->tokenizer().Encode(text), paths[i]);
      ExpectTaken(grammar, cutter_.Cut(text, i), paths[i]);
    }
    std::cout << paths.size() << " files, " << texts_ << " tokenizations, " << tokens_
              << " tokens\n";
  }

 private:
  const RandomCutter cutter_;
  int64_t texts_ = 0, tokens_ = 0;
};

size_t FilesAsked() {
  const auto files = static_cast<size_t>(std::stoll(Setting("GRAMMAR_CORPUS_FILES", "60")));
  return files == 0 ? SIZE_MAX : files;
}

TEST_F(CorpusTokens, LibraryOfPython) {
  if (!HasProgram("python3")) GTEST_SKIP() << "python3 is not installed";
  ExpectAllTaken(GrammarMode::kPython,
                 OutputLines("python3 " CHIMERA_SOURCE_DIR "/libs/grammar/python_check.py corpus " +
                             std::to_string(FilesAsked() == SIZE_MAX ? 0 : FilesAsked())));
}

TEST_F(CorpusTokens, JavascriptOfPackages) {
  std::vector<std::string> accepted;
  const std::vector<std::string> files =
      SampleFiles({"/usr/lib/node_modules", "/usr/share/nodejs", "/usr/share/javascript"}, {".js"},
                  FilesAsked());
  const std::vector<std::string> answers = JudgeFiles(GrammarMode::kJavascript, files);
  if (files.empty() || answers.size() != files.size())
    GTEST_SKIP() << "node with acorn inside, or its packages, are missing";
  for (size_t i = 0; i < files.size(); ++i) {
    if (answers[i] == "ok") accepted.push_back(files[i]);
  }
  EXPECT_GT(accepted.size(), files.size() / 2);
  ExpectAllTaken(GrammarMode::kJavascript, accepted);
}

TEST_F(CorpusTokens, JsonFiles) {
  std::vector<std::string> accepted;
  for (const std::string& file : SampleFiles({"/usr/lib", "/usr/share"}, {".json"}, FilesAsked())) {
    const std::string text = FileText(file);
    const bool byte_order_mark = text.starts_with("\xEF\xBB\xBF");
    if (!byte_order_mark && nlohmann::json::accept(text)) accepted.push_back(file);
  }
  if (accepted.empty()) GTEST_SKIP() << "no JSON on this machine";
  ExpectAllTaken(GrammarMode::kJson, accepted);
}

// The caps on white space are a matter of generation.
TEST_F(CorpusTokens, WhiteSpaceIsCappedInGenerationOnly) {
  const std::string text = "[1," + std::string(2000, ' ') + "\n\n\n2]";
  for (const GrammarUse use : {GrammarUse::kCheck, GrammarUse::kGenerate}) {
    GrammarMatcher matcher(
        std::make_shared<TokenGrammar>(TestVocabulary(), ModeMachine(GrammarMode::kJson, use)));
    bool taken = true;
    for (const int32_t token : TestVocabulary()->tokenizer().Encode(text)) {
      taken = taken && matcher.Advance(token).ok();
    }
    EXPECT_EQ(taken && matcher.CanEnd(), use == GrammarUse::kCheck);
  }
}

}  // namespace
}  // namespace chimera
