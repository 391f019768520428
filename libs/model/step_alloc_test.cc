// The step path never allocates.
#include <gtest/gtest.h>

#include "base/alloc_testing.h"
#include "model/model_testing.h"
#include "model/step.h"

namespace chimera {
namespace {

// Every switch of the ternary maps that touches a step is covered by `keys`.
void ExpectNoAllocations(const std::string& keys) {
  auto model = Model::Load(TestModelFolder("alloc", TestConfigWith(keys, TestShape::kFull)));
  ASSERT_TRUE(model.ok()) << model.status();
  ExecContext exec(2);
  Stepper stepper(**model, &exec, Stepper::kPrefillMax);
  BraidState state((*model)->shape()), other((*model)->shape());
  std::vector<float> logits(size_t((*model)->shape().vocab_size));
  const std::vector<int32_t> tiles = {3, 0, 66};
  const std::vector<int32_t> tokens(Stepper::kPrefillMax, 7);
  stepper.Logits(stepper.Step(&state, 1), 1, logits);  // tables of this process are built once

  const long before = Allocations();
  for (int32_t token = 2; token < 50; ++token) {
    const auto hidden = stepper.Step(&state, token);
    stepper.Logits(hidden, 1, logits);
    stepper.LogitsOfTiles(hidden, tiles, std::span(logits).first(tiles.size() * kRowTile));
  }
  stepper.Prefill(&state, tokens);
  BraidState* const streams[] = {&state, &other};
  for (int32_t token = 2; token < 20; ++token) {
    const Stepper::Row rows[] = {{.state = streams[0], .token = token},
                                 {.state = streams[1], .token = token}};
    stepper.Batch(rows);
  }
  EXPECT_EQ(Allocations() - before, 0);

  const GateMeans means = stepper.TakeGateMeans();
  EXPECT_GT(means.alpha, 0.0);
  EXPECT_LT(means.alpha, 1.0);
  EXPECT_GT(means.beta, 0.0);
  EXPECT_LT(means.beta, 1.0);
  EXPECT_EQ(stepper.TakeGateMeans().alpha, 0.0);

  std::vector<int>* counted = new std::vector<int>(3);
  EXPECT_GT(Allocations() - before, 0) << "the counter must count";
  delete counted;
}

TEST(StepAllocations, StepPrefillAndLogitsAllocateNothing) {
  ExpectNoAllocations(R"("method": "bitnet")");
}

TEST(StepAllocations, NorWithSherryAndCorrections) {
  ExpectNoAllocations(R"("sherry_mode": {"enabled": true}, "hgf_correction": {"enabled": true})");
}

TEST(StepAllocations, NorWithAHeadOfFourBits) { ExpectNoAllocations(R"("head_bits": 4)"); }

}  // namespace
}  // namespace chimera
