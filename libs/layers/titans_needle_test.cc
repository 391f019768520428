// Facts thousands of tokens back, far beyond the window: a layer whose memory learns while reading
// recalls them, the same layer with its memory frozen does not (FEATURES M5).
#include "layers/titans_needle.h"

#include <cmath>

#include "gtest/gtest.h"

namespace chimera {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kSteps = 12;  // enough to run every path, not to learn
#else
constexpr int kSteps = 360;
#endif
constexpr bool kLearns = kSteps > 100;
constexpr int kDistance = 1200;  // tokens; the window holds 16
constexpr int kDocuments = 40;

void Train(NeedleModel* model) {
  for (int step = 1; step <= kSteps; ++step) {
    ASSERT_TRUE(std::isfinite(model->Train(step, kSteps, kDistance))) << "step " << step;
  }
}

TEST(TitansNeedleTest, AWritingMemoryRecallsWhatAFrozenOneCannot) {
  NeedleModel model({.use = TitansUse::kWrite}, 2);
  Train(&model);
  for (const int distance : {kDistance, 4000}) {
    const double writing = model.Recall(kDocuments, distance, TitansUse::kWrite);
    const double frozen = model.Recall(kDocuments, distance, TitansUse::kFrozen);
    if (!kLearns) continue;
    EXPECT_GT(writing, 0.6) << distance;  // one in eight by chance
    EXPECT_LT(frozen, 0.3) << distance;
  }
}

TEST(TitansNeedleTest, TrainingWithTheMemoryFrozenDoesNotHelp) {
  NeedleModel model({.use = TitansUse::kFrozen}, 2);
  Train(&model);
  if (kLearns) {
    EXPECT_LT(model.Recall(kDocuments, kDistance, TitansUse::kFrozen), 0.3);
  }
}

}  // namespace
}  // namespace chimera
