// All of tests/golden/philox.json: words, uniforms and signs of two streams.
#include <gtest/gtest.h>

#include <fstream>

#include "base/philox.h"
#include "nlohmann/json.hpp"

namespace chimera {
namespace {

using nlohmann::json;

json Cases() {
  std::ifstream file(std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/philox.json");
  return json::parse(file)["cases"];
}

TEST(PhiloxGolden, KnownAnswers) {
  const json cases = Cases();
  ASSERT_EQ(cases["known_answers"].size(), 3u);
  for (const json& c : cases["known_answers"]) {
    PhiloxBlock counter;
    for (size_t i = 0; i < 4; ++i) counter[i] = c["counter"][i];
    const PhiloxBlock words = Philox4x32(counter, c["key"][0], c["key"][1]);
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(words[i], c["words"][i].get<uint32_t>());
  }
}

TEST(PhiloxGolden, Streams) {
  const json cases = Cases();
  ASSERT_EQ(cases["streams"].size(), 2u);
  for (const json& c : cases["streams"]) {
    const uint64_t seed = c["seed_lo"].get<uint64_t>() | c["seed_hi"].get<uint64_t>() << 32;
    const PhiloxStream stream(seed, static_cast<RngPurpose>(c["purpose"].get<uint32_t>()),
                              c["stream"].get<uint32_t>());
    const uint64_t first = c["first_index"].get<uint64_t>() * 4;  // in words
    const json &words = c["words"]["data"], &uniform = c["uniform"]["data"];
    const json& signs = c["rademacher"]["data"];
    ASSERT_EQ(words.size(), 64u);
    for (size_t i = 0; i < words.size(); ++i) {
      EXPECT_EQ(stream.Word(first + i), words[i].get<uint32_t>()) << i;
      EXPECT_EQ(stream.Uniform(first + i), uniform[i].get<float>()) << i;
    }
    for (size_t i = 0; i < signs.size(); ++i) {
      EXPECT_EQ(stream.Sign(first * 32 + i), signs[i].get<int>()) << i;
    }
  }
}

}  // namespace
}  // namespace chimera
