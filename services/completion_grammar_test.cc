// Completions under a grammar, over loopback sockets and in process: what comes out is a text of
// the language at every max_tokens, whatever the model would like to say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/model_testing.h"
#include "services/serving_testing.h"

namespace chimera {
namespace {

using testing::HasSubstr;
namespace pb = surface::v1;

constexpr char kPersonSchema[] = R"({"type": "object", "additionalProperties": false,
  "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer",
  "minimum": 0, "maximum": 150}, "tags": {"type": "array", "items": {"enum": ["a", "b"]},
  "maxItems": 3}}, "required": ["name", "age"]})";

// [A-Z][a-z]{2,8}, [0-9]{1,3}\. by hand.
bool IsNameAndNumber(std::string_view text) {
  const auto run = [&text](char low, char high) {
    size_t n = 0;
    while (n < text.size() && text[n] >= low && text[n] <= high) ++n;
    text.remove_prefix(n);
    return n;
  };
  if (text.empty() || text[0] < 'A' || text[0] > 'Z') return false;
  text.remove_prefix(1);
  const size_t letters = run('a', 'z');
  if (letters < 2 || letters > 8 || !text.starts_with(", ")) return false;
  text.remove_prefix(2);
  const size_t digits = run('0', '9');
  return digits >= 1 && digits <= 3 && text == ".";
}

pb::CompleteRequest Json(uint64_t seed, int max_tokens) {
  pb::CompleteRequest request = SeededRequest(seed, max_tokens);
  request.set_temperature(1.5f);
  request.set_mode("json");
  return request;
}

TEST(CompletionGrammar, JsonIsCompleteAtAnyNumberOfTokens) {
  Serving serving(TestModelFolder("grammar_json", true), {});
  int closing = 0;
  for (int max_tokens = 1; max_tokens <= 40; ++max_tokens) {
    const Completion out = serving.Complete(Json(uint64_t(max_tokens), max_tokens));
    ASSERT_TRUE(out.status.ok()) << out.status.error_message();
    EXPECT_TRUE(nlohmann::json::accept(out.text)) << out.text;
    EXPECT_TRUE(out.finished.grammar().complete());
    EXPECT_EQ(out.finished.grammar().open_bytes(), 0);
    EXPECT_LE(out.finished.usage().completion_tokens(), max_tokens);
    closing += out.finished.grammar().budget_steps();
  }
  EXPECT_GT(closing, 0);
}

TEST(CompletionGrammar, SchemasRegexAndRulesHold) {
  Serving serving(TestModelFolder("grammar_kinds", true), {});
  for (uint64_t seed = 0; seed < 12; ++seed) {
    pb::CompleteRequest request = SeededRequest(seed, 200);
    request.set_temperature(1.0f);
    request.set_json_schema(kPersonSchema);
    Completion out = serving.Complete(request);
    ASSERT_TRUE(out.status.ok()) << out.status.error_message();
    const nlohmann::json value = nlohmann::json::parse(out.text, nullptr, false);
    ASSERT_TRUE(value.is_object()) << out.text;
    EXPECT_TRUE(value.at("name").is_string());
    EXPECT_GE(value.at("age").get<int>(), 0);
    EXPECT_LE(value.at("age").get<int>(), 150);
    EXPECT_GT(out.finished.grammar().forced_tokens(), 0);  // {"name": is nobody's choice

    request.set_regex("[A-Z][a-z]{2,8}, [0-9]{1,3}\\.");
    out = serving.Complete(request);
    EXPECT_TRUE(IsNameAndNumber(out.text)) << out.text;

    request.set_ebnf("root ::= \"(\" item (\", \" item){1,3} \")\"\nitem ::= [a-c]+ | root");
    out = serving.Complete(request);
    int depth = 0;
    for (const char c : out.text) depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    EXPECT_EQ(depth, 0) << out.text;
    EXPECT_TRUE(out.finished.grammar().complete()) << out.text;
  }
}

TEST(CompletionGrammar, OneSeedOneTextLocallyAndRemotely) {
  const std::string folder = TestModelFolder("grammar_same", true);
  std::vector<std::vector<int32_t>> first;
  for (const bool remote : {false, true}) {
    ServingOptions options;
    options.remote_knot = remote;
    options.threads = remote ? 2 : 1;
    Serving serving(folder, options);
    std::vector<std::vector<int32_t>> texts;
    for (uint64_t seed = 0; seed < 6; ++seed) {
      texts.push_back(serving.Complete(Json(seed, 60)).token_ids);
      pb::CompleteRequest request = SeededRequest(seed, 80);
      request.set_json_schema(kPersonSchema);
      texts.push_back(serving.Complete(request).token_ids);
    }
    if (first.empty()) first = texts;
    EXPECT_EQ(texts, first);
  }
}

// A mask of everything that is text changes nothing: the grammar is all there is between them.
TEST(CompletionGrammar, WithoutAConstraintTheTextIsTheFreeOne) {
  Serving serving(TestModelFolder("grammar_free", true), {});
  int same = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    pb::CompleteRequest request = SeededRequest(seed, 4);
    request.set_temperature(0);
    request.set_prompt("prompt " + std::to_string(seed));
    const Completion free = serving.Complete(request);
    request.set_regex("(?s).*");
    const Completion any = serving.Complete(request);
    ASSERT_TRUE(any.status.ok()) << any.status.error_message();
    // Not always: bytes that are no part of a character may not stand under a grammar.
    same += any.token_ids == free.token_ids;
    EXPECT_EQ(any.finished.grammar().forced_tokens(), 0);
  }
  EXPECT_GT(same, 0);
  pb::CompleteRequest request = SeededRequest(3, 30);
  request.set_regex("[xyz]+");
  EXPECT_EQ(serving.Complete(request).text.find_first_not_of("xyz"), std::string::npos);
}

TEST(CompletionGrammar, LogprobsOfDrawsOnly) {
  Serving serving(TestModelFolder("grammar_logprobs", true), {});
  pb::CompleteRequest request = SeededRequest(3, 100);
  request.set_json_schema(kPersonSchema);
  request.set_logprobs(2);
  const Completion out = serving.Complete(request);
  ASSERT_TRUE(out.status.ok()) << out.status.error_message();
  EXPECT_EQ(out.logprobs.size(), out.token_ids.size());
  EXPECT_EQ(out.finished.grammar().forced_tokens(), 0);
  EXPECT_TRUE(out.finished.grammar().complete());
}

TEST(CompletionGrammar, WhatCannotBeDoneIsSaid) {
  Serving serving(TestModelFolder("grammar_errors", true), {});
  const auto refused = [&](void (*change)(pb::CompleteRequest*), grpc::StatusCode code) {
    pb::CompleteRequest request = SeededRequest(1, 20);
    change(&request);
    const Completion out = serving.Complete(request);
    EXPECT_EQ(out.status.error_code(), code) << out.status.error_message();
    return out.status.error_message();
  };
  const auto invalid = grpc::StatusCode::INVALID_ARGUMENT;
  EXPECT_THAT(refused([](auto* r) { r->set_mode("cobol"); }, invalid),
              HasSubstr("mode cobol is not one of plain_text, dialogue"));
  EXPECT_THAT(refused([](auto* r) { r->set_regex("(a"); }, invalid), HasSubstr("regex, byte 2"));
  EXPECT_THAT(refused([](auto* r) { r->set_ebnf("root ::= missing"); }, invalid),
              HasSubstr("line 1, column 10: rule missing is not defined"));
  EXPECT_THAT(refused([](auto* r) { r->set_json_schema(R"({"uniqueItems": true})"); }, invalid),
              HasSubstr("#/uniqueItems"));
  refused([](auto* r) { r->set_regex("(a{1000}){1000}"); }, grpc::StatusCode::RESOURCE_EXHAUSTED);
  // Ambiguous beyond the limit once text comes, twice as many readings a byte: the request ends,
  // the server goes on.
  pb::CompleteRequest request = SeededRequest(1, 60);
  std::string rules = "root ::= p0";
  for (int i = 0; i < 20; ++i) {
    const std::string next = std::to_string(i + 1);
    for (const char* name : {"p", "q"}) {
      rules += "\n" + (name + std::to_string(i)) + " ::= \"a\" p" + next + " \"b\" | \"a\" q" +
               next + " \"b\"";
    }
  }
  request.set_ebnf(rules + "\np20 ::= \"c\"\nq20 ::= \"c\"");
  const Completion ambiguous = serving.Complete(request);
  EXPECT_EQ(ambiguous.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(ambiguous.status.error_message(), HasSubstr("too ambiguous"));
  EXPECT_TRUE(serving.Complete(SeededRequest(1, 5)).status.ok());
  EXPECT_TRUE(serving.SlotsFreeWithin(1000));
}

TEST(CompletionGrammar, TooFewTokensForAnyEnd) {
  Serving serving(TestModelFolder("grammar_short", true), {});
  pb::CompleteRequest request = SeededRequest(1, 2);
  request.set_json_schema(kPersonSchema);
  const Completion out = serving.Complete(request);
  ASSERT_TRUE(out.status.ok()) << out.status.error_message();
  EXPECT_EQ(out.finished.reason(), pb::FINISH_REASON_MAX_TOKENS);
  EXPECT_FALSE(out.finished.grammar().complete());
  EXPECT_GT(out.finished.grammar().open_bytes(), 0);
}

}  // namespace
}  // namespace chimera
