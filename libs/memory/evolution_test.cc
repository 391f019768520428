#include "memory/evolution.h"

#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "gtest/gtest.h"
#include "memory/policy_testing.h"

namespace chimera {
namespace {

// A store in a map.
class MapStore : public EvolutionStore {
 public:
  struct Fact {
    std::string text;
    bool of_user = false;
    float weight = 0;

    bool operator==(const Fact&) const = default;
  };

  absl::StatusOr<std::vector<uint64_t>> Put(std::span<const ProposedFact> proposed) override {
    CHIMERA_RETURN_IF_ERROR(Answer());
    if (full) return absl::ResourceExhaustedError("quota");
    std::vector<uint64_t> ids;
    for (const ProposedFact& fact : proposed) {
      if (!facts.try_emplace(fact.id, Fact{.text = fact.text}).second) continue;
      ids.push_back(fact.id);
    }
    return ids;
  }
  absl::Status Drop(std::span<const uint64_t> ids) override {
    CHIMERA_RETURN_IF_ERROR(Answer());
    for (const uint64_t id : ids) {
      if (facts.contains(id) && !facts[id].of_user) facts.erase(id);
    }
    return absl::OkStatus();
  }
  absl::Status SetWeight(uint64_t id, float weight) override {
    CHIMERA_RETURN_IF_ERROR(Answer());
    if (facts.contains(id)) facts[id].weight = weight;
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<uint64_t>> List() override {
    CHIMERA_RETURN_IF_ERROR(Answer());
    std::vector<uint64_t> ids;
    for (const auto& [id, fact] : facts) {
      if (!fact.of_user) ids.push_back(id);
    }
    return ids;
  }
  int64_t Bytes() const override {
    int64_t bytes = 0;
    for (const auto& [id, fact] : facts) bytes += 1024 + static_cast<int64_t>(fact.text.size());
    return bytes;
  }
  absl::StatusOr<LearnedBanks> Banks() override {
    CHIMERA_RETURN_IF_ERROR(Answer());
    return banks;
  }
  absl::Status RestoreBanks(const LearnedBanks& good) override {
    CHIMERA_RETURN_IF_ERROR(Answer());
    banks = good;
    return absl::OkStatus();
  }

  absl::Status Answer() const {
    return failing ? absl::UnavailableError("store is down") : absl::OkStatus();
  }

  LearnedBanks banks;
  bool full = false;
  std::map<uint64_t, Fact> facts;
  bool failing = false;
};

ProposedFact Fact(uint64_t id) { return {.id = id, .text = absl::StrCat("fact ", id)}; }

class EvolutionTest : public testing::Test {
 protected:
  EvolutionTest() {
    folder_ = testing::TempDir() + "/evolution_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    EXPECT_TRUE(MakeDirs(folder_).ok());
    options_.pool = {.facts_max = 64, .batch_max = 4, .seed = 3};
  }
  ~EvolutionTest() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<Evolution> MustOpen() {
    auto evolution = Evolution::Open(options_, &store_, path());
    EXPECT_TRUE(evolution.ok()) << evolution.status();
    return evolution.ok() ? *std::move(evolution) : nullptr;
  }
  std::string path() const { return folder_ + "/evolution.state"; }
  std::map<StateSection, std::string> SectionsOnDisk() const {
    return StateFile::Open(path())->image().sections;
  }

  // One turn of a session: 32 tokens, a proposed fact, an evaluation of a fact of the pool with
  // this benefit.
  void Turn(Evolution* evolution, double delta) {
    for (int i = 0; i < 32; ++i) {
      ASSERT_TRUE(evolution->OnToken(1.0, false, true).ok());
      ++tokens_;
    }
    ASSERT_TRUE(Offer(evolution, next_id_++).ok());
    Evaluate(evolution, delta);
  }
  static absl::StatusOr<int> Offer(Evolution* evolution, uint64_t id) {
    const ProposedFact fact = Fact(id);
    return evolution->Propose({&fact, 1});
  }
  void Evaluate(Evolution* evolution, double delta) {
    for (const PooledFact& fact : evolution->pool().Facts()) {
      if (fact.id < last_evaluated_ || !evolution->WantsEvaluation(fact.id)) continue;
      last_evaluated_ = fact.id + 1;
      ASSERT_TRUE(evolution->OnEvaluation(EvaluationOf(fact.id, delta)).ok());
      ++evaluations_;
      return;
    }
    last_evaluated_ = 0;
  }
  Evaluation EvaluationOf(uint64_t id, double delta) {
    return {.fact_id = id, .nll_with = 64.0 - 64 * delta, .nll_without = 64.0, .tokens = 64};
  }
  // Learns well until a snapshot is trusted.
  void LearnWell(Evolution* evolution) {
    const int start = evaluations_;
    while (evaluations_ < start + 70) Turn(evolution, 0.2);
    ASSERT_TRUE(evolution->Checkpoint().ok());
    for (const int until = evaluations_ + 70; evaluations_ < until;) Turn(evolution, 0.2);
    ASSERT_TRUE(evolution->Checkpoint().ok());
    ASSERT_EQ(evolution->safety().state(), EvolutionState::kNormal);
  }

  std::string folder_;
  EvolutionOptions options_;
  MapStore store_;
  uint64_t next_id_ = 1;
  uint64_t last_evaluated_ = 0;
  int tokens_ = 0;
  int evaluations_ = 0;
};

TEST_F(EvolutionTest, FactsGoThroughGatePoolAndStore) {
  const auto evolution = MustOpen();
  int written = 0;
  for (int n = 0; n < 6400; ++n) {
    const auto write = evolution->OnToken(n % 32 == 31 ? 50.0 : 1.0 + 0.1 * (n % 3), false, true);
    ASSERT_TRUE(write.ok());
    if (*write) {
      ASSERT_TRUE(*Offer(evolution.get(), next_id_++));
      ++written;
    }
  }
  EXPECT_GT(written, 150);
  EXPECT_EQ(evolution->counters().written, static_cast<uint64_t>(written));
  EXPECT_EQ(evolution->pool().size(), 64);
  EXPECT_EQ(store_.facts.size(), 64u);
  for (const auto& [id, fact] : store_.facts) EXPECT_TRUE(evolution->IsReadable(id));
}

TEST_F(EvolutionTest, APoisonedWriterIsFrozenInTime) {
  const auto evolution = MustOpen();
  LearnWell(evolution.get());
  const int evaluations_before = evaluations_;
  int tokens_at_64th = 0;
  while (evolution->safety().state() == EvolutionState::kNormal && evaluations_ < 10000) {
    Turn(evolution.get(), -0.3);
    if (next_id_ % 7 == 0) {
      ASSERT_TRUE(evolution->Checkpoint().ok());
    }
    if (evaluations_ - evaluations_before <= 64) tokens_at_64th = tokens_;
  }
  EXPECT_LE(evaluations_ - evaluations_before, 64);
  EXPECT_LE(tokens_ - tokens_at_64th, 256);
  EXPECT_EQ(evolution->safety().state(), EvolutionState::kProbation);
  EXPECT_EQ(evolution->safety().reason(), FreezeReason::kContrast);
  EXPECT_EQ(evolution->counters().rollbacks, 1u);
}

TEST_F(EvolutionTest, RollbackRestoresTheGoodBytes) {
  const auto evolution = MustOpen();
  store_.facts[1000000] = {.text = "the user's", .of_user = true};
  store_.banks = {.cases = "good cases", .guidelines = "good guidelines"};
  LearnWell(evolution.get());
  store_.banks = {.cases = "bad cases", .guidelines = "bad guidelines"};
  const auto good = SectionsOnDisk();
  auto good_pool = FactPool::Decode(options_.pool, good.at(StateSection::kGoodFactPool));
  ASSERT_GT(good_pool->size(), 30);
  const int before = evaluations_;
  while (evolution->safety().state() == EvolutionState::kNormal && evaluations_ < before + 100) {
    Turn(evolution.get(), -0.3);
    if (next_id_ % 7 == 0) {
      ASSERT_TRUE(evolution->Checkpoint().ok());
    }
  }
  ASSERT_EQ(evolution->safety().state(), EvolutionState::kProbation);
  const auto after = SectionsOnDisk();
  EXPECT_EQ(after.at(StateSection::kFactPool), good.at(StateSection::kGoodFactPool));
  EXPECT_EQ(after.at(StateSection::kGoodCases), "good cases");
  FactPool live = evolution->pool();
  EXPECT_EQ(live.Encode(), good.at(StateSection::kGoodFactPool));
  EXPECT_EQ(store_.banks.cases, "good cases");
  EXPECT_EQ(store_.banks.guidelines, "good guidelines");
  // The store holds the facts of the snapshot with their weights, and no other but the user's.
  EXPECT_TRUE(store_.facts.contains(1000000));
  EXPECT_EQ(store_.facts.size(), static_cast<size_t>(good_pool->size()) + 1);
  for (const PooledFact& fact : good_pool->Facts()) {
    ASSERT_TRUE(store_.facts.contains(fact.id));
    EXPECT_EQ(store_.facts[fact.id].text, absl::StrCat("fact ", fact.id));
    EXPECT_EQ(store_.facts[fact.id].weight, fact.trial.weight);
  }
}

TEST_F(EvolutionTest, ASnapshotIsTrustedAfterTokensAndEvaluations) {
  const auto evolution = MustOpen();
  const std::string empty = FactPool(options_.pool).Encode();
  const auto good = [&] {
    EXPECT_TRUE(evolution->Checkpoint().ok());
    return SectionsOnDisk().at(StateSection::kGoodFactPool);
  };
  for (int i = 0; i < 64; ++i) ASSERT_TRUE(*Offer(evolution.get(), next_id_++));
  EXPECT_EQ(good(), empty);  // a candidate
  for (const int until = evaluations_ + 64; evaluations_ < until;) Evaluate(evolution.get(), 0.1);
  EXPECT_EQ(good(), empty);  // evaluations, but no tokens
  for (int i = 0; i < 255; ++i) ASSERT_TRUE(evolution->OnToken(1, false, true).ok());
  EXPECT_EQ(good(), empty);
  ASSERT_TRUE(evolution->OnToken(1, false, true).ok());
  EXPECT_NE(good(), empty);
}

TEST_F(EvolutionTest, AFactOfTheUserIsNoneOfThese) {
  const auto evolution = MustOpen();
  uint64_t id = 1;
  while (!IsEvaluated(options_.contrastive, id)) ++id;
  store_.facts[id] = {.text = "the user's", .of_user = true};
  EXPECT_EQ(*Offer(evolution.get(), id), 0);
  EXPECT_FALSE(evolution->WantsEvaluation(id));
  EXPECT_EQ(evolution->pool().size(), 0);
  // One that the user says later is his from then on: a draw or a verdict leaves it in the store.
  while (!IsEvaluated(options_.contrastive, ++id)) continue;
  ASSERT_EQ(*Offer(evolution.get(), id), 1);
  store_.facts[id].of_user = true;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(evolution->OnEvaluation(EvaluationOf(id, -1)).ok());
  EXPECT_FALSE(evolution->IsReadable(id));
  EXPECT_TRUE(store_.facts.contains(id));
}

TEST_F(EvolutionTest, FailuresFreezeToo) {
  const auto evolution = MustOpen();
  LearnWell(evolution.get());
  const auto good = SectionsOnDisk();
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(Offer(evolution.get(), next_id_++).ok());
  int failing = 0;
  while (evolution->safety().state() == EvolutionState::kNormal && failing < 256) {
    ASSERT_TRUE(evolution->OnToken(1.0, failing++ % 8 == 0, true).ok());
  }
  EXPECT_LT(failing, 256);
  EXPECT_EQ(evolution->safety().reason(), FreezeReason::kFailures);
  EXPECT_EQ(SectionsOnDisk().at(StateSection::kFactPool), good.at(StateSection::kGoodFactPool));
}

TEST_F(EvolutionTest, ASecondFailureTurnsItOffUntilTheReset) {
  const auto evolution = MustOpen();
  LearnWell(evolution.get());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(evolution->OnToken(1.0, true, true).ok());
  ASSERT_EQ(evolution->safety().state(), EvolutionState::kProbation);
  int admitted = 0;
  for (int i = 0; i < 80; ++i) admitted += *Offer(evolution.get(), next_id_++);
  EXPECT_EQ(admitted, 10);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(evolution->OnToken(1.0, true, true).ok());
  EXPECT_EQ(evolution->safety().state(), EvolutionState::kOff);
  EXPECT_EQ(evolution->counters().rollbacks, 2u);
  EXPECT_FALSE(*Offer(evolution.get(), next_id_++));
  EXPECT_EQ(evolution->Admit(GrowthClass::kEpisodic, 0, 0).code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(evolution->Checkpoint().ok());
  {
    const auto again = MustOpen();
    ASSERT_EQ(again->safety().state(), EvolutionState::kOff);  // it is remembered
    const auto hash = again->Reset();
    ASSERT_TRUE(hash.ok()) << hash.status();
    EXPECT_EQ(*hash, Sha256Hex(EmptyStateFile()));
    EXPECT_EQ(*hash, Sha256Hex(*ReadFile(path(), 1 << 20)));
    EXPECT_EQ(again->safety().state(), EvolutionState::kNormal);
    EXPECT_EQ(again->pool().size(), 0);
  }
  EXPECT_TRUE(store_.facts.empty());
  EXPECT_EQ(*Offer(MustOpen().get(), 1), 1);
}

TEST_F(EvolutionTest, WithoutRollbackItStaysFrozen) {
  options_.rollback = false;
  const auto evolution = MustOpen();
  LearnWell(evolution.get());
  for (int i = 0; i < 6000; ++i) ASSERT_TRUE(evolution->OnToken(1.0, i < 20, true).ok());
  EXPECT_EQ(evolution->safety().state(), EvolutionState::kFrozen);
  EXPECT_FALSE(*Offer(evolution.get(), next_id_++));
  EXPECT_EQ(evolution->counters().rollbacks, 0u);
  // With the switch on again, opening makes up for it.
  ASSERT_TRUE(evolution->Checkpoint().ok());
  options_.rollback = true;
  EXPECT_EQ(MustOpen()->safety().state(), EvolutionState::kProbation);
}

TEST_F(EvolutionTest, AFactThatWasForgottenStaysForgotten) {
  uint64_t forgotten = 0;
  {
    const auto evolution = MustOpen();
    LearnWell(evolution.get());
    forgotten = evolution->pool().Facts()[5].id;
    store_.facts.erase(forgotten);  // as the store does for the user
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(evolution->OnToken(1.0, true, true).ok());
    ASSERT_EQ(evolution->safety().state(), EvolutionState::kProbation);
    EXPECT_FALSE(store_.facts.contains(forgotten));
  }
  EXPECT_FALSE(MustOpen()->IsReadable(forgotten));
}

TEST_F(EvolutionTest, WithoutAStateTheStoresFactsAreTakenIn) {
  {
    const auto evolution = MustOpen();
    for (uint64_t id = 1; id <= 8; ++id) ASSERT_EQ(*Offer(evolution.get(), id), 1);
    ASSERT_TRUE(evolution->Checkpoint().ok());
  }
  std::filesystem::remove(path());  // a restored backup has none
  const auto evolution = MustOpen();
  EXPECT_EQ(evolution->pool().size(), 8);
  EXPECT_EQ(store_.facts.size(), 8u);
  for (uint64_t id = 1; id <= 8; ++id) EXPECT_TRUE(evolution->IsReadable(id));
}

TEST_F(EvolutionTest, AStoreWithoutRoomRefuses) {
  const auto evolution = MustOpen();
  store_.full = true;
  EXPECT_EQ(*Offer(evolution.get(), 1), 0);
  EXPECT_EQ(evolution->counters().refused, 1u);
  store_.full = false;
  EXPECT_EQ(*Offer(evolution.get(), 1), 1);
  EXPECT_EQ(*Offer(evolution.get(), 1), 0) << "it is there";
}

TEST_F(EvolutionTest, AFactThatDoesHarmIsDropped) {
  const auto evolution = MustOpen();
  uint64_t id = 1;
  while (!IsEvaluated(options_.contrastive, id)) ++id;
  ASSERT_TRUE(*Offer(evolution.get(), id));
  ASSERT_TRUE(evolution->WantsEvaluation(id));
  const auto verdict = [&](double delta) {
    const Judgement judged = *evolution->OnEvaluation(EvaluationOf(id, delta));
    EXPECT_NEAR(judged.delta, delta, 1e-9);
    EXPECT_TRUE(judged.counted);
    return judged.verdict;
  };
  EXPECT_EQ(verdict(-0.2), TrialVerdict::kOpen);
  EXPECT_FLOAT_EQ(store_.facts[id].weight, -0.02f);
  EXPECT_EQ(verdict(0.1), TrialVerdict::kOpen);
  EXPECT_EQ(verdict(0.0), TrialVerdict::kDrop);
  EXPECT_FALSE(evolution->IsReadable(id));
  EXPECT_TRUE(store_.facts.empty());
  EXPECT_EQ(evolution->counters().rejected, 1u);
  EXPECT_EQ(evolution->OnEvaluation(EvaluationOf(id, 0)).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(EvolutionTest, SwitchesTurnEachPartOff) {
  options_.memory_growth = options_.contrastive_validation = false;
  const auto evolution = MustOpen();
  EXPECT_FALSE(*Offer(evolution.get(), 1));
  for (int n = 0; n < 320; ++n) {
    EXPECT_FALSE(*evolution->OnToken(n % 32 == 31 ? 50 : 1, false, true));
  }
  for (uint64_t id = 0; id < 100; ++id) EXPECT_FALSE(evolution->WantsEvaluation(id));
  EXPECT_TRUE(store_.facts.empty());
}

TEST_F(EvolutionTest, WhatIsNotOfferedIsNotWritten) {
  const auto evolution = MustOpen();
  for (int n = 0; n < 320; ++n) {
    EXPECT_FALSE(*evolution->OnToken(n % 32 == 31 ? 50 : 1, false, false));
  }
}

TEST_F(EvolutionTest, CeilingsRefuseBeforeTheWrite) {
  options_.safety.ceiling_bytes = {4 * 1100, 0, 2 * 2048, 0};
  const auto evolution = MustOpen();
  int admitted = 0;
  for (int i = 0; i < 10; ++i) admitted += *Offer(evolution.get(), next_id_++);
  EXPECT_EQ(admitted, 4);
  EXPECT_LE(store_.Bytes(), 4 * 1100);
  EXPECT_TRUE(evolution->Admit(GrowthClass::kEpisodic, 2048, 2048).ok());
  EXPECT_EQ(evolution->Admit(GrowthClass::kEpisodic, 4096, 2048).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(evolution->Admit(GrowthClass::kGuidelines, 0, 1).ok());
  EXPECT_EQ(evolution->counters().refused, 6u + 2u);
}

TEST_F(EvolutionTest, OpeningBringsPoolAndStoreTogether) {
  {
    const auto evolution = MustOpen();
    for (uint64_t id = 1; id <= 8; ++id) ASSERT_TRUE(*Offer(evolution.get(), id));
    ASSERT_TRUE(evolution->Checkpoint().ok());
    for (uint64_t id = 11; id <= 14; ++id) ASSERT_TRUE(*Offer(evolution.get(), id));
    EXPECT_EQ(store_.facts.size(), 12u);
  }  // as after a crash: nothing was written since the checkpoint
  store_.facts.erase(3);
  store_.facts[200] = {.text = "the user's", .of_user = true};
  const auto evolution = MustOpen();
  EXPECT_EQ(evolution->pool().size(), 7);
  EXPECT_FALSE(evolution->IsReadable(3));
  EXPECT_FALSE(evolution->IsReadable(11));
  EXPECT_EQ(store_.facts.size(), 7u + 1u);
}

TEST_F(EvolutionTest, ARollbackThatTheStoreInterruptsIsFinishedLater) {
  const auto evolution = MustOpen();
  LearnWell(evolution.get());
  const auto good = SectionsOnDisk();
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(Offer(evolution.get(), next_id_++).ok());
  store_.failing = true;
  absl::Status status;
  for (int i = 0; i < 20 && status.ok(); ++i) status = evolution->OnToken(1.0, true, true).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(*Offer(evolution.get(), next_id_++));
  EXPECT_FALSE(evolution->Checkpoint().ok());
  store_.failing = false;
  ASSERT_TRUE(evolution->Recover().ok());
  FactPool live = evolution->pool();
  EXPECT_EQ(live.Encode(), good.at(StateSection::kGoodFactPool));
  EXPECT_EQ(store_.facts.size(), static_cast<size_t>(live.size()));
}

TEST_F(EvolutionTest, ARollbackThatTheDiskInterruptsIsFinishedLater) {
  const auto evolution = MustOpen();
  LearnWell(evolution.get());
  const auto good = SectionsOnDisk();
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(Offer(evolution.get(), next_id_++).ok());
  const size_t facts = store_.facts.size();
  std::filesystem::remove_all(folder_);
  absl::Status status;
  for (int i = 0; i < 20 && status.ok(); ++i) status = evolution->OnToken(1.0, true, true).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(*Offer(evolution.get(), next_id_++));
  EXPECT_EQ(store_.facts.size(), facts);  // nothing is dropped before the file says so
  ASSERT_TRUE(MakeDirs(folder_).ok());
  ASSERT_TRUE(evolution->Recover().ok());
  EXPECT_EQ(SectionsOnDisk().at(StateSection::kFactPool), good.at(StateSection::kGoodFactPool));
  EXPECT_LT(store_.facts.size(), facts);
}

}  // namespace
}  // namespace chimera
