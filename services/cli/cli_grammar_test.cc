// chimera grammar, and complete with a grammar.
#include "services/cli/cli_testing.h"

namespace chimera {
namespace {

void Write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

TEST_F(CliTest, GrammarCheckTellsByExitCode) {
  const std::string good = root_ + "/good.json", bad = root_ + "/bad.json",
                    schema = root_ + "/schema.json", refused = root_ + "/refused.json";
  Write(good, "{\"a\": [1, 2.5e3, null]}\n");
  Write(bad, "{\"a\":\n  [1,, 2]}\n");
  Write(schema, R"({"type": "object", "required": ["a"]})");
  Write(refused, R"({"type": "array", "uniqueItems": true})");
  Outcome outcome = Run({"grammar", "check", "--mode", "json", good});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Run({"grammar", "check", "--mode", "json", "-"}, "[1]").code, 0);
  EXPECT_EQ(Run({"grammar", "check", "--schema", schema, good}).code, 0);
  EXPECT_EQ(Run({"grammar", "check", "--regex", "\\{.*\\}\\n", good}).code, 0);
  outcome = Run({"grammar", "check", "--mode", "json", bad});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("line 2, column 6 (byte 11): \",\" stands where"));
  outcome = Run({"grammar", "check", "--schema", schema, "-"}, "{\"b\": 1}");
  EXPECT_EQ(outcome.code, 1);
  outcome = Run({"grammar", "check", "--mode", "json", "-"}, "[1, 2");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("the text ends where the grammar expects"));
  outcome = Run({"grammar", "check", "--schema", refused, good});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("#/uniqueItems"));
  outcome = Run({"grammar", "check", "--mode", "fortran", good});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(Run({"grammar", "check", good}).code, 2);
  EXPECT_EQ(Run({"grammar", "check", "--mode", "json", "--regex", "a", good}).code, 2);
}

TEST_F(CliTest, CompleteUnderAGrammar) {
  const std::string model = kSource + "/models/nano";
  const Outcome outcome = Run({"complete", "--model", model, "--prompt", "As JSON: ", "--mode",
                               "json", "--max-tokens", "30", "--seed", "4", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json out = LastLine(outcome.out);
  EXPECT_TRUE(json::accept(out.at("text").get<std::string>())) << outcome.out;
  EXPECT_TRUE(out.at("grammar").at("complete").get<bool>());
  ExpectFailure({"complete", "--model", model, "--prompt", "a", "--regex", "(?=a)"}, "look-around");
}

// 200 completions at 1 to 200 tokens; the command does 10,000.
TEST_F(CliTest, WhatCouldCloseDid) {
  const Outcome outcome = Run({"grammar", "completions", "--model", kSource + "/models/nano",
                               "--count", "200", "--out", root_ + "/texts.jsonl", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json out = LastLine(outcome.out);
  EXPECT_EQ(out.at("incomplete"), 0) << outcome.out;
  for (const char* mode : {"json", "python", "markdown"}) {
    EXPECT_EQ(out.at("modes").at(mode).at("accepted"), out.at("modes").at(mode).at("completions"));
    EXPECT_GT(out.at("modes").at(mode).at("closing_steps"), 0);
  }
  std::ifstream texts(root_ + "/texts.jsonl");
  int lines = 0;
  for (std::string line; std::getline(texts, line); ++lines) {
    const json one = json::parse(line);
    if (one.at("mode") == "json") {
      EXPECT_TRUE(json::accept(one.at("text").get<std::string>())) << line;
    }
  }
  EXPECT_EQ(lines, 200);
}

TEST_F(CliTest, GrammarBenchesPrintTheirKeys) {
  Write(root_ + "/schemas.jsonl",
        R"({"schema": {"type": "array", "items": {"type": "integer"}}, "tests": [)"
        R"({"valid": true, "data": [1, 22, 333]}, {"valid": false, "data": ["a"]}]})"
        "\n"
        R"({"schema": {"uniqueItems": true}, "tests": []})"
        "\n");
  const Outcome masks = Run({"grammar", "mask-bench", "--schemas", root_ + "/schemas.jsonl",
                             "--tokenizer", "o200k_base:4096", "--ranks", kRanks, "--json"});
  ASSERT_EQ(masks.code, 0) << masks.err;
  const json out = LastLine(masks.out);
  for (const char* key :
       {"mean_us", "p50_us", "p99_us", "cached_us", "compile_p50_us", "compile_p99_us"}) {
    EXPECT_GT(out.at(key).get<double>(), 0) << key;
  }
  EXPECT_EQ(out.at("schemas"), 2);
  EXPECT_EQ(out.at("fully_right"), 1);
  EXPECT_EQ(out.at("wrong_accepts"), 0);
  EXPECT_EQ(out.at("refused"), 1);
  const Outcome head = Run({"grammar", "head-bench", "--model", kSource + "/models/nano",
                            "--documents", root_ + "/schemas.jsonl", "--json"});
  ASSERT_EQ(head.code, 0) << head.err;
  EXPECT_GT(LastLine(head.out).at("ratio").get<double>(), 0);
}

}  // namespace
}  // namespace chimera
