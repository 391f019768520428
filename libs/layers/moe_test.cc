// Routing: the golden vectors, ties, grouping.
#include "layers/moe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/moe_naive.h"

namespace chimera {
namespace {

constexpr int kExperts = 16;

Doubles GoldenStep(int step, const char* name) {
  return Golden("moe", "routing", "steps", std::to_string(step) + "/" + name);
}

// A router that hands its input through: x are the logits.
Floats Identity(int n) {
  Floats eye(size_t(n * n));
  for (int i = 0; i < n; ++i) eye[size_t(i * n + i)] = 1;
  return eye;
}

struct Routed {
  Floats scores, weights;
  std::vector<int32_t> picked;
};

Routed RouteRows(Isa isa, const Floats& x, const Floats& router, const Floats& bias, int d_model,
                 float scale = 1) {
  const int experts = static_cast<int>(bias.size());
  const int tokens = static_cast<int>(x.size()) / d_model;
  Routed r{Floats(size_t(tokens * experts)), Floats(size_t(2 * tokens)),
           std::vector<int32_t>(size_t(2 * tokens))};
  MoeFor(isa).scores(x.data(), router.data(), tokens, experts, d_model, r.scores.data());
  MoeFor(isa).select(r.scores.data(), bias.data(), tokens, experts, scale, r.picked.data(),
                     r.weights.data());
  return r;
}

TEST(MoeRouting, MatchesTheGoldenVectors) {
  const Floats logits = ToFloats(Golden("moe", "routing", "in", "logits"));
  const int per_step = 24 * kExperts;
  for (const Isa isa : RunnableIsas()) {
    for (int step = 0; step < 5; ++step) {
      const Floats x(logits.begin() + step * per_step, logits.begin() + (step + 1) * per_step);
      const Routed got =
          RouteRows(isa, x, Identity(kExperts), ToFloats(GoldenStep(step, "bias")), kExperts);
      const Doubles selected = GoldenStep(step, "selected");
      EXPECT_EQ(Doubles(got.picked.begin(), got.picked.end()), selected) << "step " << step;
      ExpectClose(got.weights, GoldenStep(step, "weights"), 1e-6, "weights");
      if (step == 0) {
        ExpectClose(got.scores, Golden("moe", "routing", "", "scores_step0"), 1e-6, "scores");
      }
    }
  }
}

TEST(MoeRouting, NaiveTwinAgreesAndEveryInstructionSetGivesTheSameBits) {
  for (const int experts : {2, 3, 16, 17, 40}) {
    const int d = 70, tokens = 33;
    NaiveMoe<double> twin{.n_experts = experts, .d_model = d, .d_expert = 0, .scale = 2.5};
    const Floats x = Noise(tokens * d, 1, 0, 1), router = Noise(experts * d, 0.5f, 0, 2);
    const Floats bias = Noise(experts, 0.2f, 0, 3);
    twin.router = ToDoubles(router), twin.bias = ToDoubles(bias);
    const Doubles xd = ToDoubles(x);
    Routed first;
    for (const Isa isa : RunnableIsas()) {
      const Routed got = RouteRows(isa, x, router, bias, d, 2.5f);
      for (int t = 0; t < tokens; ++t) {
        const Doubles s = twin.Scores(&xd[size_t(t * d)]), w = twin.Weights(s, t);
        ExpectClose(
            Floats(&got.scores[size_t(t * experts)], &got.scores[size_t(t * experts)] + experts), s,
            1e-6, "scores");
        EXPECT_NE(got.picked[size_t(2 * t)], got.picked[size_t(2 * t + 1)]);
        double sum = 0;
        for (int pick = 0; pick < 2; ++pick) {
          const double weight = got.weights[size_t(2 * t + pick)];
          sum += weight;
          EXPECT_NEAR(weight, w[size_t(got.picked[size_t(2 * t + pick)])], 1e-5);
        }
        EXPECT_NEAR(sum, 2.5, 1e-6);
      }
      if (isa == Isa::kBaseline) first = got;
      ExpectSame(got.scores, first.scores, IsaName(isa));
      ExpectSame(got.weights, first.weights, IsaName(isa));
      EXPECT_EQ(got.picked, first.picked);
    }
  }
}

TEST(MoeRouting, TiesTakeTheLowerIndexAndNanStillNamesTwoExperts) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto pick = [](const Floats& scores) {
    const int n = static_cast<int>(scores.size());
    const Floats bias(scores.size());
    int32_t picked[2];
    float weights[2];
    Moe().select(scores.data(), bias.data(), 1, n, 1, picked, weights);
    return std::pair(picked[0], picked[1]);
  };
  EXPECT_EQ(pick({1, 1, 1, 1}), std::pair(0, 1));
  EXPECT_EQ(pick({0, 1, 1, 1}), std::pair(1, 2));
  EXPECT_EQ(pick({0, 0, 1, 0}), std::pair(2, 0));
  EXPECT_EQ(pick({0, 0, 0, 1}), std::pair(3, 0));
  EXPECT_EQ(pick({1, 0, 0}), std::pair(0, 1));
  for (const Floats& bad : {Floats{nan, nan, nan}, Floats{nan, 1, 2}, Floats{1, nan, nan},
                            Floats{0, 1, nan}, Floats{nan, nan}}) {
    const auto [a, b] = pick(bad);
    EXPECT_NE(a, b);
    EXPECT_TRUE(a >= 0 && b >= 0 && a < int(bad.size()) && b < int(bad.size()));
  }
}

TEST(MoeRouting, BiasSteersTheChoiceAndNotTheWeights) {
  const Floats scores = {0.5f, 0.25f, 0.125f};
  const auto run = [&](const Floats& bias) {
    Routed r{scores, Floats(2), std::vector<int32_t>(2)};
    Moe().select(scores.data(), bias.data(), 1, 3, 1, r.picked.data(), r.weights.data());
    return r;
  };
  EXPECT_EQ(run({0, 0, 0}).picked, (std::vector<int32_t>{0, 1}));
  const Routed moved = run({0, 0, 0.2f});
  EXPECT_EQ(moved.picked, (std::vector<int32_t>{0, 2}));
  ExpectClose(moved.weights, {0.8, 0.2}, 1e-6, "weights from the scores alone");
}

TEST(MoeDispatchTest, GroupsByExpertTokensAscendingAndPads) {
  const int tokens = 50, experts = 7;
  for (const int align : {1, 8, 32}) {
    std::vector<int32_t> picked(2 * tokens);
    Floats weights(2 * tokens);
    for (int t = 0; t < tokens; ++t) {
      picked[size_t(2 * t)] = (t * 5 + 3) % 6;  // expert 6 stays empty
      picked[size_t(2 * t + 1)] = (picked[size_t(2 * t)] + 1 + t % 5) % 6;
      weights[size_t(2 * t)] = float(t) + 0.25f;
      weights[size_t(2 * t + 1)] = float(t) + 0.75f;
    }
    const size_t slots = size_t(MoeSlots(tokens, experts, align));
    std::vector<int32_t> begin(experts + 1), count(experts), rows(slots, -7), of(2 * tokens);
    Floats slot_weights(slots, -7);
    DispatchTokens(picked.data(), weights.data(), tokens, experts, align,
                   {begin.data(), count.data(), rows.data(), slot_weights.data(), of.data()});
    int total = 0;
    for (int e = 0; e < experts; ++e) {
      const int b = begin[size_t(e)], c = count[size_t(e)];
      EXPECT_EQ(b % align, 0);
      total += c;
      for (int i = b; i < begin[size_t(e) + 1]; ++i) {
        const int row = rows[size_t(i)];
        EXPECT_EQ(row >= 0, i < b + c);
        if (row < 0) {
          EXPECT_EQ(slot_weights[size_t(i)], 0);
          continue;
        }
        if (i > b) {
          EXPECT_LT(rows[size_t(i) - 1], row);
        }
        const int pick = picked[size_t(2 * row)] == e ? 0 : 1;
        EXPECT_EQ(picked[size_t(2 * row + pick)], e);
        EXPECT_EQ(slot_weights[size_t(i)], weights[size_t(2 * row + pick)]);
      }
    }
    EXPECT_EQ(total, 2 * tokens);
    EXPECT_EQ(count[6], 0);
    for (int t = 0; t < tokens; ++t) {
      EXPECT_LT(of[size_t(2 * t)], of[size_t(2 * t + 1)]);
      EXPECT_EQ(rows[size_t(of[size_t(2 * t)])], t);
      EXPECT_EQ(rows[size_t(of[size_t(2 * t + 1)])], t);
    }
  }
}

TEST(MoeDispatchTest, RouteOfManyTokensHoldsTheRouteOfEach) {
  const int d = 64, tokens = kMoeTokensMax;
  const Floats x = Noise(tokens * d, 1, 0, 1), router = Noise(kExperts * d, 0.5f, 0, 2);
  const Floats bias = Noise(kExperts, 0.1f, 0, 3);
  const MoeRouter view{router.data(), bias.data(), kExperts, d};
  auto all = std::make_unique<MoeRoute>(), one = std::make_unique<MoeRoute>();
  PickExperts(view, x.data(), 0, 17, all.get());
  PickExperts(view, x.data(), 17, tokens, all.get());
  GroupPicks(view, tokens, all.get());
  EXPECT_EQ(all->begin[kExperts], 2 * tokens);
  for (int t = 0; t < tokens; ++t) {
    PickExperts(view, &x[size_t(t * d)], 0, 1, one.get());
    GroupPicks(view, 1, one.get());
    for (int pick = 0; pick < 2; ++pick) {
      EXPECT_EQ(one->picked[pick], all->picked[2 * t + pick]);
      EXPECT_EQ(one->weights[pick], all->weights[all->slots[2 * t + pick]]);
    }
  }
}

}  // namespace
}  // namespace chimera
