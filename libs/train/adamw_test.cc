#include "train/adamw.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "model/model_testing.h"

namespace chimera {
namespace {

// Gradients of one everywhere, none of them from a network.
class Ones final : public BatchLoss {
 public:
  explicit Ones(Parameters* parameters) : parameters_(parameters) {}
  double Evaluate(bool) override { return 0; }
  void Backward() override { std::ranges::fill(parameters_->grads(), 1.0f); }

 private:
  Parameters* const parameters_;
};

// A first step of Adam moves every weight by the rate, whatever its gradient: a tenth of it in a
// router of experts, nothing where no gradient belongs.
TEST(AdamW, TensorsMoveAtTheirOwnRates) {
  const ModelConfig config = TestConfig(true, TestShape::kLooped).model;
  Parameters parameters(config);
  parameters.Initialize(config, 1);
  const std::vector<float> before(parameters.values().begin(), parameters.values().end());
  AdamW adamw({.schedule = {.lr = 0.5, .lr_min_ratio = 1.0, .steps_total = 10},
               .weight_decay = 0,
               .grad_clip = 0},
              &parameters);
  ExecContext exec(1);
  Ones loss(&parameters);
  adamw.Step(&exec, 1, &loss);
  int routers = 0;
  for (const Parameters::Entry& e : parameters.entries()) {
    const auto at = static_cast<size_t>(e.offset);
    const bool router = e.spec.name.ends_with("moe.router");
    routers += router ? 1 : 0;
    const double moved = before[at] - parameters.values()[at];
    EXPECT_NEAR(moved, !e.spec.trainable ? 0 : router ? 0.05 : 0.5, 1e-4) << e.spec.name;
  }
  EXPECT_EQ(routers, 2);
}

}  // namespace
}  // namespace chimera
