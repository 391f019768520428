// EBNF against Lark's Earley parser: the same languages in both notations, random texts of ours and
// mutated ones, agreement both ways.
#include <string>
#include <vector>

#include "grammar/corpora_testing.h"
#include "grammar/ebnf.h"
#include "grammar/grammar_testing.h"
#include "grammar/outside_check_testing.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

using Json = nlohmann::json;

TEST(EbnfLark, AgreesBothWays) {
  if (std::system("/usr/bin/python3 -c 'import lark' 2>/dev/null") != 0) {
    GTEST_SKIP() << "python3-lark is not installed";
  }
  std::vector<Json> cases;
  std::vector<bool> ours;
  for (const EbnfPair& pair : EbnfPairs()) {
    auto tables = CompileEbnf(pair.ours, GrammarUse::kGenerate);
    ASSERT_TRUE(tables.ok()) << pair.ours << ": " << tables.status();
    StateTable table(std::make_shared<RuleMachine>(*std::move(tables)));
    for (uint64_t seed = 0; seed < 250; ++seed) {
      std::string text = RandomText(&table, seed, static_cast<int>(seed % 12));
      for (uint64_t round = 0; round < seed % 3; ++round) {
        text = Mutated(text, pair.bytes, 3 * seed + round);
      }
      if (text.size() > 60 || text.find_first_of("\x80\xFF") != std::string::npos) continue;
      if (std::ranges::any_of(text, [](char c) { return (c & 0x80) != 0; })) continue;
      cases.push_back({{"grammar", pair.larks}, {"text", text}});
      ours.push_back(FirstFault(&table, text) == -1);
    }
    EXPECT_TRUE(table.status().ok()) << pair.ours << ": " << table.status();
  }
  const std::vector<std::string> answers =
      OutsideCheck("/usr/bin/python3 " CHIMERA_SOURCE_DIR "/libs/grammar/ebnf_check.py", cases);
  ASSERT_EQ(answers.size(), cases.size());
  int in = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(answers[i], ours[i] ? "in" : "out") << cases[i];
    in += ours[i];
  }
  EXPECT_GT(in, 1500);
  EXPECT_GT(static_cast<int>(cases.size()) - in, 800);
}

}  // namespace
}  // namespace chimera
