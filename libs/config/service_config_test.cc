#include "config/service_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/string_view.h"

namespace chimera {
namespace {

using testing::HasSubstr;

std::string ErrorOf(const std::string& text) {
  auto config = ParseServiceConfig(text);
  return config.ok() ? "loaded" : std::string(ToStd(config.status().message()));
}

TEST(ServiceConfig, ShippedFileHoldsTheDefaults) {
  auto config = LoadServiceConfig(std::string(CHIMERA_SOURCE_DIR) + "/configs/service.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(*config, ServiceConfig{});
  EXPECT_EQ(config->ports.knot_admin, 7411);
  EXPECT_EQ(config->max_prompt_bytes, 1u << 20);
  EXPECT_EQ(config->max_message_bytes, 4u << 20);
}

TEST(ServiceConfig, EveryKeyIsReadAndRoundTrips) {
  const ServiceConfig want{.bind_address = "0.0.0.0",
                           .allow_insecure_bind = true,
                           .ports = {1, 2, 3, 4, 5, 6, 7, 8},
                           .model_dir = "m",
                           .data_dir = "d",
                           .threads = 3,
                           .max_streams = 4,
                           .max_prompt_bytes = 5000,
                           .max_new_tokens = 6,
                           .max_message_bytes = 7000,
                           .request_deadline_ms = 8,
                           .drain_timeout_ms = 9,
                           .trainer = {"root", 10, 11},
                           .memory = {12, 13, 14}};
  auto config = ParseServiceConfig(ServiceConfigJson(want));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(*config, want);
}

TEST(ServiceConfig, MissingKeysKeepTheirDefaults) {
  auto config = ParseServiceConfig(R"({"ports":{"knot":9000},"trainer":{}})");
  ASSERT_TRUE(config.ok()) << config.status();
  ServiceConfig want;
  want.ports.knot = 9000;
  EXPECT_EQ(*config, want);
  auto overlaid = ParseServiceConfig(R"({"threads":1})", {R"({"threads":2})", "{}"});
  ASSERT_TRUE(overlaid.ok()) << overlaid.status();
  EXPECT_EQ(overlaid->threads, 2);
}

TEST(ServiceConfig, PublicBindNeedsConsent) {
  const std::string error = ErrorOf(R"({"bind_address":"0.0.0.0"})");
  EXPECT_THAT(error, HasSubstr("bind_address = \"0.0.0.0\""));
  EXPECT_THAT(error, HasSubstr("allow_insecure_bind"));
  EXPECT_EQ(ErrorOf(R"({"bind_address":"0.0.0.0","allow_insecure_bind":true})"), "loaded");
  for (const char* inside : {"127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"}) {
    EXPECT_TRUE(IsLoopback(inside)) << inside;
  }
  for (const char* outside : {"0.0.0.0", "::", "10.0.0.1", "127.example.org", "", "1127.0.0.1"}) {
    EXPECT_FALSE(IsLoopback(outside)) << outside;
  }
}

TEST(ServiceConfig, ErrorsNameTheKey) {
  EXPECT_THAT(ErrorOf(R"({"port":1})"), HasSubstr("port is an unknown key"));
  EXPECT_THAT(ErrorOf(R"({"ports":{"knott":1}})"), HasSubstr("ports.knott is an unknown key"));
  EXPECT_THAT(ErrorOf(R"({"ports":{"knot":70000}})"),
              HasSubstr("ports.knot = 70000 is outside 0..65535"));
  EXPECT_THAT(ErrorOf(R"({"ports":{"knot":7400}})"),
              HasSubstr("ports.knot = 7400 is taken by ports.surface"));
  EXPECT_THAT(ErrorOf(R"({"threads":"2"})"), HasSubstr("threads = \"2\" must be an integer"));
  EXPECT_THAT(ErrorOf(R"({"trainer":3})"), HasSubstr("trainer = 3 must be an object"));
  EXPECT_THAT(ErrorOf(R"({"max_prompt_bytes":8000000})"),
              HasSubstr("max_message_bytes = 4194304 is below max_prompt_bytes 8000000"));
  EXPECT_THAT(ErrorOf("nonsense"), HasSubstr("not valid JSON"));
}

}  // namespace
}  // namespace chimera
