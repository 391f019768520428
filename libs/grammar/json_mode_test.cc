#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "grammar/grammar_testing.h"
#include "grammar/json_schema.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

StateTable JsonTable(GrammarUse use) { return StateTable(MakeJsonMachine(use)); }

std::string Repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

const char* const kAccepted[] = {"null",
                                 "true",
                                 "false",
                                 "0",
                                 "-0",
                                 "-1",
                                 "10",
                                 "1.5",
                                 "0.001",
                                 "1e5",
                                 "1E+5",
                                 "1e-05",
                                 "0e0",
                                 "-0.0E-0",
                                 "123456789012345678901234567890",
                                 "1e999",
                                 "0.10000000000000000000001",
                                 R"("")",
                                 R"("a")",
                                 R"("\"\\\/\b\f\n\r\t")",
                                 R"("\u0000")",
                                 R"("\uD834\uDD1e")",
                                 R"("\uD800")",
                                 R"("\uDC00\uD800")",
                                 R"("\ud800\n")",
                                 R"("\ud800\ud800\udc00")",
                                 "\"\x7F\"",
                                 "\"é\xE2\x82\xAC\xF0\x9F\x98\x80\"",
                                 "\"\xEF\xBB\xBF\"",
                                 "\"\xC2\x85\"",
                                 "\"\xF4\x8F\xBF\xBF\"",
                                 "[]",
                                 "[ ]",
                                 "[1]",
                                 "[1,2 , 3]",
                                 "[[],[[]],{}]",
                                 "{}",
                                 "{ }",
                                 R"({"":0})",
                                 R"({"a":1,"a":2})",
                                 R"({"a":{"b":[{"c":null}]}})",
                                 R"({"\u0061":1})",
                                 " \t\r\n 1 \t\r\n ",
                                 "\n[\n1\n,\n2\n]\n",
                                 R"(["a","b"])",
                                 "[null,true,false,0,\"\"]"};

TEST(JsonMode, AcceptsWhatRfc8259Does) {
  StateTable table = JsonTable(GrammarUse::kCheck);
  for (const char* text : kAccepted) {
    EXPECT_EQ(FirstFault(&table, text), -1) << text;
  }
  EXPECT_EQ(FirstFault(&table, Repeated("[", 1000) + Repeated("]", 1000)), -1);
  EXPECT_EQ(FirstFault(&table, Repeated("{\"a\":", 1000) + "1" + Repeated("}", 1000)), -1);
  EXPECT_EQ(FirstFault(&table, std::string(100000, ' ') + "1"), -1);
  EXPECT_EQ(FirstFault(&table, std::string(100000, '1')), -1);
}

const char* const kRejected[] = {"",
                                 " ",
                                 "nul",
                                 "nulll",
                                 "True",
                                 "NULL",
                                 "undefined",
                                 "NaN",
                                 "Infinity",
                                 "-Infinity",
                                 "01",
                                 "-01",
                                 "00",
                                 "-",
                                 "+1",
                                 ".5",
                                 "1.",
                                 "-.5",
                                 "1.e5",
                                 "1e",
                                 "1e+",
                                 "1E-",
                                 "0x10",
                                 "1_000",
                                 "1 2",
                                 "1,2",
                                 "- 1",
                                 "1. 5",
                                 "0e",
                                 "--1",
                                 "1e1.5",
                                 "1e5e5",
                                 "1a",
                                 "\xEF\xBC\x91",
                                 R"(")",
                                 R"("a)",
                                 R"('a')",
                                 R"("\x41")",
                                 R"("\u12")",
                                 R"("\u12G4")",
                                 R"("\U0041")",
                                 R"("\a")",
                                 R"("\0")",
                                 R"("\)",
                                 R"("\")",
                                 R"("\u")",
                                 "\"\n\"",
                                 "\"\t\"",
                                 "\"\x1F\"",
                                 R"("a"b")",
                                 R"("a""b")",
                                 "\"\x80\"",
                                 "\"\xC0\x80\"",
                                 "\"\xC1\xBF\"",
                                 "\"\xE0\x80\x80\"",
                                 "\"\xED\xA0\x80\"",
                                 "\"\xF4\x90\x80\x80\"",
                                 "\"\xF8\x88\x80\x80\x80\"",
                                 "\"\xC3\"",
                                 "\"\xFF\"",
                                 "\"\xE2\x82\"",
                                 "\xEF\xBB\xBF{}",
                                 "\xEF\xBB\xBF",
                                 "[",
                                 "]",
                                 "[1",
                                 "[1,",
                                 "[1,]",
                                 "[,1]",
                                 "[,]",
                                 "[1,,2]",
                                 "[1 2]",
                                 "[1}",
                                 "[1:2]",
                                 "[\"a\":1]",
                                 "[]]",
                                 "[1]x",
                                 "{",
                                 "}",
                                 "{\"a\"",
                                 "{\"a\":",
                                 "{\"a\":1",
                                 "{\"a\":1,",
                                 "{\"a\":1,}",
                                 "{,}",
                                 "{\"a\" 1}",
                                 "{\"a\",1}",
                                 "{a:1}",
                                 "{1:1}",
                                 "{'a':1}",
                                 "{null:1}",
                                 "{\"a\":1 \"b\":2}",
                                 "{\"a\"::1}",
                                 "{\"a\":1:2}",
                                 "{\"a\":}",
                                 "{:1}",
                                 "{}}",
                                 "{\"a\":1]",
                                 "{[]:1}",
                                 "{}{}",
                                 "1//x",
                                 "/*x*/1",
                                 "1#",
                                 "#1",
                                 "\f1",
                                 "\v1",
                                 "\xC2\xA0"
                                 "1",
                                 "1\xC2\xA0",
                                 "[1\f]",
                                 "\xE2\x80\x8B"
                                 "1",
                                 "[\"a\",\n4\n,1,",
                                 "[a]",
                                 "[\"",
                                 "{\"a\":\"b\"}#",
                                 "\\u0031",
                                 "[1]\xEF\xBB\xBF",
                                 "tru e",
                                 "t",
                                 "[nul]",
                                 "[-]",
                                 "[1.]",
                                 "[\"\\u00A\"]"};

TEST(JsonMode, RejectsTheRest) {
  StateTable table = JsonTable(GrammarUse::kCheck);
  for (const char* text : kRejected) {
    EXPECT_NE(FirstFault(&table, text), -1) << text;
  }
  EXPECT_NE(FirstFault(&table, std::string("1\0", 2)), -1);
  EXPECT_NE(FirstFault(&table, std::string("\"\0\"", 3)), -1);
  EXPECT_NE(FirstFault(&table, std::string("\0", 1)), -1);
  EXPECT_NE(FirstFault(&table, Repeated("[", 1000) + Repeated("]", 999)), -1);
}

TEST(JsonMode, CapsWhiteSpaceOnlyWhenGenerating) {
  StateTable generate = JsonTable(GrammarUse::kGenerate), check = JsonTable(GrammarUse::kCheck);
  const std::string twenty(20, ' ');
  EXPECT_EQ(FirstFault(&generate, "[" + twenty + "1" + twenty + "]\n"), -1);
  EXPECT_EQ(FirstFault(&generate, "[" + twenty + "\n1]"), 21);
  EXPECT_EQ(FirstFault(&check, "[" + twenty + "\n1]"), -1);
  EXPECT_EQ(FirstFault(&generate, "[1]\n\n"), 4);
  EXPECT_EQ(FirstFault(&check, "[1]\n\n"), -1);
  EXPECT_EQ(FirstFault(&generate, R"("\ud800")"), 7);
}

TEST(JsonMode, GeneratesJson) {
  StateTable generate = JsonTable(GrammarUse::kGenerate), check = JsonTable(GrammarUse::kCheck);
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    const std::string text = RandomText(&generate, seed, int(seed % 120));
    EXPECT_TRUE(nlohmann::json::accept(text)) << text;
    EXPECT_EQ(FirstFault(&check, text), -1) << text;
  }
}

TEST(JsonMode, ClosesFromAnywhere) {
  StateTable table = JsonTable(GrammarUse::kGenerate);
  const GrammarState state = table.Run(table.start(), R"({"a":[1,{"b":"x\u00)");
  EXPECT_EQ(table.ClosingText(state).substr(2), "\"}]}");
  EXPECT_EQ(table.CloseBytes(state), 6u);
}

// What lies around on most machines. A parser of its own says which of it is JSON.
TEST(JsonMode, AcceptsRealFiles) {
  StateTable table = JsonTable(GrammarUse::kCheck);
  int files = 0;
  int64_t bytes = 0;
  std::error_code error;
  const auto skip = std::filesystem::directory_options::skip_permission_denied;
  for (std::filesystem::recursive_directory_iterator it("/usr", skip, error), end;
       it != end && files < 3000 && bytes < (32 << 20); it.increment(error)) {
    if (error || it.depth() > 8 || it->path().extension() != ".json") continue;
    if (!it->is_regular_file(error) || error) continue;
    const auto text = ReadFile(it->path().string(), 4 << 20);
    if (!text.ok()) continue;
    const bool byte_order_mark = text->starts_with("\xEF\xBB\xBF");
    if (byte_order_mark || !nlohmann::json::accept(*text)) continue;
    ++files;
    bytes += static_cast<int64_t>(text->size());
    EXPECT_EQ(FirstFault(&table, *text), -1) << it->path();
  }
  if (files == 0) GTEST_SKIP() << "no .json files below /usr";
}

}  // namespace
}  // namespace chimera
