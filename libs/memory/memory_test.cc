// Arguments, records and the index: what needs no database.
#include "memory/memory.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/file.h"
#include "gtest/gtest.h"
#include "hdc/features.h"
#include "memory/fact_index.h"
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

TEST(MemoryArguments, ItemsOfACall) {
  const auto bad = [](const absl::Status& status) {
    return status.code() == absl::StatusCode::kInvalidArgument;
  };
  const NewFact good{.text = "x"};
  EXPECT_TRUE(ValidateNewFacts(std::vector<NewFact>(kItemsPerCallMax, good)).ok());
  EXPECT_TRUE(bad(ValidateNewFacts(std::vector<NewFact>(kItemsPerCallMax + 1, good))));
  EXPECT_TRUE(bad(ValidateNewFacts({})));
  const std::vector<NewFact> facts[] = {{{.text = ""}},
                                        {{.text = "x", .about = std::string(257, 'x')}},
                                        {{.text = "x", .about = "\xff"}},
                                        {{.text = "x", .source = static_cast<Source>(0)}},
                                        {{.text = "x", .weight = 1.5f}},
                                        {{.text = "x", .weight = std::nanf("")}}};
  for (const auto& one : facts) EXPECT_TRUE(bad(ValidateNewFacts(one)));
  const std::vector<std::string> queries = {"x"};
  EXPECT_TRUE(ValidateQueries(queries, {}).ok());
  EXPECT_TRUE(bad(ValidateQueries({}, {})));
  EXPECT_TRUE(bad(ValidateQueries(std::vector<std::string>(kQueriesPerCallMax + 1, "x"), {})));
  EXPECT_TRUE(bad(ValidateQueries(queries, {.k = 0})));
  EXPECT_TRUE(bad(ValidateQueries(queries, {.similarity_min = std::nanf("")})));
  const std::vector<Relation> relations[] = {{{"", "b", "c"}},
                                             {{"a", std::string(257, 'b'), "c"}},
                                             {{"a", "b", "\xff"}},
                                             {{"a", "b", "c", -2}}};
  for (const auto& one : relations) EXPECT_TRUE(bad(ValidateRelations(one)));
  EXPECT_TRUE(ValidateRelations(std::vector<Relation>{{"a", "b", "c"}}).ok());
  EXPECT_TRUE(bad(ValidateRecords(std::vector<MemoryRecord>{{1, ""}})));
  EXPECT_TRUE(bad(ValidateRecords(std::vector<MemoryRecord>{{1, std::string(4097, 'x')}})));
  EXPECT_TRUE(bad(ValidateRecordClass(static_cast<RecordClass>(3))));
  EXPECT_TRUE(bad(ValidateSection("Upper", {})));
  EXPECT_TRUE(bad(ValidateSection("", {})));
  EXPECT_TRUE(bad(ValidateSection("x", {.bytes = std::string(65537, 'x')})));
  EXPECT_TRUE(ValidateSection("entities", {.bytes = std::string(65536, 'x')}).ok());
  EXPECT_TRUE(bad(ValidateUses(std::vector<FactUse>{{"0123456789abcdef", INFINITY}})));
}

TEST(FactIndex, NearestEqualsSortingEverything) {
  const FeatureCodebook codebook;
  FactIndex index;
  struct Known {
    uint64_t id;
    HyperVector sketch;
    uint32_t tags;
  };
  std::vector<Known> all;
  for (uint64_t n = 0; n < 600; ++n) {
    // Every third vector repeats, so that ties are ordered by id.
    const Known fact{.id = Xxh3(std::to_string(n)),
                     .sketch = codebook.Code(n / 3),
                     .tags = static_cast<uint32_t>(n % 4)};
    index.Insert(fact.id, {.text_bytes = 10, .tags = fact.tags}, fact.sketch);
    if (n % 5 == 0) {
      EXPECT_TRUE(index.Erase(fact.id));
    } else {
      all.push_back(fact);
    }
  }
  const HyperVector query = codebook.Code(4);
  std::sort(all.begin(), all.end(), [&](const Known& a, const Known& b) {
    const int da = Hamming(a.sketch, query), db = Hamming(b.sketch, query);
    return da != db ? da < db : a.id < b.id;
  });
  for (const uint32_t tags : {0u, 2u}) {
    std::vector<Known> wanted = all;
    std::erase_if(wanted, [tags](const Known& fact) { return tags != 0 && !(fact.tags & tags); });
    for (const int k : {1, 2, 7, 64, 1000}) {
      const auto got = index.Nearest(query, k, tags);
      ASSERT_EQ(got.size(), std::min<size_t>(k, wanted.size()));
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(got[i].id, wanted[i].id) << k << " " << i;
        EXPECT_EQ(got[i].distance, Hamming(wanted[i].sketch, query));
      }
    }
  }
  std::sort(all.begin(), all.end(), [](const Known& a, const Known& b) { return a.id < b.id; });
  const auto page = index.Ids(all[10].id, 3);
  EXPECT_EQ(page, (std::vector<uint64_t>{all[10].id, all[11].id, all[12].id}));
  EXPECT_EQ(index.Ids(0, 10000).size(), all.size());
}

// With tables: what is near is found by them, what is far by looking at everything.
TEST(FactIndex, AManyFactsIndexFindsTheNearAndTheFar) {
  const FeatureCodebook codebook;
  FactIndex index;
  constexpr uint64_t kFacts = 3 * SketchIndex::kTablesFrom;
  for (uint64_t n = 0; n < kFacts; ++n) index.Insert(n, {.text_bytes = 1}, codebook.Code(n));
  int found = 0;
  for (uint64_t n = 0; n < 100; ++n) {
    HyperVector query = codebook.Code(n * 97);
    for (int i = 0; i < kHyperBits / 5; ++i) {
      const int bit = static_cast<int>((n * 7919 + static_cast<uint64_t>(i) * 5) % kHyperBits);
      query.words[bit / 64] ^= uint64_t{1} << (bit % 64);
    }
    const auto near = index.Nearest(query, 1, 0);
    found += near.size() == 1 && near[0].id == n * 97;
    const auto far = index.Nearest(codebook.Code(kFacts + n), 4, 0);
    ASSERT_EQ(far.size(), 4u);
    if (n > 0) continue;  // all of them once
    int least = kHyperBits;
    for (uint64_t m = 0; m < kFacts; ++m) {
      least = std::min(least, Hamming(codebook.Code(kFacts), codebook.Code(m)));
    }
    EXPECT_EQ(far[0].distance, least);
  }
  EXPECT_GE(found, 99) << "a fifth of the bits differ";
}

TEST(FactIndex, CountsFollowInsertsAndErasures) {
  const FeatureCodebook codebook;
  FactIndex index;
  index.Insert(1, {.text_bytes = 5}, codebook.Code(1));
  index.Insert(2, {.source = Source::kInferred, .text_bytes = 6}, codebook.Code(2));
  index.Insert(2, {.source = Source::kInferred, .text_bytes = 8}, codebook.Code(3));  // replaced
  EXPECT_EQ(index.facts(), 2);
  EXPECT_EQ(index.user_facts(), 1);
  EXPECT_EQ(index.text_bytes(), 13);
  EXPECT_EQ(index.Find(2)->text_bytes, 8u);
  EXPECT_EQ(index.Find(9), nullptr);
  EXPECT_FALSE(index.Erase(9));
  EXPECT_TRUE(index.Erase(1));
  EXPECT_EQ(index.facts(), 1);
  EXPECT_EQ(index.user_facts(), 0);
  EXPECT_EQ(index.text_bytes(), 8);
}

}  // namespace
}  // namespace chimera
