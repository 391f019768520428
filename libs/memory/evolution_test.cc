#include "memory/evolution.h"

#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "gtest/gtest.h"
#include "memory/policy_testing.h"

namespace chimera {
namespace {

// A store in a map.
class MapStore : public EvolutionStore {
 public:
  struct Fact {
    std::string text;
    bool pinned = false;
    float weight = 0;

    bool operator==(const Fact&) const = default;
  };

  absl::Status Put(const ProposedFact& fact, bool pinned) override {
    if (failing) return absl::UnavailableError("store is down");
    facts[fact.id].text = fact.text;
    facts[fact.id].pinned |= pinned;
    return absl::OkStatus();
  }
  absl::Status Drop(uint64_t id) override {
    if (failing) return absl::UnavailableError("store is down");
    facts.erase(id);
    return absl::OkStatus();
  }
  absl::Status SetWeight(uint64_t id, float weight) override {
    if (failing) return absl::UnavailableError("store is down");
    if (facts.contains(id)) facts[id].weight = weight;
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Held>> List() override {
    if (failing) return absl::UnavailableError("store is down");
    std::vector<Held> held;
    for (const auto& [id, fact] : facts) held.push_back({id, fact.pinned});
    return held;
  }
  int64_t Bytes() const override {
    int64_t bytes = 0;
    for (const auto& [id, fact] : facts) bytes += 1024 + static_cast<int64_t>(fact.text.size());
    return bytes;
  }

  std::map<uint64_t, Fact> facts;
  bool failing = false;
};

ProposedFact Fact(uint64_t id) {
  return {.id = id, .sketch = RandomVector(9, id), .text = absl::StrCat("fact ", id)};
}

class EvolutionTest : public testing::Test {
 protected:
  EvolutionTest() {
    folder_ = testing::TempDir() + "/evolution_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    EXPECT_TRUE(MakeDirs(folder_).ok());
    options_.pool = {.facts_max = 64, .batch_max = 4, .seed = 3};
    options_.cases.cases_max = 16;
  }
  ~EvolutionTest() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<Evolution> MustOpen() {
    auto evolution = Evolution::Open(options_, codes_, &store_, path());
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
      ASSERT_TRUE(evolution->OnToken(1.0, false).ok());
      ++tokens_;
    }
    ASSERT_TRUE(evolution->Propose(Fact(next_id_++)).ok());
    Evaluate(evolution, delta);
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
    return {.fact_id = id,
            .nll_with = 64.0 - 64 * delta,
            .nll_without = 64.0,
            .tokens = 64,
            .context = RandomVector(10, id),
            .guideline_text = "do not trust it"};
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
  ActionCodes codes_{FeatureCodebook()};
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
    const auto write = evolution->OnToken(n % 32 == 31 ? 50.0 : 1.0 + 0.1 * (n % 3), false);
    ASSERT_TRUE(write.ok());
    if (*write) {
      ASSERT_TRUE(*evolution->Propose(Fact(next_id_++)));
      ++written;
    }
  }
  EXPECT_GT(written, 150);
  ASSERT_TRUE(evolution->Flush().ok());
  EXPECT_EQ(evolution->counters().written, static_cast<uint64_t>(written));
  EXPECT_EQ(evolution->pool().size(), 64);
  EXPECT_EQ(store_.facts.size(), 64u);
  for (const auto& [id, fact] : store_.facts) EXPECT_TRUE(evolution->IsReadable(id));
}

TEST_F(EvolutionTest, APoisonedWriterIsFrozenInTime) {
  const auto evolution = MustOpen();
  ASSERT_TRUE(evolution->Remember(Fact(1000000)).ok());
  ASSERT_TRUE(*evolution->InsertCase(RandomVector(4, 0), "plan", "tag", 0.9, 5));
  LearnWell(evolution.get());
  const int evaluations_before = evaluations_;
  int tokens_at_64th = 0;
  while (evolution->safety().state() == EvolutionState::kNormal && evaluations_ < 10000) {
    Turn(evolution.get(), -0.3);
    ASSERT_TRUE(evolution->InsertCase(RandomVector(4, next_id_), "bad", "", 1.0, 5).ok());
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
  ASSERT_TRUE(evolution->Remember(Fact(1000000)).ok());
  ASSERT_TRUE(*evolution->InsertCase(RandomVector(4, 0), "plan", "tag", 0.9, 5));
  LearnWell(evolution.get());
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
  EXPECT_EQ(after.at(StateSection::kCases), good.at(StateSection::kGoodCases));
  EXPECT_EQ(after.at(StateSection::kGuidelines), good.at(StateSection::kGoodGuidelines));
  FactPool live = evolution->pool();
  EXPECT_EQ(live.Encode(), good.at(StateSection::kGoodFactPool));
  EXPECT_EQ(evolution->cases().Encode(), good.at(StateSection::kGoodCases));
  EXPECT_EQ(evolution->guidelines().Encode(), good.at(StateSection::kGoodGuidelines));
  // The store holds the facts of the snapshot with their weights, and no other.
  EXPECT_EQ(store_.facts.size(), static_cast<size_t>(good_pool->size()));
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
  for (int i = 0; i < 64; ++i) ASSERT_TRUE(*evolution->Propose(Fact(next_id_++)));
  EXPECT_EQ(good(), empty);  // a candidate
  for (const int until = evaluations_ + 64; evaluations_ < until;) Evaluate(evolution.get(), 0.1);
  EXPECT_EQ(good(), empty);  // evaluations, but no tokens
  for (int i = 0; i < 255; ++i) ASSERT_TRUE(evolution->OnToken(1, false).ok());
  EXPECT_EQ(good(), empty);
  ASSERT_TRUE(evolution->OnToken(1, false).ok());
  EXPECT_NE(good(), empty);
}

TEST_F(EvolutionTest, AUsersFactIsNotPutToTheTest) {
  const auto evolution = MustOpen();
  uint64_t id = 1;
  while (!IsEvaluated(options_.contrastive, id)) ++id;
  ASSERT_TRUE(evolution->Remember(Fact(id)).ok());
  EXPECT_FALSE(evolution->WantsEvaluation(id));
  for (int i = 0; i < 5; ++i) {  // a session that evaluates it all the same
    EXPECT_EQ(*evolution->OnEvaluation(EvaluationOf(id, -1)), TrialVerdict::kKeep);
  }
  EXPECT_TRUE(evolution->IsReadable(id));
  EXPECT_EQ(evolution->pool().Find(id)->trial, FactTrial());
}

TEST_F(EvolutionTest, FailuresFreezeToo) {
  const auto evolution = MustOpen();
  LearnWell(evolution.get());
  const auto good = SectionsOnDisk();
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(evolution->Propose(Fact(next_id_++)).ok());
  int failing = 0;
  while (evolution->safety().state() == EvolutionState::kNormal && failing < 256) {
    ASSERT_TRUE(evolution->OnToken(1.0, failing++ % 8 == 0).ok());
  }
  EXPECT_LT(failing, 256);
  EXPECT_EQ(evolution->safety().reason(), FreezeReason::kFailures);
  EXPECT_EQ(SectionsOnDisk().at(StateSection::kFactPool), good.at(StateSection::kGoodFactPool));
}

TEST_F(EvolutionTest, ASecondFailureTurnsItOffUntilTheReset) {
  const auto evolution = MustOpen();
  LearnWell(evolution.get());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(evolution->OnToken(1.0, true).ok());
  ASSERT_EQ(evolution->safety().state(), EvolutionState::kProbation);
  int admitted = 0;
  for (int i = 0; i < 80; ++i) admitted += *evolution->Propose(Fact(next_id_++));
  EXPECT_EQ(admitted, 10);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(evolution->OnToken(1.0, true).ok());
  EXPECT_EQ(evolution->safety().state(), EvolutionState::kOff);
  EXPECT_EQ(evolution->counters().rollbacks, 2u);
  EXPECT_FALSE(*evolution->Propose(Fact(next_id_++)));
  EXPECT_FALSE(*evolution->InsertCase(RandomVector(4, 0), "plan", "", 1, 0));
  ASSERT_TRUE(evolution->Checkpoint().ok());
  {
    const auto again = MustOpen();
    ASSERT_EQ(again->safety().state(), EvolutionState::kOff);  // it is remembered
    EXPECT_TRUE(again->Remember(Fact(77777)).ok());            // the user's facts still go in
    const auto hash = again->UserReset();
    ASSERT_TRUE(hash.ok()) << hash.status();
    EXPECT_EQ(*hash, Sha256Hex(EmptyStateFile()));
    EXPECT_EQ(*hash, Sha256Hex(*ReadFile(path(), 1 << 20)));
    EXPECT_EQ(again->safety().state(), EvolutionState::kNormal);
    EXPECT_EQ(again->pool().size(), 0);
  }
  EXPECT_TRUE(store_.facts.empty());
  EXPECT_TRUE(*MustOpen()->Propose(Fact(1)));
}

TEST_F(EvolutionTest, WithoutRollbackItStaysFrozen) {
  options_.rollback = false;
  const auto evolution = MustOpen();
  LearnWell(evolution.get());
  for (int i = 0; i < 6000; ++i) ASSERT_TRUE(evolution->OnToken(1.0, i < 20).ok());
  EXPECT_EQ(evolution->safety().state(), EvolutionState::kFrozen);
  EXPECT_FALSE(*evolution->Propose(Fact(next_id_++)));
  EXPECT_EQ(evolution->counters().rollbacks, 0u);
  // With the switch on again, opening makes up for it.
  ASSERT_TRUE(evolution->Checkpoint().ok());
  options_.rollback = true;
  EXPECT_EQ(MustOpen()->safety().state(), EvolutionState::kProbation);
}

TEST_F(EvolutionTest, AUsersFactsOutliveARollbackAndForgottenOnesStayForgotten) {
  const auto evolution = MustOpen();
  LearnWell(evolution.get());
  const uint64_t forgotten = evolution->pool().Facts()[5].id;
  ASSERT_TRUE(evolution->Remember(Fact(500000)).ok());
  EXPECT_TRUE(*evolution->Forget(forgotten));
  EXPECT_FALSE(*evolution->Forget(forgotten));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(evolution->OnToken(1.0, true).ok());
  ASSERT_EQ(evolution->safety().state(), EvolutionState::kProbation);
  EXPECT_TRUE(evolution->IsReadable(500000));
  EXPECT_TRUE(store_.facts[500000].pinned);
  EXPECT_FALSE(evolution->IsReadable(forgotten));
  EXPECT_FALSE(store_.facts.contains(forgotten));
  EXPECT_FALSE(evolution->WantsEvaluation(500000));
  for (uint64_t id = 600000; id < 600063; ++id) ASSERT_TRUE(evolution->Remember(Fact(id)).ok());
  EXPECT_EQ(evolution->pool().pinned(), 64);
  EXPECT_EQ(evolution->Remember(Fact(700000)).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(store_.facts.contains(700000));
}

TEST_F(EvolutionTest, AFactThatDoesHarmIsDroppedAndTeachesAGuideline) {
  const auto evolution = MustOpen();
  uint64_t id = 1;
  while (!IsEvaluated(options_.contrastive, id)) ++id;
  ASSERT_TRUE(*evolution->Propose(Fact(id)));
  ASSERT_TRUE(evolution->Flush().ok());
  ASSERT_TRUE(evolution->WantsEvaluation(id));
  EXPECT_EQ(*evolution->OnEvaluation(EvaluationOf(id, -0.2)), TrialVerdict::kOpen);
  EXPECT_FLOAT_EQ(store_.facts[id].weight, -0.02f);
  EXPECT_EQ(*evolution->OnEvaluation(EvaluationOf(id, 0.1)), TrialVerdict::kOpen);
  EXPECT_EQ(*evolution->OnEvaluation(EvaluationOf(id, 0.0)), TrialVerdict::kDrop);
  EXPECT_FALSE(evolution->IsReadable(id));
  EXPECT_TRUE(store_.facts.empty());
  EXPECT_EQ(evolution->counters().rejected, 1u);
  EXPECT_EQ(evolution->OnEvaluation(EvaluationOf(id, 0)).status().code(),
            absl::StatusCode::kNotFound);
  const auto advice = evolution->AskGuidelines(RandomVector(10, id));
  ASSERT_TRUE(advice.has_value());
  EXPECT_EQ(advice->action, GuidelineAction::kIgnoreItemClass);
}

TEST_F(EvolutionTest, SwitchesTurnEachPartOff) {
  options_.memory_growth = options_.cases_enabled = options_.guidelines_enabled = false;
  options_.contrastive_validation = options_.user_store = false;
  const auto evolution = MustOpen();
  EXPECT_FALSE(*evolution->Propose(Fact(1)));
  for (int n = 0; n < 320; ++n) EXPECT_FALSE(*evolution->OnToken(n % 32 == 31 ? 50 : 1, false));
  EXPECT_EQ(evolution->Remember(Fact(1)).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(*evolution->InsertCase(RandomVector(4, 0), "plan", "", 1, 0));
  EXPECT_TRUE(evolution->RetrieveCases(RandomVector(4, 0), false).empty());
  EXPECT_EQ(evolution->AskGuidelines(RandomVector(4, 0)), std::nullopt);
  for (uint64_t id = 0; id < 100; ++id) EXPECT_FALSE(evolution->WantsEvaluation(id));
  EXPECT_TRUE(store_.facts.empty());
}

TEST_F(EvolutionTest, CeilingsRefuseBeforeTheWrite) {
  options_.safety.ceiling_bytes = {4 * 1100, 0, 2 * 2048, 0};
  const auto evolution = MustOpen();
  int admitted = 0;
  for (int i = 0; i < 10; ++i) admitted += *evolution->Propose(Fact(next_id_++));
  EXPECT_EQ(admitted, 4);
  EXPECT_LE(store_.Bytes(), 4 * 1100);
  EXPECT_EQ(evolution->Remember(Fact(99)).code(), absl::StatusCode::kResourceExhausted);
  int cases = 0;
  for (uint64_t n = 0; n < 5; ++n) {
    cases += *evolution->InsertCase(RandomVector(4, n), "plan", "", 1, 0);
  }
  EXPECT_EQ(cases, 2);
  ASSERT_TRUE(evolution->OnEvaluation(EvaluationOf(1, -0.5)).ok());
  EXPECT_TRUE(evolution->guidelines().guidelines().empty());
  EXPECT_EQ(evolution->counters().refused, 6u + 3u + 1u);
}

TEST_F(EvolutionTest, OpeningBringsPoolAndStoreTogether) {
  {
    const auto evolution = MustOpen();
    ASSERT_TRUE(evolution->Remember(Fact(100)).ok());
    for (uint64_t id = 1; id <= 8; ++id) ASSERT_TRUE(*evolution->Propose(Fact(id)));
    ASSERT_TRUE(evolution->Checkpoint().ok());
    for (uint64_t id = 11; id <= 14; ++id) ASSERT_TRUE(*evolution->Propose(Fact(id)));
    ASSERT_TRUE(evolution->Remember(Fact(200)).ok());
    EXPECT_EQ(store_.facts.size(), 14u);
  }  // as after a crash: nothing was written since the checkpoint
  store_.facts.erase(3);
  const auto evolution = MustOpen();
  EXPECT_EQ(evolution->pool().size(), 9);
  EXPECT_TRUE(evolution->IsReadable(200));
  EXPECT_EQ(evolution->pool().Find(200)->pinned, true);
  EXPECT_FALSE(evolution->IsReadable(3));
  EXPECT_FALSE(evolution->IsReadable(11));
  EXPECT_EQ(store_.facts.size(), 9u);
}

TEST_F(EvolutionTest, ARollbackThatTheStoreInterruptsIsFinishedLater) {
  const auto evolution = MustOpen();
  LearnWell(evolution.get());
  const auto good = SectionsOnDisk();
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(evolution->Propose(Fact(next_id_++)).ok());
  store_.failing = true;
  absl::Status status;
  for (int i = 0; i < 20 && status.ok(); ++i) status = evolution->OnToken(1.0, true).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(*evolution->Propose(Fact(next_id_++)));
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
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(evolution->Propose(Fact(next_id_++)).ok());
  const size_t facts = store_.facts.size();
  std::filesystem::remove_all(folder_);
  absl::Status status;
  for (int i = 0; i < 20 && status.ok(); ++i) status = evolution->OnToken(1.0, true).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(*evolution->Propose(Fact(next_id_++)));
  EXPECT_EQ(store_.facts.size(), facts);  // nothing is dropped before the file says so
  ASSERT_TRUE(MakeDirs(folder_).ok());
  ASSERT_TRUE(evolution->Recover().ok());
  EXPECT_EQ(SectionsOnDisk().at(StateSection::kFactPool), good.at(StateSection::kGoodFactPool));
  EXPECT_LT(store_.facts.size(), facts);
}

}  // namespace
}  // namespace chimera
