#include "memory/rocksdb_store.h"

#include <rocksdb/db.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "gtest/gtest.h"
#include "memory/memory_arguments.h"
#include "memory/record_codec.h"
#include "memory/test_store.h"

namespace chimera {
namespace {

using LocalMemoryTest = StoreTest;

int CountKeys(StoreDb* db, Family family) {
  int count = 0;
  const auto it = db->Scan(family);
  for (it->SeekToFirst(); it->Valid(); it->Next()) ++count;
  return count;
}

bool OnDisk(const std::string& path, const std::string& bytes) {
  return !FilesWith(path, bytes).empty();
}

// The same value with one bit of it flipped.
void Damage(StoreDb* db, Family family, const std::string& key, size_t at) {
  std::string value = *db->Get(family, key);
  value[at] = static_cast<char>(value[at] ^ 1);
  rocksdb::WriteBatch batch;
  batch.Put(db->handle(family), key, value);
  ASSERT_TRUE(db->Write(&batch, true, 1).ok());
}

TEST_F(LocalMemoryTest, RememberAndRecall) {
  const auto memory = MustOpen(Options());
  const int64_t before = Clock::Real().WallMs();
  const auto tea = memory->Remember("ada", "Ada drinks green tea in the morning");
  ASSERT_TRUE(tea.ok()) << tea.status();
  EXPECT_TRUE(tea->created);
  EXPECT_TRUE(ValidateFactId(tea->fact_id).ok());
  ASSERT_TRUE(memory->Remember("ada", "The bicycle stands behind the house").ok());
  const auto facts = memory->Recall("ada", "Ada drinks green tea in the morning", 8);
  ASSERT_TRUE(facts.ok()) << facts.status();
  ASSERT_EQ(facts->size(), 2u);
  EXPECT_EQ((*facts)[0].fact_id, tea->fact_id);
  EXPECT_EQ((*facts)[0].text, "Ada drinks green tea in the morning");
  EXPECT_EQ((*facts)[0].similarity, 1.0f);
  EXPECT_GE((*facts)[0].created_ms, before);
  EXPECT_LE((*facts)[0].created_ms, Clock::Real().WallMs());
  EXPECT_LT((*facts)[1].similarity, 0.3f);
  EXPECT_EQ(memory->Recall("ada", "tea", 1)->size(), 1u);
  EXPECT_TRUE(memory->Recall("nobody", "tea", 1)->empty());
}

TEST_F(LocalMemoryTest, SameTextIsOneFact) {
  const auto memory = MustOpen(Options());
  const auto first = memory->Remember("ada", "one");
  const auto second = memory->Remember("ada", "one");
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->fact_id, second->fact_id);
  EXPECT_TRUE(first->created);
  EXPECT_FALSE(second->created);
  EXPECT_EQ(memory->Stats("ada")->facts, 1);
}

TEST_F(LocalMemoryTest, ReopenedStoreIsTheSame) {
  std::vector<RecalledFact> before;
  {
    const auto memory = MustOpen(Options());
    for (int i = 0; i < 50; ++i) {
      ASSERT_TRUE(memory->Remember("ada", absl::StrCat("fact number ", i, " about rivers")).ok());
    }
    before = *memory->Recall("ada", "fact number 17 about rivers", 64);
  }
  const auto memory = Reopen();
  EXPECT_EQ(memory->tokenizer().Hash(), TestTokenizer()->Hash());
  const auto after = *memory->Recall("ada", "fact number 17 about rivers", 64);
  ASSERT_EQ(after.size(), 50u);
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].fact_id, before[i].fact_id);
    EXPECT_EQ(after[i].text, before[i].text);
    EXPECT_EQ(after[i].similarity, before[i].similarity);
    EXPECT_EQ(after[i].created_ms, before[i].created_ms);
    EXPECT_LE(after[i].similarity, after[i > 0 ? i - 1 : 0].similarity);
  }
  EXPECT_EQ(after[0].text, "fact number 17 about rivers");
  EXPECT_FALSE(memory->Remember("ada", "fact number 3 about rivers")->created);
}

TEST_F(LocalMemoryTest, UsersAreIsolated) {
  const auto memory = MustOpen(Options());
  const auto mine = memory->Remember("ada", "the safe code is 1815");
  ASSERT_TRUE(mine.ok());
  ASSERT_TRUE(memory->Remember("ada.b", "shared words: the safe code").ok());
  ASSERT_TRUE(memory->Remember("bob", "the safe code is 1815").ok());
  EXPECT_EQ(memory->Recall("ada", "safe code", 64)->size(), 1u);
  EXPECT_EQ(memory->Recall("eve", "safe code", 64)->size(), 0u);
  EXPECT_EQ(*memory->Forget("bob", mine->fact_id), 0);  // ids of others mean nothing
  EXPECT_EQ(*memory->ForgetAll("ada"), 1);
  EXPECT_EQ(memory->Recall("ada.b", "safe code", 64)->size(), 1u);
  EXPECT_EQ(memory->Recall("bob", "safe code", 64)->size(), 1u);
  EXPECT_EQ(memory->Stats("")->users, 2);
  EXPECT_EQ(memory->Stats("ada")->users, 0);
}

TEST_F(LocalMemoryTest, ForgetReallyDeletes) {
  const std::string secret = "the spare key lies under the third flower pot";
  {
    const auto memory = MustOpen(Options());
    const auto id = memory->Remember("ada", secret)->fact_id;
    const auto kept = memory->Remember("ada", "kept: an umbrella")->fact_id;
    EXPECT_TRUE(OnDisk(path_, secret));
    EXPECT_EQ(*memory->Forget("ada", id), 1);
    EXPECT_EQ(*memory->Forget("ada", id), 0);
    EXPECT_FALSE(OnDisk(path_, secret));
    EXPECT_TRUE(OnDisk(path_, "kept: an umbrella"));
    const auto facts = *memory->Recall("ada", secret, 64);
    ASSERT_EQ(facts.size(), 1u);
    EXPECT_EQ(facts[0].fact_id, kept);
  }
  EXPECT_EQ(CountKeys(OpenDatabase().get(), Family::kFacts), 1);
  const auto memory = Reopen();
  ASSERT_EQ(memory->Recall("ada", secret, 64)->size(), 1u);
  // This one has left the log and lies in a table file.
  EXPECT_EQ(*memory->Forget("ada", memory->Recall("ada", secret, 1)->front().fact_id), 1);
  EXPECT_FALSE(OnDisk(path_, "kept: an umbrella"));
}

TEST_F(LocalMemoryTest, ForgetAllReallyDeletes) {
  {
    const auto memory = MustOpen(Options());
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(memory->Remember("ada", absl::StrCat("private matter ", i)).ok());
    }
    ASSERT_TRUE(memory->Remember("bob", "public matter").ok());
    EXPECT_EQ(*memory->ForgetAll("ada"), 20);
    EXPECT_EQ(*memory->ForgetAll("ada"), 0);
    EXPECT_FALSE(OnDisk(path_, "private matter"));
    ASSERT_TRUE(memory->Remember("ada", "a new beginning").ok());
  }
  for (const Family family : {Family::kFacts, Family::kSketches, Family::kUsage}) {
    EXPECT_EQ(CountKeys(OpenDatabase().get(), family), 2) << FamilyName(family);
  }
  EXPECT_EQ(Reopen()->Stats("")->facts, 2);
}

TEST_F(LocalMemoryTest, LimitsAreEnforced) {
  LocalMemoryOptions options = Options();
  options.facts_max = 4;
  options.facts_per_user_max = 3;
  const auto memory = MustOpen(options);
  const auto code = [](const auto& result) { return result.status().code(); };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kExhausted = absl::StatusCode::kResourceExhausted;
  EXPECT_EQ(code(memory->Remember("ada", "")), kInvalid);
  EXPECT_EQ(code(memory->Remember("ada", std::string(kFactTextBytesMax + 1, 'x'))), kInvalid);
  EXPECT_EQ(code(memory->Remember("ada", "caf\xe9")), kInvalid);
  EXPECT_EQ(code(memory->Remember("../ada", "x")), kInvalid);
  EXPECT_EQ(code(memory->Recall("", "x", 1)), kInvalid);
  EXPECT_EQ(code(memory->Recall("ada", "", 1)), kInvalid);
  EXPECT_EQ(code(memory->Recall("ada", "x", 0)), kInvalid);
  EXPECT_EQ(code(memory->Recall("ada", "x", 65)), kInvalid);
  EXPECT_EQ(code(memory->Forget("ada", "zz")), kInvalid);
  EXPECT_EQ(code(memory->ForgetAll("a b")), kInvalid);
  EXPECT_EQ(code(memory->Stats("a b")), kInvalid);
  EXPECT_EQ(memory->Stats("")->facts, 0);
  ASSERT_TRUE(memory->Remember("ada", std::string(kFactTextBytesMax, 'x')).ok());
  ASSERT_TRUE(memory->Remember("ada", "two").ok());
  ASSERT_TRUE(memory->Remember("ada", "three").ok());
  EXPECT_EQ(code(memory->Remember("ada", "four")), kExhausted);
  EXPECT_TRUE(memory->Remember("ada", "three").ok());  // there already: no room needed
  ASSERT_TRUE(memory->Remember("bob", "one").ok());
  EXPECT_EQ(code(memory->Remember("bob", "two")), kExhausted);
  const auto stats = *memory->Stats("ada");
  EXPECT_EQ(stats.facts, 3);
  EXPECT_EQ(stats.text_bytes, static_cast<int64_t>(kFactTextBytesMax) + 8);
  EXPECT_EQ(stats.facts_max, 3);
  EXPECT_EQ(memory->Stats("")->facts_max, 4);
}

TEST_F(LocalMemoryTest, DamagedTextIsSkippedCountedAndRepaired) {
  std::string bad_id;
  {
    const auto memory = MustOpen(Options());
    bad_id = memory->Remember("ada", "this record will be damaged")->fact_id;
    ASSERT_TRUE(memory->Remember("ada", "this record stays whole").ok());
  }
  Damage(OpenDatabase().get(), Family::kFacts, IdKey("ada", FactIdFromHex(bad_id)), 25);
  const auto memory = Reopen();
  EXPECT_EQ(memory->Recall("ada", "this record", 8)->size(), 1u);
  EXPECT_EQ(memory->Recall("ada", "this record", 8)->size(), 1u);
  EXPECT_EQ(memory->Stats("")->corrupt_records_skipped, 1);
  EXPECT_EQ(memory->Stats("")->facts, 1);
  EXPECT_TRUE(memory->Remember("ada", "this record will be damaged")->created);
  EXPECT_EQ(memory->Recall("ada", "this record", 8)->size(), 2u);
  EXPECT_EQ(*memory->Forget("ada", bad_id), 1);
  EXPECT_EQ(memory->Stats("ada")->entries, 1);
}

TEST_F(LocalMemoryTest, DamagedSketchIsMadeAnewFromItsText) {
  const std::string text = "this sketch will be damaged";
  std::string key;
  {
    const auto memory = MustOpen(Options());
    key = IdKey("ada", FactIdFromHex(memory->Remember("ada", text)->fact_id));
  }
  Damage(OpenDatabase().get(), Family::kSketches, key, 700);
  for (int open = 0; open < 2; ++open) {
    const auto memory = Reopen();
    EXPECT_EQ(memory->Stats("")->corrupt_records_skipped, 0);
    EXPECT_EQ(memory->Recall("ada", text, 8)->at(0).similarity, 1.0f);
  }
  // With its text damaged too nothing is left; the user's Reset takes the rest away.
  Damage(OpenDatabase().get(), Family::kSketches, key, 700);
  Damage(OpenDatabase().get(), Family::kFacts, key, 25);
  {
    const auto memory = Reopen();
    EXPECT_EQ(memory->Stats("")->corrupt_records_skipped, 1);
    EXPECT_TRUE(memory->Recall("ada", text, 8)->empty());
    EXPECT_EQ(*memory->Reset("ada"), 0);
  }
  EXPECT_EQ(CountKeys(OpenDatabase().get(), Family::kFacts), 0);
}

TEST_F(LocalMemoryTest, StrangeKeysAreSkipped) {
  MustOpen(Options());
  {
    const auto db = OpenDatabase();
    rocksdb::WriteBatch batch;
    for (const Family family : {Family::kSketches, Family::kRelations, Family::kCases,
                                Family::kGuidelines, Family::kSections}) {
      batch.Put(db->handle(family), "no user", "x");
      batch.Put(db->handle(family), std::string("ada\0short", 9), "x");
    }
    ASSERT_TRUE(db->Write(&batch, true, 10).ok());
  }
  EXPECT_EQ(Reopen()->Stats("")->corrupt_records_skipped, 10);
  EXPECT_EQ(Reopen()->Stats("")->entries, 0);
}

TEST_F(LocalMemoryTest, OtherFormatVersionsAreRefusedUntouched) {
  // What version 1 wrote: one family with a meta record of its version.
  const auto open_plain = [this] {
    rocksdb::Options options;
    options.create_if_missing = true;
    rocksdb::DB* db = nullptr;
    EXPECT_TRUE(MakeDirs(path_).ok());
    EXPECT_TRUE(rocksdb::DB::Open(options, path_ + "/db", &db).ok());
    return std::unique_ptr<rocksdb::DB>(db);
  };
  std::string meta = EncodeStoreMeta({.codebook_seed = 3, .tokenizer_hash = 4});
  meta[8] = 1;
  std::string checksum;
  PutInt(Xxh3(std::string_view(meta).substr(0, 32)), 8, &checksum);
  meta.replace(32, 8, checksum);
  ASSERT_TRUE(open_plain()->Put({}, "meta", meta).ok());
  const absl::Status refused = LocalMemory::Open(Options()).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(refused.ToString().find("version 1; this program reads 2"), std::string::npos)
      << refused;
  std::vector<std::string> families;
  ASSERT_TRUE(rocksdb::DB::ListColumnFamilies({}, path_ + "/db", &families).ok());
  EXPECT_EQ(families.size(), 1u);
  std::string value;
  EXPECT_TRUE(open_plain()->Get({}, "meta", &value).ok());
  EXPECT_EQ(value, meta);
}

TEST_F(LocalMemoryTest, OpenSaysWhatIsWrong) {
  const auto code = [](const LocalMemoryOptions& options) {
    return LocalMemory::Open(options).status().code();
  };
  EXPECT_EQ(code({.path = ""}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.path = path_}), absl::StatusCode::kFailedPrecondition);  // no tokenizer
  LocalMemoryOptions options = Options();
  options.facts_max = 0;
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  {
    const auto memory = MustOpen(Options());
    const auto second = LocalMemory::Open({.path = path_});
    EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition) << second.status();
    EXPECT_NE(second.status().ToString().find("open elsewhere"), std::string::npos);
  }
  std::filesystem::remove_all(path_);
  std::ofstream(path_) << "not a folder";
  EXPECT_EQ(code(Options()), absl::StatusCode::kFailedPrecondition);
  options = Options();
  options.path = path_ + "/below";  // the parent is a file
  EXPECT_FALSE(LocalMemory::Open(options).ok());
  options.path = "/proc/chimera_memory_test";  // not even root may write there
  EXPECT_FALSE(LocalMemory::Open(options).ok());
}

TEST_F(LocalMemoryTest, DamagedFilesAreDataLoss) {
  {
    const auto memory = MustOpen(Options());
    ASSERT_TRUE(memory->Remember("ada", "x").ok());
  }
  const auto damage = [&](const std::string& file, const std::string& bytes) {
    const std::string kept = *ReadFile(file, 1 << 24);
    std::ofstream(file, std::ios::trunc) << bytes;
    const absl::Status status = LocalMemory::Open({.path = path_}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << file << ": " << status;
    std::ofstream(file, std::ios::trunc) << kept;
  };
  for (const auto& entry : std::filesystem::directory_iterator(path_ + "/db")) {
    if (entry.path().filename().string().starts_with("MANIFEST")) {
      damage(entry.path().string(), "garbage where the manifest was");
      break;
    }
  }
  damage(path_ + "/db/CURRENT", "nonsense");
  damage(path_ + "/tokenizer.model", "nonsense");
  ASSERT_TRUE(TestTokenizer(1024)->WriteFile(path_ + "/other.model").ok());
  damage(path_ + "/tokenizer.model", *ReadFile(path_ + "/other.model", 1 << 24));
  EXPECT_EQ(Reopen()->Stats("")->facts, 1);
}

TEST_F(LocalMemoryTest, KeepsTheTokenizerItWasMadeWith) {
  ASSERT_TRUE(MakeDirs(path_).ok());
  const std::string file = path_ + "/given.model";
  ASSERT_TRUE(TestTokenizer(1024)->WriteFile(file).ok());
  MustOpen({.path = path_, .tokenizer_path = file});
  const auto memory = MustOpen(Options());  // gives the one of 8192 ranks
  EXPECT_EQ(memory->tokenizer().Hash(), TestTokenizer(1024)->Hash());
  EXPECT_NE(memory->tokenizer().Hash(), TestTokenizer()->Hash());
}

TEST_F(LocalMemoryTest, ManyThreads) {
  const auto memory = MustOpen(Options());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&memory, t] {
      const std::string user = absl::StrCat("user", t % 2);
      for (int i = 0; i < 25; ++i) {
        const auto fact = memory->Remember(user, absl::StrCat("thread ", t, " says ", i));
        EXPECT_TRUE(fact.ok());
        EXPECT_TRUE(memory->Recall(user, "thread says", 5).ok());
        const int64_t deleted = i % 12 == 0 ? *memory->Forget(user, fact->fact_id) : 1;
        EXPECT_EQ(deleted, 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(memory->Stats("")->facts, 4 * (25 - 3));
  EXPECT_EQ(memory->Stats("user0")->facts, 2 * (25 - 3));
}

}  // namespace
}  // namespace chimera
