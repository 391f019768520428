// Keys and values on disk: layouts, round trips, truncation and bit flips.
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "hdc/features.h"
#include "memory/fact_record.h"
#include "memory/record_codec.h"
#include "memory/relation_record.h"
#include "memory/usage_merge.h"

namespace chimera {
namespace {

FactRecord SampleFact() {
  return {.head = {.source = Source::kInferred,
                   .about_bytes = 6,
                   .text_bytes = 18,
                   .created_ms = 1700000000123,
                   .tags = 5},
          .about = "kettle",
          .text = "the kettle is blue"};
}

TEST(MemoryRecords, KeysOfAUserLieTogether) {
  const std::string key = IdKey("ada", 0x0102030405060708u);
  EXPECT_EQ(key, std::string("ada\0\x01\x02\x03\x04\x05\x06\x07\x08", 12));
  const auto split = SplitUserKey(key);
  ASSERT_TRUE(split.ok());
  EXPECT_EQ(split->user, "ada");
  EXPECT_EQ(*IdOfKeyRest(split->rest), 0x0102030405060708u);
  const KeyRange range = UserRange("ada");
  EXPECT_LE(range.first, IdKey("ada", 0));
  EXPECT_LT(IdKey("ada", UINT64_MAX), range.last);
  // No user lies inside another's range.
  for (const std::string other : {"ad", "adaa", "ada.b", "ada-", "adb"}) {
    EXPECT_TRUE(IdKey(other, 0) >= range.last || IdKey(other, UINT64_MAX) < range.first) << other;
  }
  for (const std::string& bad :
       {std::string(), std::string("ada"), std::string("\0x", 2), std::string("a b\0x", 5)}) {
    EXPECT_EQ(SplitUserKey(bad).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(MemoryRecords, FactLayout) {
  const std::string key = IdKey("ada", 5);
  const std::string value = EncodeFact(key, SampleFact());
  EXPECT_EQ(value.size(), 20u + 6 + 18 + 8);
  EXPECT_EQ(value.substr(0, 8), std::string("\x01\x02\x06\0\x12\0\0\0", 8));
  EXPECT_EQ(value.substr(16, 4), std::string("\x05\0\0\0", 4));
  EXPECT_EQ(value.substr(20, 24), "kettlethe kettle is blue");
  const auto decoded = DecodeFact(key, value);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->head, SampleFact().head);
  EXPECT_EQ(decoded->about, "kettle");
  EXPECT_EQ(decoded->text, "the kettle is blue");
  const std::string usage = EncodeUsage(key, {.uses = 7, .weight = 0.25f});
  const std::string sketch = EncodeSketch(key, {});
  const std::string about_key = AboutKey("ada", "kettle");
  EXPECT_EQ(about_key.size(), 4u + 32);
  const std::string about = EncodeAbout(about_key, {.id = 5});
  EXPECT_EQ(FactBytes(3, 6, 18),
            static_cast<int64_t>(3 * key.size() + value.size() + sketch.size() + usage.size() +
                                 about_key.size() + about.size()));
}

// Every truncation and every flipped bit is DATA_LOSS, and so is a value under another key.
template <typename Decode>
void ExpectGuarded(const std::string& key, const std::string& other, const std::string& value,
                   Decode decode) {
  ASSERT_TRUE(decode(key, value).ok());
  for (size_t n = 0; n < value.size(); ++n) {
    EXPECT_EQ(decode(key, value.substr(0, n)).status().code(), absl::StatusCode::kDataLoss);
    std::string flipped = value;
    flipped[n] = static_cast<char>(flipped[n] ^ (1 << (n % 8)));
    EXPECT_EQ(decode(key, flipped).status().code(), absl::StatusCode::kDataLoss) << n;
  }
  EXPECT_EQ(decode(other, value).status().code(), absl::StatusCode::kDataLoss);
}

TEST(MemoryRecords, EveryTruncationAndBitFlipIsFound) {
  const std::string key = IdKey("ada", 5), other = IdKey("bob", 5);
  ExpectGuarded(key, other, EncodeFact(key, SampleFact()), DecodeFact);
  ExpectGuarded(key, other,
                EncodeSketch(key, {.head = SampleFact().head, .sketch = FeatureCodebook().Code(7)}),
                DecodeSketch);
  ExpectGuarded(key, other, EncodeUsage(key, {.uses = 3, .weight = 1}), DecodeUsage);
  ExpectGuarded(key, other, EncodeAbout(key, {.id = 3}), DecodeAbout);
  ExpectGuarded(key, other, EncodeName(key, "Paris"), DecodeName);
  ExpectGuarded(key, other, EncodeTriple(key, {.weight = 0.5f}), DecodeTriple);
  // A value of one family is none of another's, not even of the same size.
  EXPECT_FALSE(Unseal(Family::kCases, key, Seal(Family::kGuidelines, key, "\x01x"), 2).ok());
}

TEST(MemoryRecords, SketchRoundTrip) {
  const std::string key = IdKey("ada", 5);
  const SketchRecord record{.head = SampleFact().head, .sketch = FeatureCodebook().Code(7)};
  const auto decoded = DecodeSketch(key, EncodeSketch(key, record));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->head, record.head);
  EXPECT_EQ(decoded->sketch, record.sketch);
}

TEST(MemoryRecords, UsesFollowTheFormula) {
  UsageRecord usage{.uses = 2, .weight = 0.5f};
  CountUse(1, &usage);
  EXPECT_EQ(usage.uses, 3u);
  EXPECT_FLOAT_EQ(usage.weight, 0.55f);
  CountUse(-100, &usage);
  EXPECT_FLOAT_EQ(usage.weight, 0.395f);
  for (int i = 0; i < 1000; ++i) CountUse(5, &usage);
  EXPECT_LE(usage.weight, 1);
  EXPECT_GT(usage.weight, 0.99f);
}

TEST(MemoryRecords, RelationKeys) {
  EXPECT_EQ(NameKey("ada", 258), std::string("ada\0n\0\0\1\2", 9));
  const auto name = DecodeRelationKey(std::string("n\0\0\1\2", 5));
  ASSERT_TRUE(name.ok());
  EXPECT_TRUE(name->is_name);
  EXPECT_EQ(name->name_id, 258u);
  const std::string triple_key = TripleKey("ada", {1, 2, 3, 0});
  const auto split = SplitUserKey(triple_key);
  const auto triple = DecodeRelationKey(split->rest);
  ASSERT_TRUE(triple.ok());
  EXPECT_EQ(triple->subject, 1u);
  EXPECT_EQ(triple->predicate, 2u);
  EXPECT_EQ(triple->object, 3u);
  for (const std::string bad : {"", "n", "x1234", "n12345", "t12345678"}) {
    EXPECT_FALSE(DecodeRelationKey(bad).ok());
  }
  EXPECT_EQ(NameBytes(3, 5),
            static_cast<int64_t>(NameKey("ada", 1).size() + EncodeName("k", "Paris").size()));
  EXPECT_EQ(TripleBytes(3),
            static_cast<int64_t>(TripleKey("ada", {}).size() + EncodeTriple("k", {}).size()));
}

TEST(MemoryRecords, Meta) {
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

}  // namespace
}  // namespace chimera
