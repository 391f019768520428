// Quotas, ceilings, and users who cannot see each other.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "memory/fact_record.h"
#include "memory/test_store.h"

namespace chimera {
namespace {

using StoreQuota = StoreTest;

class ManualClock final : public Clock {
 public:
  int64_t NowNs() const override { return now_ns; }
  int64_t WallMs() const override { return 1'700'000'000'000 + now_ns / 1'000'000; }
  int64_t now_ns = 0;
};

void ExpectRefused(const absl::Status& status, const std::string& words) {
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_NE(status.ToString().find(words), std::string::npos) << status;
}

TEST_F(StoreQuota, BytesAndEntriesOfAUser) {
  LocalMemoryOptions options = Options();
  options.quota.bytes_max = 2 * FactBytes(3, 0, 100);
  options.quota.entries_max = 2;
  const auto memory = MustOpen(options);
  ASSERT_TRUE(memory->Remember("ada", std::string(100, 'a')).ok());
  ExpectRefused(
      memory->Remember("ada", std::string(101, 'b')).status(),
      absl::StrCat("user ada has ", FactBytes(3, 0, 100), " bytes, ", FactBytes(3, 0, 101),
                   " more exceed the limit ", options.quota.bytes_max));
  ASSERT_TRUE(memory->Remember("ada", std::string(100, 'b')).ok());
  ExpectRefused(memory->PutRecords("ada", RecordClass::kCase, std::vector<MemoryRecord>{{1, "x"}},
                                   Source::kUser),
                "user ada has 2 entries, 1 more exceed the limit 2");
  EXPECT_EQ(memory->Stats("ada")->bytes, options.quota.bytes_max);
  // Another user has room, and what was deleted makes room.
  EXPECT_TRUE(memory->Remember("bob", std::string(100, 'b')).ok());
  EXPECT_EQ(*memory->ForgetAll("ada"), 2);
  EXPECT_TRUE(memory->Remember("ada", std::string(101, 'c')).ok());
}

TEST_F(StoreQuota, CeilingOfTheStoresBytesAndUsers) {
  LocalMemoryOptions options = Options();
  options.ceilings.bytes = 2 * FactBytes(3, 0, 100);
  options.ceilings.users = 3;
  const auto memory = MustOpen(options);
  ASSERT_TRUE(memory->Remember("ada", std::string(100, 'a')).ok());
  ASSERT_TRUE(memory->Remember("bob", std::string(100, 'a')).ok());
  ExpectRefused(memory->Remember("eve", "x").status(), "memory store has ");
  ExpectRefused(memory->Remember("fay", "x").status(), "the limit is 3");
  EXPECT_EQ(memory->Figures().bytes, options.ceilings.bytes);
  EXPECT_EQ(memory->Figures().bytes_max, options.ceilings.bytes);
  EXPECT_EQ(memory->Figures().users, 3);
}

TEST_F(StoreQuota, RateIsATokenBucketOnTheClock) {
  ManualClock clock;
  LocalMemoryOptions options = Options();
  options.clock = &clock;
  options.quota.writes_per_second = 2;
  options.quota.write_burst = 256;
  const auto memory = MustOpen(options);
  std::vector<NewFact> facts;
  for (int i = 0; i < 255; ++i) facts.push_back(Fact(absl::StrCat("fact ", i), Source::kInferred));
  ASSERT_TRUE(memory->Remember("ada", facts).ok());
  ASSERT_TRUE(memory->Remember("ada", "one more").ok());
  ExpectRefused(memory->Remember("ada", "two more").status(),
                "user ada writes 1 more items; the limit is 2 a second after a burst of 256");
  EXPECT_TRUE(memory->Remember("bob", "has a bucket of its own").ok());
  clock.now_ns += 499'000'000;
  EXPECT_FALSE(memory->Remember("ada", "two more").ok());
  clock.now_ns += 2'000'000;
  EXPECT_TRUE(memory->Remember("ada", "two more").ok());
  EXPECT_FALSE(memory->Remember("ada", "three more").ok());
  clock.now_ns += 1'000'000'000'000;  // never more than a burst
  EXPECT_TRUE(memory->Remember("ada", "three more").ok());
  // A write that changes nothing costs nothing.
  for (int i = 0; i < 300; ++i) EXPECT_TRUE(memory->Remember("ada", "three more").ok());
}

// FEATURES H8: what is another's and what is not there have one answer.
TEST_F(StoreQuota, UsersCannotSeeEachOther) {
  const auto memory = MustOpen(Options());
  const auto secret =
      *RememberFact(memory.get(), "ada", Fact("the code is 1815", Source::kInferred, "code"));
  const std::vector<Relation> relations = {{"safe", "opens with", "1815"}};
  const std::vector<MemoryRecord> records = {{7, "plan"}};
  ASSERT_TRUE(memory->Relate("ada", relations, Source::kUser).ok());
  ASSERT_TRUE(memory->PutRecords("ada", RecordClass::kCase, records, Source::kUser).ok());
  ASSERT_TRUE(memory->PutSection("ada", "entities", {.epoch = 1, .bytes = "e"}).ok());
  const std::string nobodys(16, '0');
  // Eve owns something, so that her requests take the same way as Ada's.
  ASSERT_TRUE(memory->Remember("eve", "eve's own").ok());
  const std::vector<std::string> query = {"the code is 1815"};
  const auto recalled = *memory->Recall("eve", query, {});
  ASSERT_EQ(recalled[0].size(), 1u);
  EXPECT_EQ(recalled[0][0].text, "eve's own");
  for (const std::string& id : {secret.fact_id, nobodys}) {
    EXPECT_EQ(*memory->Forget("eve", id), 0);
    EXPECT_EQ(*memory->Reinforce("eve", std::vector<FactUse>{{id, -1}}), 0);
    EXPECT_EQ(*memory->Drop("eve", std::vector<uint64_t>{FactIdFromHex(id)}), 0);
  }
  EXPECT_EQ(memory->ListFacts("eve", 0, 10)->size(), 1u);
  EXPECT_TRUE(memory->Related("eve", {}, 10)->empty());
  EXPECT_EQ(*memory->Unrelate("eve", {}), 0);
  for (const uint64_t id : {7, 8}) {
    EXPECT_EQ(*memory->EraseRecords("eve", RecordClass::kCase, std::vector<uint64_t>{id}), 0);
  }
  EXPECT_TRUE(memory->ScanRecords("eve", RecordClass::kCase, 0, 10)->empty());
  EXPECT_EQ(memory->GetSection("eve", "entities").status().code(), absl::StatusCode::kNotFound);
  std::string exported;
  ASSERT_TRUE(memory
                  ->Export("eve",
                           [&](std::string_view line) {
                             exported += line;
                             return absl::OkStatus();
                           })
                  .ok());
  EXPECT_EQ(exported.find("1815"), std::string::npos);
  EXPECT_EQ(memory->Stats("eve")->entries, 1);
  EXPECT_EQ(*memory->Reset("eve"), 1);
  // All of Ada's is there, untouched.
  const MemoryStats stats = *memory->Stats("ada");
  EXPECT_EQ(stats.facts, 1);
  EXPECT_EQ(stats.relations, 1);
  EXPECT_EQ(stats.cases, 1);
  EXPECT_EQ(stats.sections, 1);
  EXPECT_EQ(memory->Recall("ada", "code", 1)->at(0).uses, 0u);
}

TEST_F(StoreQuota, OptionsAreChecked) {
  const auto refused = [this](auto change) {
    LocalMemoryOptions options = Options();
    change(options);
    return LocalMemory::Open(options).status().code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](auto& o) { o.quota.bytes_max = 0; }));
  EXPECT_TRUE(refused([](auto& o) { o.quota.writes_per_second = -1; }));
  EXPECT_TRUE(refused([](auto& o) { o.quota.write_burst = 255; }));
  EXPECT_TRUE(refused([](auto& o) { o.ceilings.users = 0; }));
  EXPECT_TRUE(refused([](auto& o) { o.group_commit.max_ms = 0; }));
  EXPECT_TRUE(refused([](auto& o) { o.group_commit.max_items = 0; }));
}

}  // namespace
}  // namespace chimera
