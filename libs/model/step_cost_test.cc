#include "model/step_cost.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/exec_context.h"
#include "model/knot_bench.h"
#include "model/layout.h"
#include "model/model_testing.h"

namespace chimera {
namespace {

TEST(StepCost, CountsEveryWeightOnceWithoutLoopsAndExperts) {
  const ModelConfig c = TestConfig(true).model;
  int64_t weights = 0, bytes = 0;
  for (const TensorSpec& spec : ModelLayout(c)) {
    weights += int64_t{spec.rows} * spec.cols;
    bytes += static_cast<int64_t>(PayloadBytes(spec.kind, spec.rows, spec.cols));
  }
  EXPECT_EQ(CountStep(c, 1).weights, weights);
  EXPECT_EQ(CountStep(c, 1).bytes, bytes);
}

TEST(StepCost, LoopsRepeatTheirLayersAndExpertsCountWhenChosen) {
  ModelConfig c = TestConfig(true, TestShape::kLooped).model;
  const int64_t one = CountStep(c, 1).weights;
  const int64_t iteration = CountStep(c, 2).weights - one;
  EXPECT_GT(iteration, 0);
  EXPECT_LT(iteration, one);
  EXPECT_EQ(CountStep(c, 4).weights, one + 3 * iteration);
  // 2 of 4 experts; of 8 with half the share each token still runs 2.
  const int64_t routers = 2 * c.moe.n_routed * (c.d_model + 1);
  c.moe.n_routed *= 2;
  EXPECT_EQ(CountStep(c, 1).weights, one + routers);
}

TEST(StepCost, DenserPackingsReadLess) {
  ModelConfig c = TestConfig(true).model;
  const StepCost two_bit = CountStep(c, 1);
  c.quant.packing = TernaryPacking::kBase3;
  EXPECT_EQ(CountStep(c, 1).weights, two_bit.weights);
  EXPECT_LT(CountStep(c, 1).bytes, two_bit.bytes);
  const StepCost base3 = CountStep(c, 1);
  c.quant.head_bits = 4;
  EXPECT_EQ(CountStep(c, 1).weights, two_bit.weights);
  EXPECT_EQ(CountStep(c, 1).bytes,
            base3.bytes - int64_t(PayloadBytes(TensorKind::kInt8Rows, c.vocab_size, c.d_model)) +
                int64_t(PayloadBytes(TensorKind::kGroupedRows4, c.vocab_size, c.d_model)));
  c.quant.head_bits = 8;
  c.quant.packing = TernaryPacking::kSherry;
  EXPECT_EQ(CountStep(c, 1).bytes, two_bit.bytes) << "unpacked when it is loaded";
}

TEST(KnotBench, FiguresOfASmallModel) {
  auto model = Model::Load(TestModelFolder("bench", true, 1, TestShape::kFull));
  ASSERT_TRUE(model.ok()) << model.status();
  ExecContext exec(2);
  const ReadProbe probe(true, size_t{8} << 20);
  const KnotBenchOptions options = {.runs = 3,
                                    .decode_steps = 2,
                                    .prefill_tokens = 70,
                                    .loops = {1, 2, 99},
                                    .tree_nodes = {8, 20}};
  const auto decode = BenchDecode(**model, options, probe, &exec);
  ASSERT_EQ(decode.size(), 2u) << "99 loops are beyond the model";
  for (const DecodeFigure& f : decode) {
    EXPECT_GT(f.steps_per_s.least, 0);
    EXPECT_NEAR(f.weights_per_byte.median / f.fraction_of_read.median,
                double(f.cost.weights) / double(f.cost.bytes), 1e-9);
  }
  const HeadFigure head = BenchHead(**model, options, probe, &exec);
  EXPECT_STREQ(head.packing, "int8");
  EXPECT_EQ(head.bytes, 1088 * 64 + 1088 * 4);
  EXPECT_GT(head.seconds.least, 0);
  EXPECT_GT(head.fraction_of_read.least, 0);
  EXPECT_GT(BenchPrefill(**model, options, &exec).fraction_of_dot.least, 0);
  const auto batches = BenchBatch(**model, options, &exec);
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_GT(batches[2].fraction_of_dot.least, 0);
  const auto trees = BenchTree(**model, options, &exec);
  ASSERT_EQ(trees.size(), 2u);
  EXPECT_GT(trees[1].steps.least, 0);
}

}  // namespace
}  // namespace chimera
