#include "cluster/memory_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "cluster/memory_plan.h"
#include "cluster/memory_report.h"
#include "model/braid_state.h"
#include "model/model_testing.h"

namespace chimera {
namespace {

using testing::HasSubstr;

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

TEST(MemoryBudget, CountsByPartAndRefusesBeyondTheLimit) {
  const auto budget = MemoryBudget::Create(1000);
  auto weights = budget->Hold(MemoryPart::kWeights, 600, "a model");
  auto state = budget->Hold(MemoryPart::kStates, 400, "a stream");  // to the last byte
  ASSERT_TRUE(weights.ok() && state.ok());
  EXPECT_EQ(budget->held(), 1000);
  EXPECT_EQ(budget->held(MemoryPart::kStates), 400);
  const absl::Status refused = budget->Hold(MemoryPart::kSnapshots, 1, "a snapshot").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(MessageOf(refused), HasSubstr("a snapshot of 1 bytes exceeds the memory limit of "
                                            "1000 bytes, of which 1000 are held"));
  EXPECT_EQ(budget->held(), 1000);  // a refusal holds nothing
  *state = MemoryHold();
  EXPECT_EQ(budget->held(), 600);
  EXPECT_TRUE(budget->CheckRoom(400, "a model").ok());
  EXPECT_FALSE(budget->CheckRoom(401, "a model").ok());
  EXPECT_FALSE(budget->CheckRoom(INT64_MAX, "a model").ok());
}

TEST(MemoryBudget, HoldsMoveAndOutliveTheirMaker) {
  auto budget = MemoryBudget::Create(0);  // no limit
  auto first = budget->Hold(MemoryPart::kScratch, int64_t{1} << 60, "much");
  ASSERT_TRUE(first.ok());
  MemoryHold moved = *std::move(first);
  EXPECT_EQ(budget->held(MemoryPart::kScratch), int64_t{1} << 60);
  {
    MemoryHold again = std::move(moved);
    EXPECT_EQ(budget->held(MemoryPart::kScratch), int64_t{1} << 60);
  }
  EXPECT_EQ(budget->held(MemoryPart::kScratch), 0);
  moved = *budget->Hold(MemoryPart::kScratch, 5, "little");
  budget.reset();  // the hold keeps it
}

TEST(MemoryBudget, AHoldTakesOverOthersAndGivesAllBackAtOnce) {
  const auto budget = MemoryBudget::Create(100);
  MemoryHold hold;
  for (const int64_t bytes : {30, 0, 50}) {
    hold.Add(*budget->Hold(MemoryPart::kScratch, bytes, "a part"));
  }
  EXPECT_EQ(hold.bytes(), 80);
  hold.Add(MemoryHold());
  EXPECT_EQ(hold.bytes(), 80);
  EXPECT_EQ(budget->held(MemoryPart::kScratch), 80);
  EXPECT_FALSE(budget->Hold(MemoryPart::kScratch, 21, "too much").ok());
  hold = MemoryHold();
  EXPECT_EQ(budget->held(MemoryPart::kScratch), 0);
}

TEST(MemoryPlan, IsCountedFromTheDimensionsAndBoundsGrowth) {
  auto model = Model::Load(TestModelFolder("memory_plan", true, 1, TestShape::kFull));
  ASSERT_TRUE(model.ok()) << model.status();
  const MemoryPlan plan = PlanMemory(**model, 3);
  int64_t total = 0, weights = 0, labels = 0;
  for (const MemoryPlanRow& row : plan.rows) {
    total += row.bytes;
    if (row.name == "ternary_weights" || row.name == "moe_experts") {
      EXPECT_GT(row.bytes, 0);
      weights += row.bytes;
    }
    if (row.name == "braid") {
      EXPECT_EQ(row.bytes, 3 * BraidState::Bytes((*model)->shape()));
    }
    if (!row.counted) labels += row.label_mb;
  }
  EXPECT_EQ(weights, (*model)->weight_bytes());
  EXPECT_EQ(labels, 384 + 64 + 320 + 8 + 2 + 32 + 128 + 1000);
  EXPECT_EQ(plan.total_bytes, total);
  EXPECT_EQ(plan.limit_bytes, total + (int64_t{650} << 20));
  EXPECT_GT(PlanMemory(**model, 4).limit_bytes, plan.limit_bytes);
  EXPECT_THAT(MemoryPlanText(plan), HasSubstr("(label 410), moe_experts"));
  EXPECT_THAT(MemoryPlanText(plan), HasSubstr("MiB (label 3174)"));
}

TEST(MemoryPlan, TheLimitCanBeSwitchedOff) {
  auto config = ParseConfig(ConfigJson(TestConfig(true)),
                            {R"({"safety": {"memory_limit_enforced": false}})"});
  ASSERT_TRUE(config.ok()) << config.status();
  auto model = Model::Load(TestModelFolder("memory_plan_off", *config));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(PlanMemory(**model, 3).limit_bytes, 0);
  EXPECT_THAT(MemoryPlanText(PlanMemory(**model, 3)), HasSubstr("no limit"));
}

class Gauges final : public MetricsSink {
 public:
  void Count(std::string_view, std::string_view, double) override {}
  void Gauge(std::string_view, std::string_view label, double value) override {
    values[std::string(label)] = value;
  }
  void Observe(std::string_view, std::string_view, double) override {}
  std::map<std::string, double> values;
};

TEST(MemoryReport, WhatNobodyCountsIsOther) {
  const ResidentBytes resident = ReadResidentBytes();
  EXPECT_GT(resident.anonymous, 100 << 10);
  EXPECT_GT(resident.file, 100 << 10);
  MemoryReport report;
  report.Add("weights", false, [] { return int64_t{1} << 50; });
  report.Add("braid_state", true, [] { return int64_t{50} << 10; });
  Gauges gauges;
  report.Collect(&gauges);
  EXPECT_EQ(gauges.values["weights"], double(int64_t{1} << 50));
  EXPECT_GT(gauges.values["other"], 0);
  EXPECT_LT(gauges.values["other"], double(ReadResidentBytes().anonymous));
  report.Add("scratch", true, [] { return int64_t{1} << 50; });
  report.Collect(&gauges);
  EXPECT_EQ(gauges.values["other"], 0);
}

}  // namespace
}  // namespace chimera
