// Equality with the reference encoder on stored strings (golden/README: tokenizer files).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "text/piece_scanner.h"
#include "text/text_testing.h"
#include "text/tokenizer.h"
#include "text/tokenizer_naive.h"

namespace chimera {
namespace {

nlohmann::json Golden(const std::string& name) {
  const auto text = ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/" + name, 1 << 20);
  EXPECT_TRUE(text.ok()) << text.status();
  return nlohmann::json::parse(text.ok() ? *text : "", nullptr, false);
}

std::vector<int> Pieces(const std::string& text) {
  PieceScanner scanner(text, CodePointClasses::Get());
  std::vector<int> pieces;
  for (size_t at = 0; at < text.size();) {
    const size_t end = scanner.Next(at);
    pieces.push_back(static_cast<int>(end - at));
    at = end;
  }
  return pieces;
}

TEST(TokenizerGolden, Pieces) {
  const nlohmann::json golden = Golden("tokenizer_o200k.json");
  ASSERT_EQ(golden["strings"].size(), 503u);
  NaiveTokenizer naive(*TruncatedTokenizer(256));
  for (const nlohmann::json& entry : golden["strings"]) {
    const auto text = entry["text"].get<std::string>();
    ASSERT_EQ(Pieces(text), entry["pieces"].get<std::vector<int>>()) << entry["text"];
    ASSERT_EQ(naive.Pieces(text), entry["pieces"].get<std::vector<int>>()) << entry["text"];
  }
}

TEST(TokenizerGolden, FullVocabulary) {
  const auto tokenizer = FullTokenizer();
  if (tokenizer == nullptr) GTEST_SKIP() << kNoFullTokenizer;
  EXPECT_EQ(tokenizer->vocab_size(), 200073);
  const nlohmann::json golden = Golden("tokenizer_o200k.json");
  ASSERT_EQ(golden["strings"].size(), 503u);
  for (const nlohmann::json& entry : golden["strings"]) {
    const auto text = entry["text"].get<std::string>();
    const std::vector<int32_t> ids = tokenizer->Encode(text);
    ASSERT_EQ(ids, entry["ids"].get<std::vector<int32_t>>()) << entry["text"];
    ASSERT_EQ(tokenizer->Decode(ids), text);
  }
}

TEST(TokenizerGolden, TruncatedVocabularies) {
  const nlohmann::json golden = Golden("tokenizer_truncated.json");
  ASSERT_EQ(golden["strings"].size(), 100u);
  for (const int n : {1024, 4096, 8192}) {
    const auto tokenizer = TruncatedTokenizer(n);
    const std::string key = "ids_" + std::to_string(n);
    for (const nlohmann::json& entry : golden["strings"]) {
      const auto text = entry["text"].get<std::string>();
      const std::vector<int32_t> ids = tokenizer->Encode(text);
      ASSERT_EQ(ids, entry[key].get<std::vector<int32_t>>()) << n << " " << entry["text"];
      ASSERT_EQ(tokenizer->Decode(ids), text);
    }
  }
}

}  // namespace
}  // namespace chimera
