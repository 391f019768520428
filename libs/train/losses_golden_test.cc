// tests/golden/losses.json: cross entropy, the schedule, AdamW with clipping, MeZO.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "nlohmann/json.hpp"
#include "tensor/kernels.h"
#include "train/mezo.h"
#include "train/optimizer.h"

namespace chimera {
namespace {

using nlohmann::json;

json Case(const char* name) {
  std::ifstream file(std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/losses.json");
  return json::parse(file)["cases"][name];
}

std::vector<double> Flat(const json& array) {
  std::vector<double> out;
  const json& data = array.is_object() ? array["data"] : array;
  for (const json& item : data) {
    if (item.is_array()) {
      const auto inner = Flat(item);
      out.insert(out.end(), inner.begin(), inner.end());
    } else {
      out.push_back(item.get<double>());
    }
  }
  return out;
}

std::vector<float> Floats(const std::vector<double>& x) { return {x.begin(), x.end()}; }

constexpr double kTolerance = 1e-5;

void ExpectNear(double got, double want, const std::string& what) {
  EXPECT_LE(std::abs(got - want), kTolerance * (1 + std::abs(want))) << what;
}

// The case without z-loss; masked targets have no loss and no gradient.
TEST(LossesGolden, CrossEntropy) {
  const json c = Case("cross_entropy");
  const auto logits = Floats(Flat(c["in"]["logits"]));
  const auto targets = Flat(c["in"]["targets"]), mask = Flat(c["in"]["mask"]), lse = Flat(c["lse"]);
  const size_t n = targets.size(), vocab = logits.size() / n;
  const json& want = c["out"][0];
  ASSERT_EQ(want["z"].get<double>(), 0.0);
  const auto want_grad = Flat(want["grad_logits"]);
  double unmasked = 0.0, loss = 0.0;
  for (double m : mask) unmasked += m;
  for (size_t t = 0; t < n; ++t) {
    const float* row = logits.data() + t * vocab;
    const float got = Kernels().log_sum_exp(row, int64_t(vocab));
    ExpectNear(got, lse[t], "lse");
    std::vector<float> grad(vocab);
    if (mask[t] > 0) {
      const auto target = static_cast<int64_t>(targets[t]);
      loss += static_cast<double>(got - row[target]);
      Kernels().softmax_grad(row, int64_t(vocab), got, target, static_cast<float>(1 / unmasked),
                             grad.data());
    }
    for (size_t v = 0; v < vocab; ++v) ExpectNear(grad[v], want_grad[t * vocab + v], "gradient");
  }
  ExpectNear(loss / unmasked, want["loss"], "loss");
}

TEST(LossesGolden, CosineSchedule) {
  const json c = Case("cosine");
  int checked = 0;
  for (const json& row : c["rows"]) {
    LearningRateSchedule o;
    o.lr = row["lr_max"];
    o.lr_min_ratio = row["lr_min"].get<double>() / o.lr;
    o.warmup_steps = row["warmup"];
    o.steps_total = row["total"];
    for (size_t i = 0; i < row["t"].size(); ++i, ++checked) {
      EXPECT_NEAR(LearningRate(o, row["t"][i]), row["lr"][i].get<double>(), 1e-11);
    }
  }
  EXPECT_GT(checked, 40);
}

// Three steps on a matrix (decays) and a norm (does not), one clip over both.
TEST(LossesGolden, AdamW) {
  const json c = Case("adamw");
  std::vector<float> w = Floats(Flat(c["in"]["W"])), gamma = Floats(Flat(c["in"]["gamma"]));
  const auto grads_w = Floats(Flat(c["in"]["grad_W"])),
             grads_g = Floats(Flat(c["in"]["grad_gamma"]));
  std::vector<float> mw(w.size()), vw(w.size()), mg(gamma.size()), vg(gamma.size());
  const double b1 = c["b1"], b2 = c["b2"], clip = c["clip"];
  for (size_t step = 0; step < 3; ++step) {
    const float* gw = grads_w.data() + step * w.size();
    const float* gg = grads_g.data() + step * gamma.size();
    const double norm = std::sqrt(Kernels().sum_squares(gw, int64_t(w.size())) +
                                  Kernels().sum_squares(gg, int64_t(gamma.size())));
    ExpectNear(norm, Flat(c["out"]["grad_norm"])[step], "norm");
    AdamWStep s{};
    s.lr = c["lr"];
    s.beta1 = static_cast<float>(b1);
    s.beta2 = static_cast<float>(b2);
    s.eps = c["eps"];
    s.correction1 = static_cast<float>(1 / (1 - std::pow(b1, double(step + 1))));
    s.correction2 = static_cast<float>(1 / (1 - std::pow(b2, double(step + 1))));
    s.grad_scale = static_cast<float>(std::min(1.0, clip / norm));
    s.weight_decay = c["wd"];
    Kernels().adamw(s, int64_t(w.size()), w.data(), gw, mw.data(), vw.data());
    s.weight_decay = 0.0f;
    Kernels().adamw(s, int64_t(gamma.size()), gamma.data(), gg, mg.data(), vg.data());
    for (size_t i = 0; i < w.size(); ++i) {
      ExpectNear(w[i], Flat(c["out"]["W"])[step * w.size() + i], "W");
      ExpectNear(mw[i], Flat(c["out"]["m_W"])[step * w.size() + i], "m");
      ExpectNear(vw[i], Flat(c["out"]["v_W"])[step * w.size() + i], "v");
    }
    for (size_t i = 0; i < gamma.size(); ++i) {
      ExpectNear(gamma[i], Flat(c["out"]["gamma"])[step * gamma.size() + i], "gamma");
    }
  }
}

// One step on a quadratic: the signs, both losses in double, the projected gradient, the update.
TEST(LossesGolden, Mezo) {
  const json c = Case("mezo");
  std::vector<float> theta = Floats(Flat(c["in"]["theta"]));
  const auto a = Flat(c["in"]["A"]), b = Flat(c["in"]["b"]), mix = Flat(c["in"]["c"]);
  const auto z = Flat(c["out"]["z"]), want = Flat(c["out"]["theta"]);
  const auto n = static_cast<int64_t>(theta.size());
  MezoOptions options;
  options.schedule = {.lr = c["lr"], .lr_min_ratio = 1.0};
  options.seed = c["seed"];
  options.eps = c["eps"];
  options.weight_decay = c["wd"];
  const int64_t step = c["stream"];
  ExecContext exec(1);
  Mezo mezo(options, theta, {{0, n}});
  const std::vector<float> start = theta;
  std::vector<std::vector<float>> probed;
  const MezoProbe probe = mezo.Probe(&exec, step, [&] {
    probed.push_back(theta);
    double sum = 0.0, dot = 0.0;
    for (size_t i = 0; i < theta.size(); ++i) {
      const double x = theta[i];
      sum += 0.5 * a[i] * x * x + b[i] * x;
      dot += mix[i] * x;
    }
    return sum + 0.5 * dot * dot;
  });
  constexpr double kDouble = 1e-11;
  const double plus = c["out"]["L_plus"], minus = c["out"]["L_minus"], g = c["out"]["g"];
  EXPECT_NEAR(probe.loss_plus, plus, kDouble * (1 + std::abs(plus)));
  EXPECT_NEAR(probe.loss_minus, minus, kDouble * (1 + std::abs(minus)));
  EXPECT_NEAR(probe.projected_gradient, g, 1e-9 * (1 + std::abs(g)));
  mezo.Update(&exec, step, probe.projected_gradient);
  for (size_t i = 0; i < theta.size(); ++i) {
    EXPECT_EQ(probed[0][i], start[i] + static_cast<float>(options.eps * z[i])) << i;
    EXPECT_EQ(probed[1][i], start[i] - static_cast<float>(options.eps * z[i])) << i;
    ExpectNear(theta[i], want[i], "theta");
  }
}

}  // namespace
}  // namespace chimera
