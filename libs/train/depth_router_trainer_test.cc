#include "train/depth_router_trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/philox.h"

namespace chimera {
namespace {

constexpr int kWidth = 64;

struct Rows {
  std::vector<float> x;
  std::vector<uint8_t> depth;
};

// Uniform features; the depth grows with the distance of two of them from the origin, which no
// linear map can tell.
Rows KnownDepths(int n, uint64_t seed) {
  const PhiloxStream rng(seed, RngPurpose::kDataShuffle, 77);
  Rows rows;
  for (int i = 0; i < n * kWidth; ++i) rows.x.push_back(3.4f * rng.Uniform(uint64_t(i)) - 1.7f);
  for (int i = 0; i < n; ++i) {
    const float a = rows.x[size_t(i * kWidth + 5)], b = rows.x[size_t(i * kWidth + 40)];
    const int ring = static_cast<int>(std::sqrt(a * a + b * b) / 0.45f);
    rows.depth.push_back(static_cast<uint8_t>(std::min(6, 1 + ring)));
  }
  return rows;
}

absl::StatusOr<DepthRouterReport> Train(const Rows& rows, int threads = 2,
                                        const DepthRouterOptions& options = {}) {
  ExecContext exec(threads);
  return TrainDepthRouter(rows.x, kWidth, rows.depth, 53, options, &exec);
}

TEST(DepthRouterTrainerTest, LearnsADepthThatTheFeaturesHold) {
  const auto report = Train(KnownDepths(16'000, 6));
  ASSERT_TRUE(report.ok()) << report.status();
  RecordProperty("accuracy", std::to_string(report->accuracy));
  RecordProperty("float_accuracy", std::to_string(report->float_accuracy));
  RecordProperty("majority", std::to_string(report->majority));
  RecordProperty("collapsed_accuracy", std::to_string(report->collapsed_accuracy));
  EXPECT_NEAR(static_cast<double>(report->held_out_rows) / 16'000, 0.2, 0.01);
  EXPECT_EQ(report->train_rows + report->held_out_rows, 16'000);
  EXPECT_GT(report->accuracy, 0.75);
  EXPECT_GT(report->accuracy, report->majority + 0.4);
  EXPECT_GT(report->collapsed_accuracy, report->accuracy);
  EXPECT_GE(report->collapsed_majority, report->majority);
  EXPECT_NEAR(report->float_accuracy, report->accuracy, 0.02) << "what int8 costs";
  int64_t near = 0, all = 0, commonest = 0;
  for (int r = 0; r < 6; ++r) {
    int64_t row = 0;
    for (int c = 0; c < 6; ++c) {
      row += report->confusion[size_t(r)][size_t(c)];
      if (std::abs(r - c) <= 1) near += report->confusion[size_t(r)][size_t(c)];
    }
    all += row;
    commonest = std::max(commonest, row);
  }
  EXPECT_EQ(report->majority, static_cast<double>(commonest) / static_cast<double>(all));
  EXPECT_EQ(all, report->held_out_rows);
  EXPECT_GT(static_cast<double>(near) / static_cast<double>(all), 0.98) << "mistakes are small";
}

TEST(DepthRouterTrainerTest, AConstantOracleGivesTheBaselineAndNothingMore) {
  Rows rows = KnownDepths(1'000, 2);
  for (uint8_t& depth : rows.depth) depth = 3;
  const auto report = Train(rows);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->accuracy, 1);
  EXPECT_EQ(report->majority, 1);
  EXPECT_EQ(report->collapsed_majority, 1);
  EXPECT_EQ(report->confusion[2][2], report->held_out_rows);
}

// Held-out rows are really held out: depths without a reason cannot be learnt.
TEST(DepthRouterTrainerTest, DepthsThatTheFeaturesDoNotHoldStayAtTheBaseline) {
  Rows rows = KnownDepths(4'000, 3);
  const PhiloxStream rng(9, RngPurpose::kDataShuffle, 78);
  for (size_t i = 0; i < rows.depth.size(); ++i) {
    rows.depth[i] =
        static_cast<uint8_t>(rng.Uniform(i) < 0.5f ? 2 : 1 + rng.Word(1'000'000 + i) % 6);
  }
  const auto report = Train(rows);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_LT(report->train_loss, std::log(6.0)) << "it did learn something by heart";
  EXPECT_LT(report->accuracy, report->majority + 0.03);
}

TEST(DepthRouterTrainerTest, ThreadsChangeNothingAndTheSeedDoes) {
  const Rows rows = KnownDepths(1'500, 4);
  const DepthRouterOptions options{.epochs = 2, .batch_rows = 600};  // three blocks of rows
  const auto one = Train(rows, 1, options), three = Train(rows, 3, options);
  ASSERT_TRUE(one.ok() && three.ok());
  EXPECT_EQ(one->params.hidden, three->params.hidden);
  EXPECT_EQ(one->params.out, three->params.out);
  EXPECT_EQ(one->params.out_bias, three->params.out_bias);
  EXPECT_EQ(one->confusion, three->confusion);
  ExecContext exec(1);
  const auto other = TrainDepthRouter(rows.x, kWidth, rows.depth, 54, options, &exec);
  ASSERT_TRUE(other.ok());
  EXPECT_NE(one->params.hidden, other->params.hidden);
}

TEST(DepthRouterTrainerTest, WrongInputIsRefusedByName) {
  const Rows good = KnownDepths(50, 5);
  ExecContext exec(1);
  const auto message = [&](const Rows& rows, int width) {
    return std::string(
        TrainDepthRouter(rows.x, width, rows.depth, 1, {}, &exec).status().message());
  };
  EXPECT_EQ(message(good, kWidth), "");
  EXPECT_NE(message(good, 65).find("d_model 65"), std::string::npos);
  EXPECT_NE(message(good, 128).find("features hold 3200"), std::string::npos);
  Rows bad = good;
  bad.depth[7] = 0;
  EXPECT_EQ(message(bad, kWidth), "label 0 of row 7 is outside 1..6");
  bad.depth[7] = 7;
  EXPECT_EQ(message(bad, kWidth), "label 7 of row 7 is outside 1..6");
  bad = good;
  bad.x[64 * 3 + 2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(message(bad, kWidth), "feature 2 of row 3 is not finite");
  Rows few = KnownDepths(9, 5);
  EXPECT_EQ(message(few, kWidth), "rows 9 below the minimum of 10");
  EXPECT_EQ(message(KnownDepths(10, 5), kWidth), "");
}

}  // namespace
}  // namespace chimera
