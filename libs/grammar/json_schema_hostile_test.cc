// Schemas written to cost time or memory: each ends in an error, or quickly.
#include <ctime>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "grammar/grammar_testing.h"
#include "grammar/json_schema.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

std::string List(int n, const std::function<std::string(int)>& item) {
  std::string all;
  for (int i = 0; i < n; ++i) absl::StrAppend(&all, i ? "," : "", item(i));
  return all;
}

// Nested `depth` times.
std::string Nested(std::string_view open, std::string_view close, int depth, std::string inner) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += open;
  text += inner;
  for (int i = 0; i < depth; ++i) text += close;
  return text;
}

// What a schema may take to compile; leaves room for slow machines. Sanitizers take ten times as
// long.
#ifdef __SANITIZE_ADDRESS__
constexpr double kSecondsMax = 30;
#else
constexpr double kSecondsMax = 3;
#endif

// Compiles for both uses; returns the worst status.
absl::Status Compiled(const std::string& schema) {
  absl::Status worst;
  for (const GrammarUse use : {GrammarUse::kCheck, GrammarUse::kGenerate}) {
    const std::clock_t begin = std::clock();
    const auto tables = CompileJsonSchema(schema, {.use = use});
    EXPECT_LT(double(std::clock() - begin) / CLOCKS_PER_SEC, kSecondsMax) << schema.substr(0, 200);
    if (!tables.ok()) worst = tables.status();
  }
  return worst;
}

void ExpectLimit(const std::string& schema) {
  const absl::Status status = Compiled(schema);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted)
      << schema.substr(0, 200) << " " << status;
}

TEST(JsonSchemaHostile, ChoicesThatMultiply) {
  const auto choice = [](int i) {
    return absl::StrCat(R"({"anyOf":[{"properties":{"a)", i,
                        R"(":{"type":"null"}}},{"properties":{"b)", i, R"(":{"type":"null"}}}]})");
  };
  ExpectLimit(absl::StrCat(R"({"type":"object","allOf":[)", List(40, choice), "]}"));
  const auto either = [](int i) {
    return absl::StrCat(R"({"minProperties":)", i + 1, R"(,"required":["k)", i, R"("]})");
  };
  ExpectLimit(absl::StrCat(R"({"type":"object","oneOf":[)", List(30, either), "]}"));
  const auto need = [](int i) { return absl::StrCat("\"a", i, "\":[\"b", i, "\"]"); };
  ExpectLimit(absl::StrCat(R"({"type":"object","dependentRequired":{)", List(40, need), "}}"));
}

TEST(JsonSchemaHostile, ReferenceBombs) {
  const auto twice = [](int i) {
    return absl::StrCat("\"d", i, R"(":{"allOf":[{"$ref":"#/$defs/d)", i + 1,
                        R"("},{"$ref":"#/$defs/d)", i + 1, "\"}]}");
  };
  ExpectLimit(absl::StrCat(R"({"$ref":"#/$defs/d0","$defs":{)", List(60, twice), R"(,"d60":{}}})"));
  const auto chain = [](int i) {
    return absl::StrCat("\"d", i, R"(":{"$ref":"#/$defs/d)", i + 1, "\"}");
  };
  ExpectLimit(
      absl::StrCat(R"({"$ref":"#/$defs/d0","$defs":{)", List(5000, chain), R"(,"d5000":{}}})"));
  const auto any = [](int i) {
    return absl::StrCat("\"d", i, R"(":{"anyOf":[{"$ref":"#/$defs/d)", i + 1, "\"},{\"const\":", i,
                        "}]}");
  };
  ExpectLimit(
      absl::StrCat(R"({"$ref":"#/$defs/d0","$defs":{)", List(5000, any), R"(,"d5000":{}}})"));
  // Each pair of properties merges two more: subsets of the definitions without end.
  const auto mix = [](int i) {
    return absl::StrCat("\"d", i, R"(":{"properties":{"x":{"$ref":"#/$defs/d)", (i * 7 + 1) % 40,
                        R"("},"y":{"$ref":"#/$defs/d)", (i * 11 + 3) % 40, "\"}}}");
  };
  const auto all = [](int i) { return absl::StrCat(R"({"$ref":"#/$defs/d)", i * 5, "\"}"); };
  Compiled(absl::StrCat(R"({"type":"object","allOf":[)", List(8, all), R"(],"$defs":{)",
                        List(40, mix), "}}"))
      .IgnoreError();
}

TEST(JsonSchemaHostile, HugeFigures) {
  ExpectLimit(R"({"type":"string","minLength":1e9})");
  ExpectLimit(R"({"type":"array","minItems":1000000000000})");
  ExpectLimit(R"({"type":"integer","multipleOf":1e9})");
  ExpectLimit(R"({"type":"object","minProperties":100000})");
  EXPECT_TRUE(Compiled(R"({"type":"string","maxLength":1e300})").ok());
  EXPECT_TRUE(Compiled(R"({"type":"array","maxItems":4294967296})").ok());
  EXPECT_TRUE(Compiled(R"({"type":"number","minimum":-1e300,"maximum":1e300})").ok());
  EXPECT_FALSE(Compiled(R"({"type":"string","pattern":"(a{1000}){1000}"})").ok());
  EXPECT_TRUE(
      Compiled(R"({"type":"string","pattern":"^(a|b)*a(a|b){9}$","maxLength":1000000})").ok());
  // Counts within counts: nobody closes that.
  EXPECT_FALSE(Compiled(Nested(R"({"type":"array","minItems":1000,"items":)", "}", 8, "{}")).ok());
}

TEST(JsonSchemaHostile, HugeDocuments) {
  ExpectLimit(Nested("[", "]", 1000, ""));
  ExpectLimit(Nested(R"({"items":)", "}", 1000, "{}"));
  ExpectLimit(std::string(2 << 20, ' ') + "{}");
  EXPECT_TRUE(Compiled(Nested(R"({"type":"array","items":)", "}", 250, "{}")).ok());
  EXPECT_TRUE(
      Compiled(absl::StrCat(R"({"enum":[)",
                            List(20000, [](int i) { return absl::StrCat("\"value", i, "\""); }),
                            "]}"))
          .ok());
  ExpectLimit(absl::StrCat(R"({"enum":[)",
                           List(20000, [](int i) { return absl::StrCat(i * 3, ".5"); }), "]}"));
  EXPECT_TRUE(
      Compiled(absl::StrCat(R"({"type":"string","const":")", std::string(300000, 'x'), "\"}"))
          .ok());
  ExpectLimit(absl::StrCat(R"({"type":"string","const":")", std::string(1000000, 'x'), "\"}"));
  ExpectLimit(
      absl::StrCat(R"({"type":"string","not":{"const":")", std::string(300000, 'x'), "\"}}"));
  ExpectLimit(absl::StrCat(R"({"type":"object","required":[)",
                           List(100, [](int i) { return absl::StrCat("\"k", i, "\""); }), "]}"));
  Compiled(absl::StrCat(
               R"({"patternProperties":{)",
               List(2000, [](int i) { return absl::StrCat("\"^.{", i % 50, "}a", i, "\":{}"); }),
               "}}"))
      .IgnoreError();
}

TEST(JsonSchemaHostile, ManyPatterns) {
  const auto pattern = [](int i) {
    return absl::StrCat("{\"pattern\":\".*((a?){1000}){", i % 40 + 1, "}b", i, "\"}");
  };
  ExpectLimit(absl::StrCat(R"({"type":"string","anyOf":[)", List(1000, pattern), "]}"));
  // Names of properties beside every one of the patterns.
  const auto name = [](int i) {
    return absl::StrCat("\"", std::string(100, char('a' + i % 26)), i, "\":{}");
  };
  const auto names = [](int i) { return absl::StrCat("\"^", i, "\":{\"const\":", i, "}"); };
  ExpectLimit(absl::StrCat(R"({"type":"object","properties":{)", List(5000, name),
                           R"(},"patternProperties":{)", List(30, names), "}}"));
}

TEST(JsonSchemaHostile, EqualTextsGiveEqualTables) {
  const char* schema = R"({"type":"object","properties":{"a":{"allOf":[{"pattern":"^[a-z]*$"},)"
                       R"({"pattern":"b"},{"format":"hostname"}]}},)"
                       R"("patternProperties":{"x":{},"y$":{}}})";
  for (const GrammarUse use : {GrammarUse::kCheck, GrammarUse::kGenerate}) {
    const auto one = CompileJsonSchema(schema, {.use = use});
    const std::string padding(100000, 'x');  // other addresses
    const auto two = CompileJsonSchema(schema, {.use = use});
    ASSERT_TRUE(one.ok() && two.ok());
    ASSERT_EQ(one->edges.size(), two->edges.size());
    for (size_t i = 0; i < one->edges.size(); ++i) EXPECT_EQ(one->edges[i].to, two->edges[i].to);
  }
}

// Many optional properties stay few readings.
TEST(JsonSchemaHostile, WideObjects) {
  const std::string schema = absl::StrCat(
      R"({"type":"object","additionalProperties":false,"properties":{)",
      List(
          2000,
          [](int i) { return absl::StrCat("\"name", i * 7919 % 10007, "\":{\"type\":\"null\"}"); }),
      "}}");
  ASSERT_TRUE(Compiled(schema).ok());
  auto generate = CompileJsonSchema(schema, {.use = GrammarUse::kGenerate});
  auto check = CompileJsonSchema(schema, {.use = GrammarUse::kCheck});
  StateTable generating(std::make_shared<RuleMachine>(*std::move(generate)));
  StateTable checking(std::make_shared<RuleMachine>(*std::move(check)));
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const std::string text = RandomText(&generating, seed, 200);
    EXPECT_EQ(FirstFault(&checking, text), -1) << text;
  }
  EXPECT_TRUE(generating.status().ok()) << generating.status();
}

}  // namespace
}  // namespace chimera
