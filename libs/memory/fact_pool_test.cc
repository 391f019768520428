#include "memory/fact_pool.h"

#include <cmath>
#include <map>
#include <set>

#include "base/file.h"
#include "base/philox.h"
#include "gtest/gtest.h"
#include "memory/policy_testing.h"

namespace chimera {
namespace {

// Facts first .. first + n - 1, with a weight.
std::vector<PooledFact> Batch(uint64_t first, int n, float weight = 0, bool pinned = false) {
  std::vector<PooledFact> batch;
  for (int i = 0; i < n; ++i) {
    PooledFact fact;
    fact.id = first + static_cast<uint64_t>(i);
    fact.pinned = pinned;
    fact.trial.weight = weight;
    batch.push_back(fact);
  }
  return batch;
}

void Fill(FactPool* pool, uint64_t first, int n, float weight = 0, bool pinned = false) {
  for (int done = 0; done < n; done += 16) {
    ASSERT_TRUE(pool->Append(Batch(first + done, std::min(16, n - done), weight, pinned)).ok());
  }
}

// How many of the facts first .. first + n - 1 are there.
int CountHeld(const FactPool& pool, uint64_t first, int n) {
  int held = 0;
  for (int i = 0; i < n; ++i) held += pool.Find(first + static_cast<uint64_t>(i)) != nullptr;
  return held;
}

TEST(FactPool, RetentionFollowsTheTheory) {
  constexpr int kFacts = 4000, kBatch = 16;
  FactPool pool({.facts_max = kFacts, .batch_max = kBatch, .seed = 1});
  Fill(&pool, 0, kFacts);
  uint64_t next = kFacts;
  for (int n = 1; n <= 700; ++n) {
    const auto gone = pool.Append(Batch(next, kBatch));
    ASSERT_TRUE(gone.ok());
    ASSERT_EQ(gone->size(), static_cast<size_t>(kBatch));
    ASSERT_EQ(pool.size(), kFacts);
    next += kBatch;
    if (n % 50 != 0) continue;
    const double p = std::pow(1.0 - static_cast<double>(kBatch) / kFacts, n);
    EXPECT_NEAR(CountHeld(pool, 0, kFacts), kFacts * p, 3 * std::sqrt(kFacts * p * (1 - p))) << n;
  }
  EXPECT_EQ(pool.dropped(), 700 * kBatch);
}

TEST(FactPool, DrawsInProportionToTheInverseWeight) {
  // Weights 0, 0.1, .. 0.9 and one below zero, which counts as -eps / 2.
  std::vector<PooledFact> facts = Batch(0, 11);
  std::vector<double> rate;
  for (int i = 0; i < 10; ++i) facts[i].trial.weight = 0.1f * static_cast<float>(i);
  facts[10].trial.weight = -0.7f;
  double total = 0;
  for (const PooledFact& fact : facts) {
    rate.push_back(1 / (0.1 + std::max<double>(fact.trial.weight, -0.05)));
    total += rate.back();
  }
  constexpr int kDraws = 20000;
  std::vector<int> count(facts.size());
  for (int i = 0; i < kDraws; ++i) {
    FactPool pool({.facts_max = 11, .batch_max = 11, .seed = static_cast<uint64_t>(i)});
    ASSERT_TRUE(pool.Append(facts).ok());
    const auto gone = pool.Append(Batch(100, 1));
    ASSERT_EQ(gone->size(), 1u);
    ++count[(*gone)[0]];
  }
  double chi2 = 0;
  for (size_t i = 0; i < facts.size(); ++i) {
    const double want = kDraws * rate[i] / total;
    chi2 += (count[i] - want) * (count[i] - want) / want;
  }
  EXPECT_LT(chi2, 29.6);  // 10 degrees of freedom, p = 0.001
}

TEST(FactPool, UsefulFactsSurvive) {
  const auto survivors = [](float weight) {
    FactPool pool({.facts_max = 1600, .seed = 5});
    Fill(&pool, 0, 800, weight);
    Fill(&pool, 10000, 800);
    Fill(&pool, 20000, 3200);
    return std::pair(CountHeld(pool, 0, 800), CountHeld(pool, 10000, 800));
  };
  const auto [useful, useless] = survivors(0.5f);
  EXPECT_GT(useful, 500);
  EXPECT_LT(useless, 150);
  // Ablation: without their weight they go like all others.
  const auto [equal, others] = survivors(0);
  EXPECT_NEAR(equal, others, 60);
  EXPECT_LT(equal, 150);
}

TEST(FactPool, PinnedFactsStayAndAreALimit) {
  FactPool pool({.facts_max = 64, .seed = 2});
  Fill(&pool, 0, 32, 0, true);
  Fill(&pool, 1000, 3200);
  EXPECT_EQ(CountHeld(pool, 0, 32), 32);
  EXPECT_EQ(pool.size(), 64);
  Fill(&pool, 100, 16, 0, true);
  Fill(&pool, 200, 16, 0, true);
  const std::string before = pool.Encode();
  const auto full = pool.Append(Batch(300, 1));
  EXPECT_EQ(full.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(full.status().message(),
            "fact pool: 1 facts would have to go, and of the 64 facts only 0 are not pinned");
  EXPECT_EQ(pool.Encode(), before);
  ASSERT_TRUE(pool.SetPinned(3, false).ok());
  EXPECT_EQ(*pool.Append(Batch(300, 1)), (std::vector<uint64_t>{3}));
}

TEST(FactPool, BatchesAreChecked) {
  FactPool pool({.facts_max = 64});
  EXPECT_EQ(pool.Append({}).status().message(), "fact pool: a batch of 0 facts; it has 1 to 16");
  EXPECT_FALSE(pool.Append(Batch(0, 17)).ok());
  std::vector<PooledFact> twice = Batch(0, 2);
  twice[1].id = 0;
  EXPECT_FALSE(pool.Append(twice).ok());
  std::vector<PooledFact> wild = Batch(0, 1, std::nanf(""));
  EXPECT_FALSE(pool.Append(wild).ok());
  EXPECT_EQ(pool.size(), 0);
  EXPECT_EQ(pool.SetPinned(1, true).code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(pool.Erase(1));
}

TEST(FactPool, AFactThatIsThereKeepsItsPlace) {
  FactPool pool({.facts_max = 32});
  ASSERT_TRUE(pool.Append(Batch(0, 2, 0.5f)).ok());
  ASSERT_TRUE(pool.Append(Batch(1, 2, 0, true)).ok());
  ASSERT_EQ(pool.size(), 3);
  EXPECT_EQ(pool.Facts()[1].id, 1u);
  EXPECT_TRUE(pool.Facts()[1].pinned);
  EXPECT_EQ(pool.Facts()[1].trial.weight, 0.5f);
  EXPECT_EQ(pool.pinned(), 2);
}

// Changes of every kind, named by Philox.
void Change(FactPool* pool, uint64_t n) {
  const PhiloxBlock random = PhiloxStream(8, RngPurpose::kDataShuffle, 3).Block(n);
  const uint64_t id = random[1] % 400;
  switch (random[0] % 5) {
    case 0:
      pool->Erase(id);
      break;
    case 1:
      (void)pool->SetPinned(id, random[2] % 8 == 0);
      break;
    case 2:
      (void)pool->SetTrial(id, {.weight = 0.25f, .delta_sum = -0.5f, .trials = 2});
      break;
    default:
      (void)pool->Append(Batch(id, 1 + static_cast<int>(random[2] % 16), 0.1f));
      break;
  }
}

TEST(FactPool, SnapshotAndLogGiveTheSamePool) {
  const FactPoolOptions options{.facts_max = 128, .seed = 9, .snapshot_ops = 512};
  FactPool pool(options);
  std::string snapshot = pool.Encode(), log;
  int snapshots = 0;
  for (uint64_t n = 0; n < 1000; ++n) {
    Change(&pool, n);
    log += pool.TakeLog();
    if (n % 37 == 0) {
      auto again = FactPool::Decode(options, snapshot);
      ASSERT_TRUE(again.ok()) << again.status();
      ASSERT_EQ(*again->Replay(log), log.size());
      FactPool copy = pool;  // Encode starts a new log
      ASSERT_EQ(again->Encode(), copy.Encode()) << n;
    }
    if (pool.WantsSnapshot()) {
      snapshot = pool.Encode();
      log.clear();
      ++snapshots;
    }
  }
  EXPECT_GT(snapshots, 5);
}

TEST(FactPool, ATornLogLosesTheTornGroupOnly) {
  const FactPoolOptions options{.facts_max = 64, .seed = 9};
  FactPool pool(options);
  Fill(&pool, 0, 64);
  const std::string snapshot = pool.Encode();
  std::string log;
  std::map<size_t, std::string> state_at;  // by bytes of the log
  state_at[0] = snapshot;
  for (uint64_t n = 0; n < 12; ++n) {
    Change(&pool, n);
    log += pool.TakeLog();
    FactPool copy = pool;
    state_at[log.size()] = copy.Encode();
  }
  for (size_t cut = 0; cut <= log.size(); ++cut) {
    auto again = FactPool::Decode(options, snapshot);
    const auto applied = again->Replay(std::string_view(log).substr(0, cut));
    ASSERT_TRUE(applied.ok()) << applied.status();
    const auto want = std::prev(state_at.upper_bound(cut));
    EXPECT_EQ(*applied, want->first) << cut;
    EXPECT_EQ(again->Encode(), want->second) << cut;
  }
  // A flipped bit ends the log at the group before it, and a log behind another snapshot gives
  // nothing.
  for (size_t at = 0; at < log.size(); ++at) {
    std::string bad = log;
    bad[at] = static_cast<char>(bad[at] ^ 4);
    auto again = FactPool::Decode(options, snapshot);
    const auto applied = again->Replay(bad);
    ASSERT_TRUE(applied.ok());
    ASSERT_LE(*applied, at);
    EXPECT_EQ(again->Encode(), state_at.at(*applied));
  }
  FactPool other(options);
  Fill(&other, 500, 64);
  auto stranger = FactPool::Decode(options, other.Encode());
  EXPECT_EQ(*stranger->Replay(log), 0u);
}

// The log with every check as it has to be behind the snapshot.
std::string Chained(std::string log, const std::string& snapshot) {
  std::string check = snapshot.substr(snapshot.size() - 8, 4);
  for (size_t at = 0; at + 24 <= log.size(); at += 24) {
    const uint64_t hash = Xxh3(check + log.substr(at, 20));
    for (size_t b = 0; b < 4; ++b) log[at + 20 + b] = static_cast<char>(hash >> (8 * b));
    check = log.substr(at + 20, 4);
  }
  return log;
}

TEST(FactPool, ReplayNamesWhatContradictsThePool) {
  const FactPoolOptions options{.facts_max = 4, .batch_max = 4, .seed = 9};
  FactPool pool(options);
  ASSERT_TRUE(pool.Append(Batch(0, 4)).ok());
  const std::string snapshot = pool.Encode();
  ASSERT_TRUE(pool.Append(Batch(4, 1)).ok());
  const std::string log = pool.TakeLog();  // drop, put, commit
  ASSERT_EQ(log.size(), 72u);
  const auto error = [&](size_t at, char value) {
    std::string bad = log;
    bad[at] = value;
    auto again = FactPool::Decode(options, snapshot);
    const auto applied = again->Replay(Chained(bad, snapshot));
    EXPECT_EQ(again->Encode(), snapshot);  // none of the group was applied
    return std::string(applied.status().message());
  };
  EXPECT_EQ(Chained(log, snapshot), log);
  EXPECT_EQ(error(0, 9), "fact pool log: an unknown operation");
  EXPECT_EQ(error(1, 2), "fact pool log: a flag is neither 0 nor 1");
  EXPECT_EQ(error(3, 1), "fact pool log: byte 3 of a record is not zero");
  EXPECT_EQ(error(12, 77), "fact pool log: it drops a fact that is not there");
  EXPECT_EQ(error(24 + 7, 0x7F), "fact pool log: a trial is out of range");
  EXPECT_EQ(error(0, 1), "fact pool log: it holds more facts than the pool may");
  EXPECT_EQ(error(48 + 12, 3), "fact pool log: a batch is missing");
  EXPECT_EQ(error(48 + 12, 0), "fact pool log: a batch is missing");
}

// Records whose chain of checks is right and whose content may be anything.
TEST(FactPool, ReplaySurvivesHostileRecords) {
  const FactPoolOptions options{.facts_max = 20, .batch_max = 4, .seed = 9};
  FactPool pool(options);
  for (uint64_t id = 0; id < 12; id += 4) ASSERT_TRUE(pool.Append(Batch(id, 4)).ok());
  const std::string snapshot = pool.Encode();
  for (uint64_t id = 12; id < 40; id += 4) ASSERT_TRUE(pool.Append(Batch(id, 4)).ok());
  const std::string log = pool.TakeLog();
  const PhiloxStream random(17, RngPurpose::kDataShuffle, 0);
  uint64_t next = 0;
  const auto below = [&](size_t n) { return random.Word(next++) % n; };
  int refused = 0, applied_all = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string bad = log;
    for (size_t k = 0, n = 1 + below(3); k < n; ++k) {
      const size_t at = below(bad.size());
      bad[at] = static_cast<char>(below(3) == 0 ? below(256) : below(4));
    }
    auto again = FactPool::Decode(options, snapshot);
    const auto applied = again->Replay(Chained(bad, snapshot));
    refused += !applied.ok();
    applied_all += applied.ok() && *applied == bad.size();
    ASSERT_LE(again->size(), 20);
    ASSERT_GE(again->pinned(), 0);
    ASSERT_LE(again->pinned(), again->size());
    const std::string bytes = again->Encode();
    auto copy = FactPool::Decode(options, bytes);
    ASSERT_TRUE(copy.ok()) << copy.status();
    ASSERT_EQ(copy->Encode(), bytes);
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(applied_all, 500);
}

// One number for all draws: it may not depend on the machine, the compiler or the build.
TEST(FactPool, DrawsAreTheSameEverywhere) {
  FactPool pool({.facts_max = 500, .seed = 77});
  for (uint64_t n = 0; n < 200; ++n) {
    const float weight = static_cast<float>(n % 17) / 20 - 0.2f;
    ASSERT_TRUE(pool.Append(Batch(16 * n, 16, weight)).ok());
  }
  EXPECT_EQ(Xxh3(pool.Encode()), 11418068586067851838u);
}

TEST(FactPool, DecodeSurvivesHostileBytes) {
  const FactPoolOptions options{.facts_max = 40, .seed = 9};
  FactPool pool(options);
  Fill(&pool, 0, 38, 0.25f);
  ASSERT_TRUE(pool.SetPinned(3, true).ok());
  ExpectHardenedDecode(
      pool.Encode(),
      [&](std::string_view bytes) -> absl::StatusOr<std::string> {
        auto decoded = FactPool::Decode(options, bytes);
        if (!decoded.ok()) return decoded.status();
        return decoded->Encode();
      },
      4000);
  const auto small = FactPool::Decode({.facts_max = 37, .seed = 9}, pool.Encode());
  EXPECT_EQ(small.status().message(), "fact pool: it holds 38 facts; the limit is 37");
  EXPECT_FALSE(FactPool::Decode({.facts_max = 40, .seed = 8}, pool.Encode()).ok());
}

}  // namespace
}  // namespace chimera
