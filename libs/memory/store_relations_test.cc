// Relations, records and sections: the table against a plain list, and the store around it.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/philox.h"
#include "gtest/gtest.h"
#include "memory/relation_table.h"
#include "memory/test_store.h"

namespace chimera {
namespace {

using StoreRelations = StoreTest;

TEST(RelationTableTest, EqualsAPlainListForEveryPattern) {
  const PhiloxStream random(5, RngPurpose::kMemoryDrop, 0);
  RelationTable table;
  std::vector<Triple> plain;
  const auto same = [](const Triple& a, const Triple& b) {
    return a.subject == b.subject && a.predicate == b.predicate && a.object == b.object;
  };
  // More than one run: 4,096 fresh ones are merged.
  for (uint64_t i = 0; i < 12000; ++i) {
    const PhiloxBlock block = random.Block(i);
    const Triple triple{block[0] % 40, block[1] % 7, block[2] % 60,
                        static_cast<float>(block[3] % 16) / 16};
    table.Put(triple);
    std::erase_if(plain, [&](const Triple& other) { return same(triple, other); });
    plain.push_back(triple);
    if (i % 37 == 0) {
      table.Erase(std::vector<Triple>{triple});
      plain.pop_back();
    }
  }
  EXPECT_EQ(table.triples(), static_cast<int64_t>(plain.size()));
  std::sort(plain.begin(), plain.end(), [](const Triple& a, const Triple& b) {
    return a.weight != b.weight ? a.weight > b.weight
                                : std::tie(a.subject, a.predicate, a.object) <
                                      std::tie(b.subject, b.predicate, b.object);
  });
  for (int mask = 0; mask < 8; ++mask) {
    const TriplePattern pattern{mask & 1 ? 11 : kAnyName, mask & 2 ? 3 : kAnyName,
                                mask & 4 ? 17 : kAnyName};
    std::vector<Triple> wanted;
    for (const Triple& triple : plain) {
      if ((!(mask & 1) || triple.subject == 11) && (!(mask & 2) || triple.predicate == 3) &&
          (!(mask & 4) || triple.object == 17)) {
        wanted.push_back(triple);
      }
    }
    for (const size_t limit : {size_t{1}, size_t{10}, size_t{100000}}) {
      const auto got = table.Match(pattern, limit);
      ASSERT_EQ(got.size(), std::min(limit, wanted.size())) << mask;
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_TRUE(same(got[i], wanted[i])) << mask << " " << i;
        EXPECT_EQ(got[i].weight, wanted[i].weight);
      }
    }
  }
}

TEST(RelationTableTest, HalfAMillionTakeSixteenBytesEach) {
  const PhiloxStream random(6, RngPurpose::kMemoryDrop, 0);
  RelationTable table;
  for (uint64_t i = 0; table.triples() < 500'000; ++i) {
    const PhiloxBlock block = random.Block(i);
    table.Put({block[0] % 20000, block[1] % 100, block[2] % 20000, 0.5f});
  }
  EXPECT_LE(table.MemoryBytes(), 500'000 * 16 + 2 * 4096 * 16);
  const auto time_us = [&table](const TriplePattern& pattern) {
    const auto start = std::chrono::steady_clock::now();
    for (int n = 0; n < 20; ++n) EXPECT_LE(table.Match(pattern, 16).size(), 16u);
    return (std::chrono::steady_clock::now() - start) / std::chrono::microseconds(20);
  };
  std::printf("%lld bytes; by subject %lld us, by predicate %lld us, by object %lld us\n",
              static_cast<long long>(table.MemoryBytes()),
              static_cast<long long>(time_us({.subject = 77})),
              static_cast<long long>(time_us({.predicate = 7})),
              static_cast<long long>(time_us({.object = 77})));
}

std::vector<Relation> Family3() {
  return {{"Ada", "lives in", "Paris", 1.0f},
          {"Ada", "knows", "Bob", 0.5f},
          {"Bob", "lives in", "Paris", 0.75f}};
}

TEST_F(StoreRelations, EveryCombinationOfNames) {
  {
    const auto memory = MustOpen(Options());
    EXPECT_EQ(*memory->Relate("ada", Family3(), Source::kUser), 3);
    EXPECT_EQ(*memory->Relate("ada", Family3(), Source::kUser), 0);
  }
  const auto memory = Reopen();
  const auto related = [&](const RelationPattern& pattern) {
    return *memory->Related("ada", pattern, 10);
  };
  const auto all = Family3();
  EXPECT_EQ(related({}), (std::vector<Relation>{all[0], all[2], all[1]}));
  EXPECT_EQ(related({.subject = "Ada"}), (std::vector<Relation>{all[0], all[1]}));
  EXPECT_EQ(related({.predicate = "lives in"}), (std::vector<Relation>{all[0], all[2]}));
  EXPECT_EQ(related({.object = "Paris"}), (std::vector<Relation>{all[0], all[2]}));
  EXPECT_EQ(related({.subject = "Bob", .object = "Paris"}), (std::vector<Relation>{all[2]}));
  EXPECT_EQ(related({"Ada", "knows", "Bob"}), (std::vector<Relation>{all[1]}));
  EXPECT_TRUE(related({.subject = "Carl"}).empty());
  EXPECT_TRUE(memory->Related("bob", {}, 10)->empty());
  EXPECT_EQ(memory->Related("ada", {}, 1)->size(), 1u);
  EXPECT_EQ(memory->Related("ada", {}, 0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory->Stats("ada")->relations, 3);
  EXPECT_EQ(memory->Stats("ada")->entries, 3 + 5);  // with five names
}

TEST_F(StoreRelations, AnInferredWeightDoesNotReplaceAUsers) {
  const auto memory = MustOpen(Options());
  const auto weight = [&] { return memory->Related("ada", {}, 1)->at(0).weight; };
  const auto relate = [&](float value, Source source) {
    return *memory->Relate("ada", std::vector<Relation>{{"a", "b", "c", value}}, source);
  };
  EXPECT_EQ(relate(0.1f, Source::kInferred), 1);
  EXPECT_EQ(relate(0.2f, Source::kInferred), 0);
  EXPECT_EQ(weight(), 0.2f);
  EXPECT_EQ(relate(0.3f, Source::kUser), 0);
  EXPECT_EQ(relate(0.4f, Source::kInferred), 0);
  EXPECT_EQ(weight(), 0.3f);
}

TEST_F(StoreRelations, UnrelateLeavesNoBytesNorNames) {
  {
    const auto memory = MustOpen(Options());
    ASSERT_TRUE(memory->Relate("ada", Family3(), Source::kUser).ok());
    EXPECT_EQ(*memory->Unrelate("bob", {}), 0);
    EXPECT_EQ(*memory->Unrelate("ada", {.predicate = "knows"}), 1);
    EXPECT_EQ(*memory->Unrelate("ada", {.predicate = "knows"}), 0);
    EXPECT_TRUE(FilesWith(path_, "knows").empty());
    EXPECT_FALSE(FilesWith(path_, "lives in").empty());
    EXPECT_EQ(memory->Stats("ada")->entries, 2 + 4);
  }
  const auto memory = Reopen();
  EXPECT_EQ(memory->Stats("ada")->entries, 2 + 4);
  EXPECT_EQ(memory->Related("ada", {}, 10)->size(), 2u);
  EXPECT_EQ(*memory->Unrelate("ada", {}), 2);
  EXPECT_EQ(memory->Stats("ada")->bytes, 0);
  EXPECT_EQ(memory->Stats("ada")->entries, 0);
  EXPECT_TRUE(memory->Relate("ada", Family3(), Source::kInferred).ok());
}

TEST_F(StoreRelations, TheStoresCeilingHolds) {
  LocalMemoryOptions options = Options();
  options.ceilings.relations = 4;
  const auto memory = MustOpen(options);
  ASSERT_TRUE(memory->Relate("ada", Family3(), Source::kUser).ok());
  const absl::Status full = memory->Relate("bob", Family3(), Source::kUser).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(full.ToString().find("has 3 relations, 3 more exceed the limit 4"), std::string::npos)
      << full;
  EXPECT_TRUE(memory->Related("bob", {}, 10)->empty());
}

TEST_F(StoreRelations, RecordsByClassAndUser) {
  const std::vector<MemoryRecord> records = {{5, "five"}, {1, "one"}, {9, std::string(4096, 'x')}};
  {
    const auto memory = MustOpen(Options());
    ASSERT_TRUE(memory->PutRecords("ada", RecordClass::kCase, records, Source::kInferred).ok());
    ASSERT_TRUE(memory
                    ->PutRecords("ada", RecordClass::kCase, std::vector<MemoryRecord>{{5, "V"}},
                                 Source::kUser)
                    .ok());
  }
  const auto memory = Reopen();
  const auto scan = [&](const std::string& user, RecordClass record_class, uint64_t first) {
    return *memory->ScanRecords(user, record_class, first, 2);
  };
  EXPECT_EQ(scan("ada", RecordClass::kCase, 0), (std::vector<MemoryRecord>{{1, "one"}, {5, "V"}}));
  EXPECT_EQ(scan("ada", RecordClass::kCase, 6), (std::vector<MemoryRecord>{records[2]}));
  EXPECT_TRUE(scan("ada", RecordClass::kGuideline, 0).empty());
  EXPECT_TRUE(scan("bob", RecordClass::kCase, 0).empty());
  EXPECT_EQ(memory->Stats("ada")->cases, 3);
  EXPECT_EQ(*memory->EraseRecords("bob", RecordClass::kCase, std::vector<uint64_t>{1}), 0);
  EXPECT_EQ(*memory->EraseRecords("ada", RecordClass::kCase, std::vector<uint64_t>{1, 2, 9}), 2);
  EXPECT_EQ(scan("ada", RecordClass::kCase, 0), (std::vector<MemoryRecord>{{5, "V"}}));
  EXPECT_EQ(memory->Stats("ada")->entries, 1);
}

TEST_F(StoreRelations, ThereIsRoomForSoManyGuidelines) {
  const auto memory = MustOpen(Options());
  std::vector<MemoryRecord> records;
  for (uint64_t id = 0; id < 256; ++id) records.push_back({id, "g"});
  ASSERT_TRUE(memory->PutRecords("ada", RecordClass::kGuideline, records, Source::kInferred).ok());
  const auto put = [&](uint64_t id) {
    return memory->PutRecords("ada", RecordClass::kGuideline, std::vector<MemoryRecord>{{id, "h"}},
                              Source::kInferred);
  };
  EXPECT_TRUE(put(255).ok());
  EXPECT_EQ(put(256).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(memory->Stats("ada")->guidelines, 256);
}

TEST_F(StoreRelations, SectionsHaveRisingEpochs) {
  const std::string bytes(65536, '\x7f');
  {
    const auto memory = MustOpen(Options());
    EXPECT_EQ(memory->GetSection("ada", "entities").status().code(), absl::StatusCode::kNotFound);
    ASSERT_TRUE(memory->PutSection("ada", "entities", {.epoch = 3, .bytes = "three"}).ok());
    const absl::Status stale = memory->PutSection("ada", "entities", {.epoch = 3, .bytes = "x"});
    EXPECT_EQ(stale.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(stale.ToString().find("has epoch 3; 3 is not above"), std::string::npos) << stale;
    ASSERT_TRUE(memory->PutSection("ada", "entities", {.epoch = 4, .bytes = bytes}).ok());
  }
  const auto memory = Reopen();
  const auto section = memory->GetSection("ada", "entities");
  ASSERT_TRUE(section.ok()) << section.status();
  EXPECT_EQ(section->epoch, 4u);
  EXPECT_EQ(section->bytes, bytes);
  EXPECT_EQ(memory->PutSection("ada", "entities", {.epoch = 4}).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(memory->GetSection("bob", "entities").status().code(), absl::StatusCode::kNotFound);
  for (int i = 1; i < 32; ++i) {
    ASSERT_TRUE(memory->PutSection("ada", absl::StrCat("s", i), {.epoch = 1}).ok());
  }
  EXPECT_EQ(memory->PutSection("ada", "one.more", {.epoch = 1}).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(memory->PutSection("ada", "s1", {.epoch = 2}).ok());
  EXPECT_EQ(memory->Stats("ada")->sections, 32);
}

}  // namespace
}  // namespace chimera
