// Arguments, records and the index: what needs no database.
#include "memory/memory.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/file.h"
#include "gtest/gtest.h"
#include "hdc/features.h"
#include "memory/fact_index.h"
#include "memory/fact_record.h"
#include "memory/memory_arguments.h"

namespace chimera {
namespace {

TEST(MemoryArguments, UserIds) {
  for (const std::string& good :
       {std::string("a"), std::string("Ada.Lovelace-1_x"), std::string(64, 'z')}) {
    EXPECT_TRUE(ValidateUserId(good).ok()) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string(65, 'a'), std::string("a/b"), std::string("a\0b", 3),
        std::string("\xc3\xa9"), std::string("a b")}) {
    EXPECT_EQ(ValidateUserId(bad).code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(MemoryArguments, TextsCountsAndIds) {
  EXPECT_TRUE(ValidateFactText("x", "text").ok());
  EXPECT_TRUE(ValidateFactText(std::string(kFactTextBytesMax, 'x'), "text").ok());
  EXPECT_FALSE(ValidateFactText("", "text").ok());
  EXPECT_FALSE(ValidateFactText(std::string(kFactTextBytesMax + 1, 'x'), "text").ok());
  EXPECT_FALSE(ValidateFactText("\xff", "text").ok());
  for (const int k : {1, 64}) EXPECT_TRUE(ValidateRecallCount(k).ok());
  for (const int k : {0, -1, 65, 1 << 30}) EXPECT_FALSE(ValidateRecallCount(k).ok());
  EXPECT_TRUE(ValidateFactId("0123456789abcdef").ok());
  for (const std::string bad : {"", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0"}) {
    EXPECT_FALSE(ValidateFactId(bad).ok()) << bad;
  }
}

TEST(MemoryArguments, FactIds) {
  EXPECT_EQ(FactIdToHex(0xABCu), "0000000000000abc");
  EXPECT_EQ(FactIdFromHex("fedcba9876543210"), 0xFEDCBA9876543210u);
  EXPECT_EQ(FactIdOf("ada", "tea"), FactIdOf("ada", "tea"));
  EXPECT_NE(FactIdOf("ada", "tea"), FactIdOf("bob", "tea"));
  // printf 'ada\0tea' | sha256sum
  EXPECT_EQ(FactIdToHex(FactIdOf("ada", "tea")), "6000fb4d8c6d0659");
}

FactRecord SampleRecord() {
  return {.created_ms = 1700000000123,
          .sketch = FeatureCodebook().Code(7),
          .text = "the kettle is blue"};
}

TEST(FactRecord, RoundTripAndLayout) {
  const std::string key = EncodeFactKey("ada", 0x0102030405060708u);
  EXPECT_EQ(key, std::string("fada\0\x01\x02\x03\x04\x05\x06\x07\x08", 13));
  const FactRecord record = SampleRecord();
  const std::string value = EncodeFact(key, record);
  EXPECT_EQ(value.size(), 1048 + record.text.size());
  EXPECT_EQ(value.substr(0, 8), std::string("\x01\0\0\0\x12\0\0\0", 8));
  EXPECT_EQ(value.substr(1040, record.text.size()), record.text);
  const auto decoded = DecodeFact(key, value);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->created_ms, record.created_ms);
  EXPECT_EQ(decoded->sketch, record.sketch);
  EXPECT_EQ(decoded->text, record.text);
  const auto fact_key = DecodeFactKey(key);
  ASSERT_TRUE(fact_key.ok());
  EXPECT_EQ(fact_key->user, "ada");
  EXPECT_EQ(fact_key->id, 0x0102030405060708u);
  EXPECT_LT(FirstFactKey("ada"), key);
  EXPECT_LT(key, LastFactKey("ada"));
  EXPECT_LT(LastFactKey("ada"), EncodeFactKey("ada.b", 0));  // no user lies inside another's range
}

TEST(FactRecord, EveryTruncationAndBitFlipIsFound) {
  const std::string key = EncodeFactKey("ada", 5);
  const std::string value = EncodeFact(key, SampleRecord());
  for (size_t n = 0; n < value.size(); ++n) {
    EXPECT_EQ(DecodeFact(key, value.substr(0, n)).status().code(), absl::StatusCode::kDataLoss);
    std::string flipped = value;
    flipped[n] = static_cast<char>(flipped[n] ^ (1 << (n % 8)));
    EXPECT_EQ(DecodeFact(key, flipped).status().code(), absl::StatusCode::kDataLoss) << n;
  }
  EXPECT_FALSE(DecodeFact(EncodeFactKey("bob", 5), value).ok());  // a value under another key
  for (const std::string& bad : {std::string(), std::string("f"), std::string("fada"), key + "x",
                                 std::string("f\0 12345678", 10)}) {
    EXPECT_FALSE(DecodeFactKey(bad).ok());
  }
}

TEST(FactRecord, Meta) {
  const std::string value = EncodeStoreMeta({.codebook_seed = 3, .tokenizer_hash = 4});
  EXPECT_EQ(value.size(), 40u);
  const auto meta = DecodeStoreMeta(value);
  ASSERT_TRUE(meta.ok());
  EXPECT_EQ(meta->codebook_seed, 3u);
  EXPECT_EQ(meta->tokenizer_hash, 4u);
  for (size_t n = 0; n < value.size(); ++n) {
    std::string flipped = value;
    flipped[n] = static_cast<char>(flipped[n] ^ 4);
    EXPECT_FALSE(DecodeStoreMeta(flipped).ok()) << n;
    EXPECT_FALSE(DecodeStoreMeta(value.substr(0, n)).ok()) << n;
  }
}

TEST(FactIndex, NearestEqualsSortingEverything) {
  const FeatureCodebook codebook;
  FactIndex index;
  struct Known {
    uint64_t id;
    HyperVector sketch;
  };
  std::vector<Known> all;
  for (uint64_t n = 0; n < 600; ++n) {
    // Every third vector repeats, so that ties are ordered by id.
    const Known fact{.id = Xxh3(std::to_string(n)), .sketch = codebook.Code(n / 3)};
    index.Insert("ada", fact.id, fact.sketch, 10);
    if (n % 5 == 0) {
      EXPECT_TRUE(index.Erase("ada", fact.id));
    } else {
      all.push_back(fact);
    }
  }
  const HyperVector query = codebook.Code(4);
  std::sort(all.begin(), all.end(), [&](const Known& a, const Known& b) {
    const int da = Hamming(a.sketch, query), db = Hamming(b.sketch, query);
    return da != db ? da < db : a.id < b.id;
  });
  for (const int k : {1, 2, 7, 64, 1000}) {
    const auto got = index.Nearest("ada", query, k);
    ASSERT_EQ(got.size(), std::min<size_t>(k, all.size()));
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].id, all[i].id) << k << " " << i;
      EXPECT_EQ(got[i].distance, Hamming(all[i].sketch, query));
    }
  }
  EXPECT_TRUE(index.Nearest("bob", query, 3).empty());
}

TEST(FactIndex, CountsFollowInsertsAndErasures) {
  const FeatureCodebook codebook;
  FactIndex index;
  index.Insert("ada", 1, codebook.Code(1), 5);
  index.Insert("ada", 2, codebook.Code(2), 6);
  index.Insert("bob", 1, codebook.Code(3), 7);
  index.Insert("bob", 1, codebook.Code(3), 8);  // replaced
  EXPECT_EQ(index.facts(), 3);
  EXPECT_EQ(index.users(), 2);
  EXPECT_EQ(index.text_bytes(), 19);
  EXPECT_EQ(index.text_bytes("ada"), 11);
  EXPECT_FALSE(index.Erase("ada", 9));
  EXPECT_FALSE(index.Erase("eve", 1));
  EXPECT_EQ(index.EraseUser("ada"), 2);
  EXPECT_EQ(index.EraseUser("ada"), 0);
  EXPECT_TRUE(index.Erase("bob", 1));
  EXPECT_EQ(index.facts(), 0);
  EXPECT_EQ(index.users(), 0);
  EXPECT_EQ(index.text_bytes(), 0);
}

}  // namespace
}  // namespace chimera
