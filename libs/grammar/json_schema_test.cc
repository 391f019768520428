#include "grammar/json_schema.h"

#include <nlohmann/json.hpp>

#include "base/string_view.h"
#include "grammar/grammar_testing.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

struct Case {
  const char* schema;
  std::vector<const char*> fits, fails;
};

// Each text against the rules for checking; what is generated has to pass them too.
void RunCases(const std::vector<Case>& cases) {
  for (const auto& [schema, fits, fails] : cases) {
    auto check = CompileJsonSchema(schema, {.use = GrammarUse::kCheck});
    auto generate = CompileJsonSchema(schema, {.use = GrammarUse::kGenerate});
    ASSERT_TRUE(check.ok() && generate.ok()) << schema << check.status() << generate.status();
    StateTable table(std::make_shared<RuleMachine>(*std::move(check)));
    StateTable generating(std::make_shared<RuleMachine>(*std::move(generate)));
    for (const char* text : fits) EXPECT_EQ(FirstFault(&table, text), -1) << schema << " " << text;
    for (const char* text : fails) EXPECT_NE(FirstFault(&table, text), -1) << schema << " " << text;
    for (uint64_t seed = 0; seed < 30; ++seed) {
      const std::string text = RandomText(&generating, seed, int(seed * 4));
      EXPECT_TRUE(nlohmann::json::accept(text)) << schema << " " << text;
      EXPECT_EQ(FirstFault(&table, text), -1) << schema << " " << text;
    }
    EXPECT_TRUE(generating.status().ok() && table.status().ok()) << schema;
  }
}

TEST(JsonSchema, TypesAndValues) {
  RunCases({{"true", {"1", "{}"}, {"", "[1"}},
            {"{}", {"null", "[{}]"}, {"nul"}},
            {R"({"type":"null"})", {"null", " null\n"}, {"0", "false"}},
            {R"({"type":["boolean","string"]})", {"true", "\"\""}, {"1", "null"}},
            {R"({"type":"integer"})", {"0", "-7", "1.0", "1e2", "-0"}, {"1.5", "\"1\"", "1e-1"}},
            {R"({"type":"number"})", {"0", "-7.25", "1E+2"}, {"01", "null"}},
            {R"({"enum":["a","\u00e9",1,null,true,[1,{"b":2}]]})",
             {"\"a\"", "\"\\u0061\"", "\"\\u00E9\"", "1.0", "null", "true", "[1, {\"b\":2}]",
              "[10e-1,{\"\\u0062\":2.0}]"},
             {"\"b\"", "2", "false", "[1]", "[1,{\"b\":3}]", "[1,{\"b\":2,\"c\":0}]"}},
            {R"({"const":{"a":[]}})", {"{\"a\":[]}", " { \"a\" : [ ] } "}, {"{}", "{\"a\":[0]}"}},
            {R"({"enum":[1,2,3,7,0.5],"minimum":2})", {"2", "3.0", "7"}, {"1", "0.5", "4"}},
            {R"({"type":"string","enum":["x",1]})", {"\"x\""}, {"1"}}});
}

TEST(JsonSchema, Numbers) {
  RunCases({{R"({"type":"integer","minimum":-5,"maximum":120})",
             {"-5", "0", "-0", "120", "12e1", "1.2E2", "7.0"},
             {"-6", "121", "0.5", "1e3"}},
            {R"({"type":"number","exclusiveMinimum":0,"maximum":1})",
             {"0.001", "1", "1.0", "1e-9", "10e-1"},
             {"0", "-0", "0.0", "1.0001", "-1", "2e1"}},
            {R"({"minimum":0,"exclusiveMinimum":true,"type":"number"})", {"0.1"}, {"0", "-1"}},
            {R"({"multipleOf":0.01,"type":"number"})",
             {"1", "0.25", "19.99", "1e3"},
             {"0.001", "1.005"}},
            {R"({"type":"integer","multipleOf":15})", {"0", "30", "-45", "3e1"}, {"10", "7"}},
            {R"({"minimum":3})", {"3", "\"a\"", "{}"}, {"2"}}});
}

TEST(JsonSchema, Strings) {
  RunCases(
      {{R"({"type":"string","minLength":2,"maxLength":3})",
        {"\"ab\"", "\"\xC3\xA9\xC3\xA9\"", "\"\\ud83d\\ude00b\"", "\"\\n\\t\\u0000\""},
        {"\"a\"", "\"abcd\"", "\"\xC3\xA9\""}},
       {R"({"type":"string","pattern":"^[a-z]+$","maxLength":3})",
        {"\"abc\"", "\"\\u0061\""},
        {"\"\"", "\"abcd\"", "\"A\""}},
       {R"({"type":"string","pattern":"^(ab)*$","minLength":3,"maxLength":40000})",
        {"\"abab\""},
        {"\"ab\"", "\"aba\""}},
       {R"({"type":"string","pattern":"b"})", {"\"abc\"", "\"b\""}, {"\"ac\""}},
       {R"({"type":"string","format":"date","maxLength":10})",
        {"\"2024-02-29\""},
        {"\"2023-02-29\"", "\"2023-1-1\""}},
       {R"({"type":"string","format":"date-time"})",
        {"\"1998-12-31T23:59:60Z\"", "\"2020-01-01t00:00:00.5+01:30\""},
        {"\"2020-01-01 00:00:00Z\"", "\"2020-01-01T24:00:00Z\"", "\"2020-01-01T00:00:00\""}},
       {R"({"type":"string","format":"duration"})",
        {"\"P1Y2M3DT4H5M6S\"", "\"PT1S\"", "\"P2W\""},
        {"\"P\"", "\"PT\"", "\"P1YT\"", "\"P1W2D\""}},
       {R"({"type":"string","format":"email"})",
        {"\"a.b+c@d.example\""},
        {"\"a@\"", "\"a b@c\"", "\"a..b@c\""}},
       {R"({"type":"string","format":"hostname"})",
        {"\"a-b.c1\""},
        {"\"-a\"", "\"a..b\"", "\"a_b\""}},
       {R"({"type":"string","format":"ipv4"})",
        {"\"255.0.10.1\""},
        {"\"256.0.0.1\"", "\"01.1.1.1\"", "\"1.1.1\""}},
       {R"({"type":"string","format":"ipv6"})",
        {"\"::1\"", "\"1:2:3:4:5:6:7:8\"", "\"1::8\"", "\"::\"", "\"::ffff:1.2.3.4\"",
         "\"1:2:3:4:5:6:7::\"", "\"1:2:3:4:5:6:1.2.3.4\""},
        {"\"1::2::3\"", "\"1:2:3:4:5:6:7\"", "\"12345::\"", "\"1:2:3:4:5:6:7:8::\"", "\":1\""}},
       {R"({"type":"string","format":"uuid"})",
        {"\"123e4567-e89b-12d3-A456-426614174000\""},
        {"\"123e4567e89b12d3a456426614174000\""}},
       {R"({"type":"string","format":"uri"})",
        {"\"http://a.b:80/c%20d?e=f#g\"", "\"urn:a:b\"", "\"mailto:a@b\"", "\"http://[::1]/\""},
        {"\"/a\"", "\"a b:c\"", "\"http://a/%zz\"", "\"http://[1]\""}},
       {R"({"type":"string","format":"whatever"})", {"\"x\""}, {"1"}}});
}

TEST(JsonSchema, Objects) {
  RunCases(
      {{R"({"type":"object","properties":{"a":{"type":"integer"},"b":{)"
        R"("type":"string"}},"required":["a"]})",
        {"{\"a\":1}", "{\"b\":\"\",\"a\":1}", "{\"x\":[], \"\\u0061\" : 2 }", "{\"a\":1,\"ab\":0}"},
        {"{}", "{\"a\":\"\"}", "{\"a\":1,\"b\":2}", "{\"b\":\"\"}", "{\"a\":1,}",
         "{\"\\u0061\":\"\"}"}},
       {R"({"type":"object","properties":{"a":{}},"additionalProperties":false})",
        {"{}", "{\"a\":0}"},
        {"{\"b\":0}", "{\"aa\":0}", "{\"\":0}"}},
       {R"({"type":"object","additionalProperties":{"type":"null"}})",
        {"{}", "{\"x\":null,\"\":null}"},
        {"{\"x\":0}"}},
       {R"({"type":"object","properties":{"a1":{"type":"integer"}},)"
        R"("patternProperties":{"^a":{"minimum":5},"z$":{"type":"string"}},)"
        R"("additionalProperties":false})",
        {"{\"a1\":5}", "{\"ab\":\"\"}", "{\"bz\":\"\"}", "{\"az\":\"\"}"},
        {"{\"a1\":4}", "{\"a1\":\"\"}", "{\"az\":5}", "{\"b\":1}"}},
       {R"({"type":"object","propertyNames":{"maxLength":2,"pattern":"^x"}})",
        {"{\"x\":1,\"xy\":2}"},
        {"{\"y\":1}", "{\"xyz\":1}"}},
       {R"({"type":"object","minProperties":1,"maxProperties":2})",
        {"{\"a\":1}", "{\"a\":1,\"b\":2}"},
        {"{}", "{\"a\":1,\"b\":2,\"c\":3}"}},
       {R"({"properties":{"a":{},"b":{},"c":{}},"minProperties":2,)"
        R"("additionalProperties":false,"type":"object"})",
        {"{\"c\":1,\"a\":1}"},
        {"{\"b\":1}"}},
       {R"({"type":"object","dependentRequired":{"a":["b"]}})",
        {"{\"b\":1}", "{\"a\":1,\"b\":1}", "{}"},
        {"{\"a\":1}"}},
       {R"({"type":"object","dependencies":{"a":{"properties":{"b":{"const":1}}}}})",
        {"{\"b\":2}", "{\"a\":0,\"b\":1}"},
        {"{\"a\":0,\"b\":2}"}},
       {R"({"type":"object","required":["x"]})", {"{\"x\":0}"}, {"{\"y\":0}"}},
       {R"({"type":"object","properties":{"a":false}})", {"{\"b\":1}"}, {"{\"a\":1}"}}});
}

TEST(JsonSchema, Arrays) {
  RunCases(
      {{R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
        {"[1]", "[1,2 ,3]"},
        {"[]", "[1,2,3,4]", "[\"\"]", "[1,]"}},
       {R"({"type":"array","prefixItems":[{"const":1},{"type":"string"}],"items":{"type":"null"}})",
        {"[]", "[1]", "[1,\"\"]", "[1,\"\",null,null]"},
        {"[2]", "[1,1]", "[1,\"\",1]"}},
       {R"({"items":[{"const":1}],"additionalItems":false,"type":"array"})",
        {"[]", "[1]"},
        {"[1,1]", "[0]"}},
       {R"({"type":"array","items":{"type":"array","items":{"type":"string",)"
        R"("minLength":2},"minItems":2},"minItems":2})",
        {"[[\"ab\",\"cd\"],[\"ab\",\"cd\"]]"},
        {"[[\"ab\",\"cd\"]]", "[[\"ab\"],[]]"}},
       {R"({"type":"array","minItems":3})", {"[1,2,3]"}, {"[1,2]"}},
       {R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"}},
       {R"({"type":"array","uniqueItems":true,"maxItems":1})", {"[1]"}, {"[1,1]"}}});
}

TEST(JsonSchema, Combinations) {
  RunCases(
      {{R"({"anyOf":[{"type":"string"},{"type":"integer","minimum":3}]})",
        {"\"\"", "3"},
        {"2", "null"}},
       {R"({"oneOf":[{"type":"integer"},{"type":"string"}]})", {"1", "\"\""}, {"1.5", "null"}},
       {R"({"oneOf":[{"required":["a"]},{"required":["b"]}],"type":"object"})",
        {"{\"a\":1}", "{\"b\":1}"},
        {"{}", "{\"a\":1,\"b\":1}"}},
       {R"({"oneOf":[{"minimum":5},{"maximum":7}],"type":"integer"})", {"4", "8"}, {"5", "6", "7"}},
       {R"({"oneOf":[{"properties":{"k":{"const":"a"},"v":{"type":"string"}},)"
        R"("required":["k"]},{"properties":{"k":{"const":"b"},"v":{)"
        R"("type":"null"}},"required":["k"]}],"type":"object"})",
        {"{\"k\":\"a\",\"v\":\"\"}", "{\"v\":null,\"k\":\"b\"}"},
        {"{\"k\":\"a\",\"v\":null}", "{\"k\":\"c\"}", "{}"}},
       {R"({"allOf":[{"type":"object","properties":{"a":{"minimum":2}}},{)"
        R"("properties":{"a":{"type":"integer"},"b":{}},"required":["a"],)"
        R"("additionalProperties":false}]})",
        {"{\"a\":2}", "{\"b\":0,\"a\":3}"},
        {"{\"a\":1}", "{\"a\":2,\"c\":0}", "{}"}},
       {R"({"not":{"type":"string"}})", {"1", "{}"}, {"\"\""}},
       {R"({"type":"string","not":{"enum":["a","b"]}})",
        {"\"c\"", "\"ab\"", "\"\""},
        {"\"a\"", "\"\\u0062\""}},
       {R"({"type":"object","not":{"required":["x"]}})", {"{\"y\":1}"}, {"{\"x\":1}"}},
       {R"({"not":{"not":{"type":"null"}}})", {"null"}, {"1"}},
       {R"({"type":"integer","not":{"const":5}})", {"4", "6", "-5"}, {"5", "5.0"}},
       {R"({"type":"object","if":{"properties":{"k":{"const":1}},)"
        R"("required":["k"]},"then":{"required":["a"]},"else":{"required":["b"]}})",
        {"{\"k\":1,\"a\":0}", "{\"k\":2,\"b\":0}", "{\"b\":0}"},
        {"{\"k\":1,\"b\":0}", "{\"a\":0}"}}});
}

TEST(JsonSchema, References) {
  RunCases({{R"({"$ref":"#/$defs/list","$defs":{"list":{"type":"object","properties":{)"
             R"("next":{"$ref":"#/$defs/list"}},"additionalProperties":false}}})",
             {"{}", "{\"next\":{\"next\":{}}}"},
             {"{\"next\":1}", "[]"}},
            {R"({"type":"array","items":{"$ref":"#"}})", {"[]", "[[],[[]]]"}, {"[1]"}},
            {R"({"$id":"http://a/b.json","properties":{"x":{"$ref":"c.json"},"y":{)"
             R"("$ref":"#n"}},"type":"object","$defs":{"c":{"$id":"c.json",)"
             R"("type":"null"},"d":{"$anchor":"n","type":"boolean"}}})",
             {"{\"x\":null,\"y\":true}"},
             {"{\"x\":1}", "{\"y\":1}"}},
            {R"({"definitions":{"a/b~c d":{"type":"null"}},"$ref":"#/definitions/a~1b~0c%20d"})",
             {"null"},
             {"1"}},
            {R"({"$ref":"#/definitions/s","maxLength":2,"definitions":{"s":{"type":"string"}}})",
             {"\"ab\""},
             {"\"abc\"", "1"}},
            {R"({"title":"t","$comment":"c","x-a":{"type":"null"},)"
             R"("contentEncoding":"base64","readOnly":true,"default":3,)"
             R"("type":"string"})",
             {"\"\""},
             {"null"}}});
}

TEST(JsonSchema, NamesWhatItRefuses) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"properties":{"a/b":{"type":"array","uniqueItems":true}}})",
       "#/properties/a~1b/uniqueItems: "},
      {R"({"items":{"contains":{}}})", "#/items/contains: "},
      {R"({"unevaluatedProperties":false})", "#/unevaluatedProperties: "},
      {R"({"type":"array","unevaluatedItems":{}})", "#/unevaluatedItems: "},
      {R"({"properties":{"a":{"not":{"items":{"type":"string"}}}}})", "#/properties/a/not/items: "},
      {R"({"oneOf":[{"multipleOf":2},{"multipleOf":3}]})", "#/oneOf: schemas 0 and 1"},
      {R"({"properties":{"a":{"type":"text"}}})", "#/properties/a/type: "},
      {R"({"properties":{"a":{"pattern":"a(?=b)c"}}})", "#/properties/a/pattern: "},
      {R"({"properties":{"a":{"$ref":"#/nowhere"}}})", "#/properties/a/$ref: "},
      {R"({"properties":{"a":{"$ref":"other.json#/x"}}})", "#/properties/a/$ref: "},
      {R"({"$dynamicRef":"#a"})", "#/$dynamicRef: "},
      {R"({"items":3})", "#/items: is not a schema"},
      {R"({"minLength":-1})", "#/minLength: "},
      {R"({"required":"a"})", "#/required: "},
      {R"({"anyOf":[]})", "#/anyOf: "},
      {R"({"$ref":"#"})", "#: refers to itself"},
      {R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})", "refers to itself"},
      {R"({"properties":{"a":1,"a":2}})", "written twice"},
      {"{", "not JSON"},
      {"", "not JSON"},
      {"false", "no text fits"},
      {R"({"type":"string","enum":[1]})", "no text fits"},
      {R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "no text fits"}};
  for (const auto& [schema, words] : cases) {
    const auto tables = CompileJsonSchema(schema, {.use = GrammarUse::kGenerate});
    ASSERT_FALSE(tables.ok()) << schema;
    EXPECT_EQ(tables.status().code(), absl::StatusCode::kInvalidArgument) << tables.status();
    EXPECT_NE(tables.status().message().find(words), std::string::npos)
        << schema << tables.status();
  }
}

TEST(JsonSchema, CompactHasNoWhiteSpace) {
  auto tables = CompileJsonSchema(R"({"type":"object","required":["a"],"properties":{"a":{}}})",
                                  {.use = GrammarUse::kGenerate, .compact = true});
  ASSERT_TRUE(tables.ok());
  StateTable table(std::make_shared<RuleMachine>(*std::move(tables)));
  EXPECT_EQ(FirstFault(&table, R"({"a":[1,{"b":2}]})"), -1);
  for (const char* text :
       {R"({ "a":1})", R"({"a": 1})", R"({"a":[1, 2]})", " {\"a\":1}", "{\"a\":1}\n"}) {
    EXPECT_NE(FirstFault(&table, text), -1) << text;
  }
}

TEST(JsonSchema, GeneratesPropertiesInOrder) {
  auto tables = CompileJsonSchema(R"({"type":"object","properties":{"b":{"type":"null"},"a":{)"
                                  R"("type":"null"},"c":{"type":"null"}},"required":["a"]})",
                                  {.use = GrammarUse::kGenerate});
  ASSERT_TRUE(tables.ok());
  StateTable table(std::make_shared<RuleMachine>(*std::move(tables)));
  for (const char* text :
       {R"({"a":null})", R"({"b":null,"a":null})", R"({"a":null,"c":null,"x":1})"}) {
    EXPECT_EQ(FirstFault(&table, text), -1) << text;
  }
  for (const char* text :
       {R"({"b":null})", R"({"a":null,"b":null})", R"({"c":null)", R"({"a":null,"x":1,"c":null})",
        R"({"a":null,"a":null})", R"({"a":null,"a)"}) {
    EXPECT_NE(FirstFault(&table, text), -1) << text;
  }
}

TEST(JsonSchema, PartOfAnotherGrammar) {
  RuleBuilder b;
  const uint32_t root = b.AddRule("root");
  const auto value = AddJsonSchemaRule(&b, R"({"type":"array","items":{"type":"boolean"}})", {});
  ASSERT_TRUE(value.ok());
  const uint32_t in = b.AddPlace(root), out = b.AddPlace(root);
  b.Text(b.start(root), "call(", in);
  b.Call(in, *value, out);
  b.Text(out, ")", b.end(root));
  auto tables = b.Build(root);
  ASSERT_TRUE(tables.ok());
  StateTable table(std::make_shared<RuleMachine>(*std::move(tables)));
  EXPECT_EQ(FirstFault(&table, "call([true, false])"), -1);
  EXPECT_EQ(FirstFault(&table, "call([1])"), 6);
}

}  // namespace
}  // namespace chimera
