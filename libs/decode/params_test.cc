#include "decode/params.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace chimera {
namespace {

using testing::HasSubstr;

constexpr ParamLimits kLimits{100, 1000};

std::string Refusal(const std::function<void(SamplingParams*)>& change) {
  SamplingParams params;
  params.max_tokens = 10;
  change(&params);
  const absl::Status status = ValidateParams(params, kLimits);
  if (status.ok()) return "accepted";
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(ValidateParams, NamesFieldValueAndLimit) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::nanf("");
  for (const float bad : {-0.1f, 100.5f, inf, -inf, nan}) {
    EXPECT_THAT(Refusal([&](auto* p) { p->temperature = bad; }), HasSubstr("temperature "));
    EXPECT_THAT(Refusal([&](auto* p) { p->temperature = bad; }), HasSubstr("0..100"));
  }
  for (const float bad : {0.0f, -1.0f, 1.01f, inf, nan}) {
    EXPECT_THAT(Refusal([&](auto* p) { p->top_p = bad; }), HasSubstr("top_p "));
  }
  for (const float bad : {0.0f, 0.05f, 10.1f, -1.0f, inf, nan}) {
    EXPECT_THAT(Refusal([&](auto* p) { p->repetition_penalty = bad; }),
                HasSubstr("repetition_penalty "));
  }
  for (const int bad : {0, -5, 101}) {
    EXPECT_THAT(Refusal([&](auto* p) { p->max_tokens = bad; }), HasSubstr("is outside 1..100"));
  }
  for (const int bad : {-1, 21}) {
    EXPECT_THAT(Refusal([&](auto* p) { p->logprobs = bad; }), HasSubstr("is outside 0..20"));
  }
  EXPECT_EQ(Refusal([](auto* p) { p->stop.assign(17, "x"); }),
            "stop has 17 strings, the limit is 16");
  EXPECT_EQ(Refusal([](auto* p) {
              p->stop = {"a", ""};
            }),
            "stop[1] has 0 bytes, allowed are 1..256");
  EXPECT_THAT(Refusal([](auto* p) { p->stop = {std::string(257, 'x')}; }), HasSubstr("257 bytes"));
  EXPECT_EQ(Refusal([](auto* p) { p->stop = {"\xC3"}; }), "stop[0] is not valid UTF-8");
}

TEST(ValidateParams, AcceptsTheEdges) {
  EXPECT_EQ(Refusal([](auto* p) { p->temperature = 0.0f; }), "accepted");
  EXPECT_EQ(Refusal([](auto* p) { p->temperature = 100.0f; }), "accepted");
  EXPECT_EQ(Refusal([](auto* p) { p->top_p = 1e-9f; }), "accepted");
  EXPECT_EQ(Refusal([](auto* p) { p->max_tokens = 100; }), "accepted");
  EXPECT_EQ(Refusal([](auto* p) { p->logprobs = 20; }), "accepted");
  EXPECT_EQ(Refusal([](auto* p) { p->stop.assign(16, std::string(256, 'x')); }), "accepted");
}

TEST(ValidatePrompt, EmptyLongAndBroken) {
  EXPECT_THAT(ValidatePrompt("", kLimits).message(), HasSubstr("prompt is empty"));
  EXPECT_THAT(ValidatePrompt(std::string(1001, 'a'), kLimits).message(),
              HasSubstr("1001 bytes, the limit is 1000"));
  EXPECT_THAT(ValidatePrompt("a\xFF", kLimits).message(), HasSubstr("not valid UTF-8"));
  EXPECT_TRUE(ValidatePrompt(std::string(1000, 'a'), kLimits).ok());
  EXPECT_TRUE(ValidateRequestId(std::string(128, 'r')).ok());
  EXPECT_FALSE(ValidateRequestId(std::string(129, 'r')).ok());
}

TEST(DefaultParams, ComeFromTheModelWithinTheLimits) {
  GenerationConfig generation;
  generation.max_new_tokens = 4096;
  SamplingParams params = DefaultParams(generation, kLimits);
  EXPECT_EQ(params.max_tokens, 100);
  EXPECT_FLOAT_EQ(params.temperature, 0.7f);
  generation.do_sample = false;
  EXPECT_EQ(DefaultParams(generation, kLimits).temperature, 0.0f);
}

}  // namespace
}  // namespace chimera
