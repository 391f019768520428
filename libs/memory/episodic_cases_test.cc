#include "memory/episodic_cases.h"

#include <cmath>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/philox.h"
#include "gtest/gtest.h"
#include "memory/policy_testing.h"

namespace chimera {
namespace {

double Uniform(uint64_t n) { return PhiloxStream(21, RngPurpose::kDataShuffle, 4).Uniform(n); }

// n cases around one context, at distances 60 i + 60, with q of every size.
EpisodicCases Crowd(const HyperVector& context, int n, const EpisodicOptions& options = {}) {
  EpisodicCases cases(options);
  for (int i = 0; i < n; ++i) {
    const double r = i % 2 == 0 ? 0.3 * Uniform(i) : 1 - 0.3 * Uniform(i);
    EXPECT_TRUE(
        *cases.Insert(Flipped(context, 60 * i + 60, i), absl::StrCat("plan ", i), "t", r, 1000));
  }
  return cases;
}

TEST(EpisodicCases, PolicyIsTheSoftmaxOfTheSpecification) {
  const HyperVector context = RandomVector(1, 0);
  EpisodicCases cases = Crowd(context, 90);
  for (int i = 0; i < 60; ++i) {
    const auto chosen = cases.Retrieve(context, i % 2 == 0);
    ASSERT_TRUE(*cases.RecordOutcome(chosen[static_cast<size_t>(i) % 4], Uniform(i), 1000));
  }
  const auto policy = cases.Policy(context);
  ASSERT_EQ(policy.size(), 64u);
  double total = 90 + 60, z = 0, sum = 0;
  std::map<uint64_t, double> q_of;
  for (int i = 0; i < 64; ++i) {  // the 64 nearest are the first 64
    const EpisodicCase& c = cases.cases()[static_cast<size_t>(i)];
    const double h = 60 * i + 60;
    const double k = std::exp(-std::max(0.0, h - 2800) / 200);
    q_of[c.id] = c.q + 0.1 * std::sqrt(std::log(1 + total) / (1 + c.n)) + 0.5 * std::log(k);
    z += std::exp(q_of[c.id] / 0.2);
  }
  for (size_t i = 0; i < policy.size(); ++i) {
    ASSERT_TRUE(q_of.contains(policy[i].id));
    EXPECT_NEAR(policy[i].q_value, q_of[policy[i].id], 1e-12);
    EXPECT_NEAR(policy[i].probability, std::exp(q_of[policy[i].id] / 0.2) / z, 1e-12);
    EXPECT_NEAR(policy[i].share, policy[i].probability / policy[0].probability, 1e-12);
    if (i > 0) {
      EXPECT_LE(policy[i].probability, policy[i - 1].probability);
    }
    sum += policy[i].probability;
  }
  EXPECT_NEAR(sum, 1.0, 1e-12);
  EXPECT_TRUE(EpisodicCases().Policy(context).empty());
  EXPECT_TRUE(EpisodicCases().Retrieve(context, true).empty());
}

TEST(EpisodicCases, ExploringDrawsByTheProbabilities) {
  const HyperVector context = RandomVector(1, 0);
  EpisodicCases cases = Crowd(context, 6);
  const auto policy = cases.Policy(context);
  std::map<uint64_t, int> first;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const auto chosen = cases.Retrieve(context, true);
    ASSERT_EQ(chosen.size(), 4u);
    ++first[chosen[0].id];
  }
  double chi2 = 0;
  for (const CaseChoice& choice : policy) {
    const double want = kDraws * choice.probability;
    chi2 += (first[choice.id] - want) * (first[choice.id] - want) / want;
  }
  EXPECT_LT(chi2, 20.5);  // 5 degrees of freedom, p = 0.001
  // The same draws again from the same number of the retrieval, others from another.
  const std::string bytes = cases.Encode();
  auto again = EpisodicCases::Decode({}, bytes);
  std::string a, b, c;
  for (int i = 0; i < 30; ++i) {
    absl::StrAppend(&a, again->Retrieve(context, true)[0].id, " ");
    absl::StrAppend(&b, cases.Retrieve(context, true)[0].id, " ");
    absl::StrAppend(&c, cases.Retrieve(context, true)[0].id, " ");
  }
  EXPECT_EQ(a.substr(0, a.find(' ')), b.substr(0, b.find(' ')));
  EXPECT_NE(a, c);
}

TEST(EpisodicCases, ValuesStayInTheirRange) {
  const HyperVector context = RandomVector(1, 0);
  EpisodicCases cases = Crowd(context, 10);
  for (int i = 0; i < 4000; ++i) {
    const auto chosen = cases.Retrieve(context, true);
    const double r = i % 3 == 0 ? 1 : (i % 3 == 1 ? 0 : Uniform(i));
    const CaseChoice& used = chosen[static_cast<size_t>(i) % chosen.size()];
    const EpisodicCase before = *cases.Find(used.id);
    ASSERT_TRUE(*cases.RecordOutcome(used, r, 1000));
    const EpisodicCase& after = *cases.Find(used.id);
    ASSERT_NEAR(after.q, before.q + 0.1 * used.share * (r - before.q), 1e-6);
    ASSERT_NEAR(after.reward_ema, before.reward_ema + 0.1 * (r - before.reward_ema), 1e-6);
    ASSERT_EQ(after.n, before.n + 1);
    for (const float value : {after.q, after.reward_ema}) ASSERT_TRUE(value >= 0 && value <= 1);
  }
  const auto chosen = cases.Retrieve(context, false);
  for (const double r : {-0.01, 1.01, std::nan("")}) {
    EXPECT_EQ(cases.RecordOutcome(chosen[0], r, 0).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_FALSE(cases.Insert(context, "p", "", r, 0).ok());
  }
}

// Eight contexts, four plans each, outcomes with noise. Returns the mean true value of the plans
// chosen in the last 400 of 2,000 episodes over the best plan's.
double BanditValue(bool learn) {
  constexpr double kMeans[4] = {0.75, 0.5, 0.35, 0.2};
  EpisodicCases cases({.seed = 4});
  double value = 0;
  for (uint64_t e = 0; e < 2000; ++e) {
    const uint64_t context = e % 8;
    const HyperVector sketch = Flipped(RandomVector(2, context), 600, e);
    const bool learning = e < 1600;
    const auto chosen = cases.Retrieve(sketch, learning && learn);
    uint64_t plan = static_cast<uint64_t>(4 * Uniform(4 * e));
    const bool known = !chosen.empty() && chosen[0].distance <= 3700;
    const bool used = known && (!learning || Uniform(4 * e + 1) > 0.2);
    if (used) plan = static_cast<uint64_t>(cases.Find(chosen[0].id)->plan[0] - '0');
    // The best plan is another one in every context.
    const double mean = kMeans[(plan + context) % 4];
    const double r = std::clamp(mean + 0.6 * (Uniform(4 * e + 2) - 0.5), 0.0, 1.0);
    if (!learning) value += mean;
    if (!learn) continue;
    if (used) {
      EXPECT_TRUE(*cases.RecordOutcome(chosen[0], r, static_cast<uint32_t>(e)));
    }
    EXPECT_TRUE(cases.Insert(sketch, std::to_string(plan), "", r, static_cast<uint32_t>(e)).ok());
  }
  return value / 400 / kMeans[0];
}

TEST(EpisodicCases, BanditConvergesWithinFivePercent) {
  EXPECT_GT(BanditValue(true), 0.95);
  EXPECT_LT(BanditValue(false), 0.75);  // chance is 0.6
}

TEST(EpisodicCases, RewardRaisesRetrieval) {
  const HyperVector context = RandomVector(1, 0);
  // A plan that was lucky once (then 0.3) and one that always gives 0.8.
  const auto run = [&](bool update) {
    EpisodicCases cases;
    EXPECT_TRUE(*cases.Insert(context, "lucky", "", 1.0, 0));
    EXPECT_TRUE(*cases.Insert(context, "steady", "", 0.8, 0));
    double last_half = 0;
    for (int e = 0; e < 100; ++e) {
      const auto chosen = cases.Retrieve(context, false);
      const double r = cases.Find(chosen[0].id)->plan == "lucky" ? 0.3 : 0.8;
      if (update) {
        EXPECT_TRUE(*cases.RecordOutcome(chosen[0], r, 0));
      }
      if (e >= 50) last_half += r / 50;
    }
    return last_half;
  };
  EXPECT_GT(run(true), 0.75);
  EXPECT_NEAR(run(false), 0.3, 1e-9);  // ablation
  // One case is rewarded: its probability rises, the other's falls.
  EpisodicCases cases;
  EXPECT_TRUE(*cases.Insert(context, "a", "", 0.75, 0));
  EXPECT_TRUE(*cases.Insert(context, "b", "", 0.75, 0));
  const auto before = cases.Policy(context);
  EXPECT_DOUBLE_EQ(before[0].probability, 0.5);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(*cases.RecordOutcome(before[1], 1.0, 0));
  EXPECT_EQ(cases.Policy(context)[0].id, before[1].id);
  EXPECT_GT(cases.Policy(context)[0].probability, 0.6);
}

TEST(EpisodicCases, InsertsClearOutcomesAndEvictsTheLeastWorth) {
  EpisodicCases cases({.cases_max = 3});
  const auto vector = [](uint64_t n) { return RandomVector(3, n); };
  EXPECT_FALSE(*cases.Insert(vector(0), "p", "", 0.7, 0));
  EXPECT_FALSE(*cases.Insert(vector(0), "p", "", 0.3, 0));
  EXPECT_TRUE(*cases.Insert(vector(0), "p", "", 0.71, 0));
  EXPECT_FALSE(*cases.Insert(vector(0), "p", "", 0.9, 0));  // the same case
  EXPECT_TRUE(*cases.Insert(vector(1), "p", "", 0.29, 0));
  EXPECT_TRUE(*cases.Insert(vector(2), "p", "", 0.9, 0));
  EXPECT_EQ(cases.bytes(), 3 * 2048);
  EXPECT_TRUE(*cases.Insert(vector(3), "p", "", 1.0, 0));  // 0.29 goes
  EXPECT_EQ(cases.Policy(vector(1))[0].distance > 3000, true);
  // Sixty days without use cost 0.6: the 0.9 of old is worth less than the 0.71 used today.
  const uint32_t day60 = 60 * 86400;
  const auto nearest = [&](uint64_t n) { return cases.Policy(vector(n))[0]; };
  EXPECT_TRUE(*cases.RecordOutcome(nearest(0), 0.71, day60));
  EXPECT_TRUE(*cases.RecordOutcome(nearest(3), 1.0, day60));
  EXPECT_TRUE(*cases.Insert(vector(4), "p", "", 0.8, day60));
  for (const EpisodicCase& c : cases.cases()) EXPECT_FALSE(c.sketch == vector(2));
  EXPECT_EQ(cases.counters(),
            (CaseCounters{.retrievals = 0, .hits = 0, .outcomes = 2, .inserted = 5, .evicted = 2}));
  // An evicted case takes no outcome.
  EXPECT_FALSE(*cases.RecordOutcome({.id = 1, .share = 1}, 0.5, 0));
  EXPECT_EQ(cases.Insert(vector(9), std::string(901, 'p'), "", 1, 0).status().message(),
            "plan of 901 bytes; a case has at most 900");
  EXPECT_FALSE(cases.Insert(vector(9), "p", std::string(97, 't'), 1, 0).ok());
}

TEST(EpisodicCases, UseIsWorthALogarithm) {
  // A plan of value 0.71 with some outcomes against one of 0.8 with one: which one goes?
  const auto evicted = [](int outcomes) {
    EpisodicCases cases({.cases_max = 2});
    EXPECT_TRUE(*cases.Insert(RandomVector(3, 0), "used", "", 0.71, 0));
    EXPECT_TRUE(*cases.Insert(RandomVector(3, 1), "better", "", 0.8, 0));
    const CaseChoice used{.id = cases.cases()[0].id, .share = 1};
    for (int i = 1; i < outcomes; ++i) EXPECT_TRUE(*cases.RecordOutcome(used, 0.71, 0));
    EXPECT_TRUE(*cases.Insert(RandomVector(3, 2), "new", "", 0.9, 0));
    return std::string(cases.Find(used.id) == nullptr ? "used" : "better");
  };
  EXPECT_EQ(evicted(3), "used");     // 0.71 + 0.05 log 4 = 0.779 below 0.8 + 0.05 log 2 = 0.835
  EXPECT_EQ(evicted(11), "used");    // 0.834
  EXPECT_EQ(evicted(12), "better");  // 0.838
}

TEST(EpisodicCases, CountsHits) {
  EpisodicCases cases;
  const HyperVector context = RandomVector(1, 0);
  EXPECT_TRUE(*cases.Insert(context, "p", "", 1, 0));
  cases.Retrieve(Flipped(context, 3700, 1), false);
  cases.Retrieve(Flipped(context, 3701, 1), false);
  cases.Retrieve(RandomVector(1, 1), false);
  EXPECT_EQ(cases.counters().retrievals, 3u);
  EXPECT_EQ(cases.counters().hits, 1u);
}

// One number for policy, draws and values: it may not depend on the machine, the compiler or the
// build.
TEST(EpisodicCases, ChoicesAreTheSameEverywhere) {
  const HyperVector context = RandomVector(1, 0);
  EpisodicCases cases = Crowd(context, 90, {.seed = 5});
  for (int i = 0; i < 200; ++i) {
    const auto chosen = cases.Retrieve(Flipped(context, 30 * i, i), i % 4 != 0);
    ASSERT_TRUE(*cases.RecordOutcome(chosen[static_cast<size_t>(i) % 4], Uniform(i), 1000));
  }
  EXPECT_EQ(Xxh3(cases.Encode()), 5306248104470323920u);
}

TEST(EpisodicCases, DecodeSurvivesHostileBytes) {
  const HyperVector context = RandomVector(1, 0);
  EpisodicCases cases = Crowd(context, 2);
  (void)cases.Retrieve(context, true);
  const EpisodicOptions options{.cases_max = 3};
  ExpectHardenedDecode(
      cases.Encode(),
      [&](std::string_view bytes) -> absl::StatusOr<std::string> {
        auto decoded = EpisodicCases::Decode(options, bytes);
        if (!decoded.ok()) return decoded.status();
        return decoded->Encode();
      },
      2000, 7);
  const std::string one = EncodeCase(cases.cases()[0]);
  EXPECT_EQ(one.size(), kCaseBytes);
  ExpectHardenedDecode(
      one,
      [](std::string_view bytes) -> absl::StatusOr<std::string> {
        auto decoded = DecodeCase(bytes);
        if (!decoded.ok()) return decoded.status();
        return EncodeCase(*decoded);
      },
      2000);
  EXPECT_EQ(EpisodicCases::Decode({.cases_max = 1}, cases.Encode()).status().message(),
            "episodic cases: it holds 2 cases; the limit is 1");
}

TEST(EpisodicCases, CasesKeptAsRecordsGiveTheSamePolicy) {
  EpisodicCases cases;
  for (uint64_t n = 0; n < 6; ++n) {
    ASSERT_TRUE(*cases.Insert(RandomVector(3, n), "plan", "", n % 2 == 0 ? 1 : 0, 9));
  }
  const HyperVector near = Flipped(RandomVector(3, 2), 900, 1);
  ASSERT_TRUE(*cases.RecordOutcome(cases.Policy(near)[0], 0.5, 10));
  EpisodicCases other({.cases_max = 6});
  for (size_t i = 6; i-- > 0;) {  // in another order
    ASSERT_TRUE(other.Restore(DecodeCase(EncodeCase(cases.cases()[i])).value()));
  }
  EpisodicCase one_more = cases.cases()[0];
  one_more.id = 1;
  EXPECT_FALSE(other.Restore(one_more)) << "full";
  const auto before = cases.Policy(near), after = other.Policy(near);
  ASSERT_EQ(after.size(), before.size());
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].id, before[i].id);
    EXPECT_EQ(after[i].q_value, before[i].q_value);
    EXPECT_EQ(after[i].probability, before[i].probability);
  }
}

}  // namespace
}  // namespace chimera
