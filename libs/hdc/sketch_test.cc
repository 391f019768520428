#include "hdc/sketch.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "gtest/gtest.h"
#include "hdc/golden_hdc.h"
#include "hdc/lsh.h"
#include "hdc/words.h"

namespace chimera {
namespace {

std::vector<int32_t> Tokens(const nlohmann::json& list) {
  return list["tokens"].get<std::vector<int32_t>>();
}

// The counters of golden list n.
void Window(const nlohmann::json& golden, int n, BundleCounter* counter) {
  const FeatureCodebook codebook(golden["codebook_seed"].get<uint64_t>());
  counter->Reset();
  const nlohmann::json& list = golden["lists"][n];
  ASSERT_TRUE(
      AddTextFeatures(codebook, Tokens(list), list["text"].get<std::string>(), counter).ok());
}

TEST(Sketch, GoldenFeatures) {
  const nlohmann::json golden = GoldenHdcCase("sketch");
  const FeatureCodebook codebook(golden["codebook_seed"].get<uint64_t>());
  const auto hash = [&](const char* key) {
    return std::stoull(golden[key].get<std::string>(), nullptr, 16);
  };
  EXPECT_EQ(TokenFeature(976), hash("token_hash_976"));
  EXPECT_EQ(WordFeature("quick"), hash("word_hash_quick"));
  EXPECT_EQ(HexOf(codebook.Code(TokenFeature(976))), golden["code_of_token_976"]);
  EXPECT_EQ(codebook.seed(), kDefaultCodebookSeed);
  for (const nlohmann::json& word : golden["stop_words"]) {
    EXPECT_TRUE(IsStopWord(word.get<std::string>()));
  }
  EXPECT_EQ(golden["stop_words"].size(), 8u);
}

TEST(Sketch, GoldenSketches) {
  const nlohmann::json golden = GoldenHdcCase("sketch");
  const FeatureCodebook codebook(golden["codebook_seed"].get<uint64_t>());
  std::vector<HyperVector> sketches;
  for (int n = 0; n < 3; ++n) {
    const nlohmann::json& list = golden["lists"][n];
    BundleCounter counter;
    Window(golden, n, &counter);
    std::array<int32_t, kHyperBits> sums;
    counter.SignedSums(sums);
    for (int i = 0; i < 64; ++i) EXPECT_EQ(sums[i], list["acc_first_64"][i].get<int>());
    int64_t squares = 0;
    for (const int64_t s : sums) squares += s * s;
    EXPECT_EQ(squares, list["acc_sum_of_squares"].get<int64_t>());
    EXPECT_EQ(std::count(sums.begin(), sums.end(), 0), list["ties"].get<int64_t>());
    const auto sketch = SketchText(codebook, Tokens(list), list["text"].get<std::string>());
    ASSERT_TRUE(sketch.ok());
    EXPECT_EQ(HexOf(*sketch), list["sketch"].get<std::string>());
    EXPECT_EQ(Xxh3(ToBytes(*sketch)),
              std::stoull(list["sketch_hash"].get<std::string>(), nullptr, 16));
    sketches.push_back(*sketch);
  }
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      EXPECT_EQ(Hamming(sketches[i], sketches[j]), golden["hamming"]["data"][i][j].get<int>());
    }
  }
}

TEST(Sketch, GoldenRunningSketch) {
  const nlohmann::json golden = GoldenHdcCase("sketch");
  const nlohmann::json banks = GoldenHdcCase("running_sketch")["banks"];
  const FeatureCodebook codebook(golden["codebook_seed"].get<uint64_t>());
  for (const nlohmann::json& bank : banks) {
    RunningSketch running(bank["shift"].get<int>());
    for (const int n : {0, 2, 1}) {
      BundleCounter window;
      Window(golden, n, &window);
      running.Update(window);
    }
    for (int i = 0; i < 64; ++i) {
      EXPECT_EQ(running.counters()[i], bank["acc_first_64"][i].get<int>());
    }
    EXPECT_EQ(HexOf(running.Sketch(codebook)), bank["sketch"].get<std::string>());
    running.Reset();
    EXPECT_EQ(running.Sketch(codebook), codebook.tie());
  }
  EXPECT_EQ(banks.size(), 2u);
}

TEST(Sketch, GoldenLshBuckets) {
  const nlohmann::json golden = GoldenHdcCase("lsh");
  const nlohmann::json lists = GoldenHdcCase("sketch")["lists"];
  const LshTables tables(golden["seed"].get<uint64_t>());
  for (int t = 0; t < kLshTables; ++t) {
    for (int j = 0; j < kLshBitsPerTable; ++j) {
      EXPECT_EQ(tables.positions(t)[j], golden["positions"]["data"][t][j].get<int>());
    }
  }
  for (int s = 0; s < 3; ++s) {
    std::array<uint16_t, kLshTables> ids;
    tables.Buckets(VectorOfHex(lists[s]["sketch"].get<std::string>()), kLshTables, ids.data());
    for (int t = 0; t < kLshTables; ++t) {
      EXPECT_EQ(ids[t], golden["bucket_ids"]["data"][s][t].get<uint16_t>());
    }
  }
}

TEST(Sketch, BigramOrderMatters) {
  const FeatureCodebook codebook;
  const std::vector<int32_t> forward = {1, 2, 3, 4, 5}, backward = {5, 4, 3, 2, 1};
  const HyperVector a = *SketchText(codebook, forward, "");
  const HyperVector b = *SketchText(codebook, backward, "");
  EXPECT_GT(Hamming(a, b), 1500);
  EXPECT_LT(Hamming(a, b), 3900);  // the unigrams are shared
}

TEST(Sketch, LongRunningCountersStayInRange) {
  const FeatureCodebook codebook;
  BundleCounter window;
  const std::vector<int32_t> tokens(32, 7);
  ASSERT_TRUE(AddTextFeatures(codebook, tokens, "", &window).ok());
  RunningSketch running(6);
  for (int i = 0; i < 1000; ++i) running.Update(window);
  // Where unigram and bigram agree every window adds 128; a leak of 1/64 settles at 64 * 128 =
  // 8192.
  EXPECT_EQ(*std::max_element(running.counters().begin(), running.counters().end()), 8192);
}

TEST(Sketch, WeightsFarAbove63AreExact) {
  const FeatureCodebook codebook;
  const std::vector<int32_t> tokens(4000, 11);  // total weight 4000 + 2 * 3999
  const HyperVector code = codebook.Code(TokenFeature(11));
  // The bigram of a token with itself outweighs the token, so the sketch is the bigram's code.
  EXPECT_EQ(*SketchText(codebook, tokens, ""), FeatureCodebook::Bigram(code, code));
}

TEST(Sketch, BoundsAreErrors) {
  const FeatureCodebook codebook;
  const std::vector<int32_t> many(kMaxSketchTokens + 1, 1);
  EXPECT_EQ(SketchText(codebook, many, "").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SketchText(codebook, {}, std::string(kMaxSketchTextBytes + 1, ' ')).status().code(),
            absl::StatusCode::kInvalidArgument);
  BundleCounter counter;
  const std::string spaces(kMaxSketchTextBytes, ' ');
  const HyperVector zero{};
  while (counter.total_weight() + 2 <= BundleCounter::kMaxWeight) counter.Add(zero, 2);
  EXPECT_EQ(AddTextFeatures(codebook, {}, spaces, &counter).code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace chimera
