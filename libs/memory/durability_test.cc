// What survives a power cut, a full disk and a read-only disk; the bound of the group commit.
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/philox.h"
#include "gtest/gtest.h"
#include "memory/faulty_fs.h"
#include "memory/test_store.h"

namespace chimera {
namespace {

class Durability : public StoreTest {
 protected:
  Durability() : fs_(std::make_shared<FaultyFs>()), env_(rocksdb::NewCompositeEnv(fs_)) {}

  LocalMemoryOptions FaultyOptions() const {
    LocalMemoryOptions options = Options();
    options.env = env_.get();
    options.group_commit = {.max_ms = 10'000, .max_items = 1'000'000};
    return options;
  }

  const std::shared_ptr<FaultyFs> fs_;
  const std::unique_ptr<rocksdb::Env> env_;
};

// What must be, and what may or may not be, after a power cut.
class Oracle {
 public:
  enum class State { kThere, kGone };

  void Begin(const std::string& text) { unsure_.insert(text); }
  // Acknowledged, and synced with everything before it when so.
  void Acknowledge(const std::string& text, State state, bool synced) {
    waiting_[text] = state;
    if (synced) Synced();
  }
  void Synced() {
    for (const auto& [text, state] : waiting_) {
      certain_[text] = state;
      unsure_.erase(text);
    }
    waiting_.clear();
  }
  // Compares with the store, and takes what is unsure from there.
  void Check(LocalMemory* memory, const std::string& user) {
    std::set<uint64_t> ids;
    for (uint64_t next = 0;;) {
      const auto page = *memory->ListFacts(user, next, 1024);
      if (page.empty()) break;
      for (const FactInfo& info : page) ids.insert(info.id);
      next = *ids.rbegin() + 1;
    }
    for (const std::string& text : unsure_) {
      certain_[text] = ids.contains(FactIdOf(user, text)) ? State::kThere : State::kGone;
    }
    unsure_.clear();
    waiting_.clear();
    size_t there = 0;
    for (const auto& [text, state] : certain_) {
      const bool found = ids.contains(FactIdOf(user, text));
      EXPECT_EQ(found, state == State::kThere) << text;
      there += found;
      if (!found) continue;
      const auto recalled = memory->Recall(user, text, 1);
      ASSERT_TRUE(recalled.ok()) << recalled.status();
      EXPECT_EQ(recalled->at(0).text, text);
    }
    EXPECT_EQ(ids.size(), there) << "facts that nobody wrote";
  }
  std::vector<std::string> There() const {
    std::vector<std::string> texts;
    for (const auto& [text, state] : certain_) {
      if (state == State::kThere && !unsure_.contains(text)) texts.push_back(text);
    }
    return texts;
  }

 private:
  std::map<std::string, State> certain_, waiting_;
  std::set<std::string> unsure_;
};

// Random calls until the power is off.
void WriteUntilPowerOff(LocalMemory* memory, FaultyFs* fs, const PhiloxStream& random,
                        uint64_t* draws, Oracle* oracle) {
  for (int i = 0; i < 5000 && !fs->powered_off(); ++i) {
    const uint32_t draw = random.Word((*draws)++);
    const bool inferred = draw % 4 != 0;
    const std::vector<std::string> there = oracle->There();
    if (draw % 16 == 1 && !there.empty()) {
      const std::string& text = there[draw / 16 % there.size()];
      oracle->Begin(text);
      if (memory->Forget("ada", FactIdToHex(FactIdOf("ada", text))).ok()) {
        oracle->Acknowledge(text, Oracle::State::kGone, true);
      }
    } else if (draw % 16 == 2 && !there.empty()) {
      const std::string& text = there[draw / 16 % there.size()];
      oracle->Begin(text);
      const auto dropped = memory->Drop("ada", std::vector<uint64_t>{FactIdOf("ada", text)});
      if (dropped.ok()) {
        oracle->Acknowledge(text, *dropped == 1 ? Oracle::State::kGone : Oracle::State::kThere,
                            false);
      }
    } else if (draw % 16 == 3) {
      if (memory->Sync().ok()) oracle->Synced();
    } else {
      const std::string text = absl::StrCat("fact ", *draws, inferred ? " inferred" : " said");
      oracle->Begin(text);
      const auto source = inferred ? Source::kInferred : Source::kUser;
      if (RememberFact(memory, "ada", Fact(text, source)).ok()) {
        oracle->Acknowledge(text, Oracle::State::kThere, !inferred);
      }
    }
  }
}

TEST_F(Durability, APowerCutLosesNothingSyncedAndBringsNothingBack) {
  constexpr uint64_t kSeed = 20261126;
  std::printf("seed %" PRIu64 "\n", kSeed);
  const PhiloxStream random(kSeed, RngPurpose::kMemoryDrop, 1);
  uint64_t draws = 0;
  Oracle oracle;
  ASSERT_NE(MustOpen(FaultyOptions()), nullptr);
  for (uint32_t round = 0; round < 10; ++round) {
    {
      const auto memory = MustOpen(FaultyOptions());
      ASSERT_NE(memory, nullptr) << round;
      fs_->PowerOffAfter(20 + random.Word(draws++) % 400);
      WriteUntilPowerOff(memory.get(), fs_.get(), random, &draws, &oracle);
      fs_->SetMode(FaultMode::kPowerOff);
    }
    fs_->LoseUnsynced(kSeed, round);
    const auto memory = MustOpen(FaultyOptions());
    ASSERT_NE(memory, nullptr) << round;
    EXPECT_EQ(memory->Stats("")->corrupt_records_skipped, 0) << round;
    oracle.Check(memory.get(), "ada");
    if (HasFailure()) return;
  }
  EXPECT_GT(oracle.There().size(), 50u);
}

TEST_F(Durability, TheFaultyDiskReallyLosesWhatIsNotSynced) {
  {
    const auto memory = MustOpen(FaultyOptions());
    ASSERT_TRUE(RememberFact(memory.get(), "ada", Fact("kept")).ok());
    for (int i = 0; i < 50; ++i) {
      ASSERT_TRUE(
          RememberFact(memory.get(), "ada", Fact(absl::StrCat("f", i), Source::kInferred)).ok());
    }
    fs_->SetMode(FaultMode::kPowerOff);
  }
  fs_->LoseUnsynced(3, 0);
  const auto facts = MustOpen(FaultyOptions())->Stats("ada")->facts;
  EXPECT_GE(facts, 1);
  EXPECT_LT(facts, 51);
}

TEST_F(Durability, TheGroupCommitKeepsItsBounds) {
  LocalMemoryOptions options = FaultyOptions();
  const auto lose = [&] { fs_->SetMode(FaultMode::kPowerOff); };
  const auto infer = [](LocalMemory* memory, const std::string& text) {
    ASSERT_TRUE(RememberFact(memory, "ada", Fact(text, Source::kInferred)).ok());
  };
  {  // by number: a power cut takes fewer than max_items
    options.group_commit.max_items = 8;
    const auto memory = MustOpen(options);
    for (int i = 0; i < 29; ++i) infer(memory.get(), absl::StrCat("number ", i));
    EXPECT_EQ(memory->Figures().unsynced_items, 5);
    lose();
  }
  fs_->LoseUnsynced(1, 0);
  EXPECT_GE(MustOpen(options)->Stats("ada")->facts, 24);
  {  // by time
    options.group_commit = {.max_ms = 20, .max_items = 1000};
    const auto memory = MustOpen(options);
    for (int i = 0; i < 5; ++i) infer(memory.get(), absl::StrCat("time ", i));
    for (int i = 0; i < 500 && memory->Figures().unsynced_items > 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(memory->Figures().unsynced_items, 0);
    lose();
  }
  fs_->LoseUnsynced(1, 1);
  EXPECT_GE(MustOpen(options)->Stats("ada")->facts, 24 + 5);
  {  // by closing
    options.group_commit = {.max_ms = 10'000, .max_items = 1000};
    const auto memory = MustOpen(options);
    infer(memory.get(), "closing");
  }
  fs_->SetMode(FaultMode::kPowerOff);
  fs_->LoseUnsynced(1, 2);
  EXPECT_GE(MustOpen(options)->Stats("ada")->facts, 24 + 5 + 1);
}

TEST_F(Durability, AFullDiskIsSaidAndOvercome) {
  const auto memory = MustOpen(FaultyOptions());
  ASSERT_TRUE(memory->Remember("ada", "before").ok());
  fs_->SetMode(FaultMode::kNoSpace);
  for (int i = 0; i < 3; ++i) {
    const absl::Status full = memory->Remember("ada", "while full").status();
    EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted) << full;
    EXPECT_NE(full.ToString().find("No space"), std::string::npos) << full;
    const auto facts = memory->Recall("ada", "before", 8);  // reading goes on
    ASSERT_TRUE(facts.ok());
    EXPECT_EQ(facts->size(), 1u);
  }
  EXPECT_FALSE(memory->Forget("ada", FactIdToHex(FactIdOf("ada", "before"))).ok());
  EXPECT_EQ(memory->Stats("ada")->facts, 1);
  fs_->SetMode(FaultMode::kNone);
  const auto after = memory->Remember("ada", "after");  // without a restart
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(memory->Recall("ada", "before", 8)->size(), 2u);
  fs_->SetMode(FaultMode::kPowerOff);
}

TEST_F(Durability, AFullDiskCorruptsNothing) {
  {
    const auto memory = MustOpen(FaultyOptions());
    ASSERT_TRUE(memory->Remember("ada", "before").ok());
    fs_->SetMode(FaultMode::kNoSpace);
    EXPECT_FALSE(memory->Remember("ada", "while full").ok());
    EXPECT_FALSE(RememberFact(memory.get(), "ada", Fact("guess", Source::kInferred)).ok());
  }
  fs_->SetMode(FaultMode::kNone);
  const auto memory = MustOpen(FaultyOptions());
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(memory->Stats("")->corrupt_records_skipped, 0);
  EXPECT_EQ(memory->Recall("ada", "before", 1)->at(0).text, "before");
  EXPECT_TRUE(memory->Remember("ada", "after").ok());
}

TEST_F(Durability, AReadOnlyDiskIsSaidAndCorruptsNothing) {
  {
    const auto memory = MustOpen(FaultyOptions());
    ASSERT_TRUE(memory->Remember("ada", "before").ok());
    fs_->SetMode(FaultMode::kReadOnly);
    for (int i = 0; i < 2; ++i) {
      const absl::Status refused = memory->Remember("ada", "while read-only").status();
      EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied) << refused;
      EXPECT_NE(refused.ToString().find("Read-only file system"), std::string::npos) << refused;
    }
    EXPECT_EQ(memory->Recall("ada", "before", 8)->size(), 1u);
  }
  const absl::Status opened = LocalMemory::Open(FaultyOptions()).status();
  EXPECT_EQ(opened.code(), absl::StatusCode::kPermissionDenied) << opened;
  fs_->SetMode(FaultMode::kNone);
  const auto memory = MustOpen(FaultyOptions());
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(memory->Stats("")->corrupt_records_skipped, 0);
  EXPECT_EQ(memory->Recall("ada", "before", 8)->size(), 1u);
  EXPECT_TRUE(memory->Remember("ada", "after").ok());
}

}  // namespace
}  // namespace chimera
