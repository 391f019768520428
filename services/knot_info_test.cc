// What a knot says of itself, near and far: the cost of its passes, its memory and the limit of it,
// its weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cluster/channel.h"
#include "cluster/cost_probe.h"
#include "cluster/memory_plan.h"
#include "cluster/memory_report.h"
#include "cluster/pass_engine.h"
#include "decode/knot_snapshot.h"
#include "model/braid_state.h"
#include "model/model_testing.h"
#include "model/window.h"
#include "services/serving_testing.h"

namespace chimera {
namespace {

using testing::HasSubstr;

constexpr auto kPatience = std::chrono::seconds(20);

// A window of so many first tokens, each with its distribution.
VerifyRequest WindowOf(int nodes) {
  VerifyRequest request;
  request.commit_all = false;
  for (int i = 0; i < nodes; ++i) {
    request.nodes.push_back({.parent = -1, .token_id = i, .want_distribution = true});
  }
  return request;
}

// Info once the model that is current has been measured.
KnotModelInfo MeasuredInfo(const LocalKnot& knot) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (knot.Info().cost.points.empty() && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return knot.Info();
}

TEST(KnotInfo, TheCostCurveComesInTheBackgroundAndWithEveryModel) {
  ServingOptions options;
  options.measure_cost = true;
  options.data_dir = TestFolder("knot_info_data");
  Serving serving(TestModelFolder("knot_info", true, 1, TestShape::kFull), options);
  const KnotModelInfo first = MeasuredInfo(*serving.local);
  ASSERT_EQ(first.cost.points.size(), 6u);
  EXPECT_GT(first.cost.head_ns, 0);
  const auto far = serving.remote->CurrentModel();
  ASSERT_TRUE(far.ok()) << far.status();
  ASSERT_EQ(far->cost.points.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(far->cost.points[i].positions, kCostPositions[i]);
    EXPECT_EQ(far->cost.points[i].pass_ns, first.cost.points[i].pass_ns);
  }
  EXPECT_EQ(far->cost.head_ns, first.cost.head_ns);
  EXPECT_EQ(first.streams_running, 0);  // measuring takes no slot
  ASSERT_TRUE(serving.local->Publish(TestModelFolder("knot_info_2", true, 2)).ok());
  const KnotModelInfo second = MeasuredInfo(*serving.local);
  EXPECT_NE(second.model_id, first.model_id);
  EXPECT_EQ(second.cost.points.size(), 6u);
}

// It is not asked for: nothing is measured. And a knot that goes while it measures does not wait.
TEST(KnotInfo, MeasuringIsAChoiceAndCanBeCutShort) {
  Serving serving(TestModelFolder("knot_info_off", true), {});
  EXPECT_TRUE(serving.local->Info().cost.points.empty());
  const std::string folder = TestModelFolder("knot_info_short", true, 1, TestShape::kFull);
  LocalKnotOptions options;
  options.measure_cost = true;
  for (int i = 0; i < 5; ++i) {
    auto knot = LocalKnot::Create(options, folder, nullptr);
    ASSERT_TRUE(knot.ok()) << knot.status();
  }
}

// Opens, restores, snapshots and publishes beyond the limit are refused, with value and limit; what
// runs goes on, and what was refused holds nothing.
TEST(KnotMemory, TheLimitHoldsForEverything) {
  const std::string folder = TestModelFolder("knot_memory", true, 1, TestShape::kFull);
  const auto model = *Model::Load(folder);
  const int64_t stream = BraidState::Bytes(model->shape()) + StreamScratchBytes(model->shape());
  ServingOptions options;
  options.max_streams = 8;
  options.data_dir = TestFolder("knot_memory_data");
  const int64_t loaded = model->weight_bytes() + PassEngine::Bytes(model->shape());
  options.memory_limit_bytes = loaded + 2 * stream + BraidState::Bytes(model->shape());
  Serving serving(folder, options);
  const MemoryBudget& memory = serving.local->memory();
  EXPECT_EQ(memory.held(), loaded);
  for (Knot* knot :
       {static_cast<Knot*>(serving.local.get()), static_cast<Knot*>(serving.remote.get())}) {
    auto first = knot->Open("", 0, 0), second = knot->Open("", 0, 0);
    ASSERT_TRUE(first.ok() && second.ok()) << first.status() << second.status();
    EXPECT_EQ(memory.held(), loaded + 2 * stream);
    const auto refused = [&](const absl::Status& status, const std::string& what) {
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr(what));
      EXPECT_THAT(
          std::string(status.message()),
          HasSubstr(absl::StrCat("exceeds the memory limit of ", options.memory_limit_bytes)));
      EXPECT_EQ(memory.held(), loaded + 2 * stream);
      EXPECT_EQ(serving.local->Info().streams_running, 2);
    };
    refused(knot->Open("", 0, 0).status(), "the buffers of a stream of");
    refused((*first)->Fork(0).status(), "the buffers of a stream of");
    refused((*first)->TakeSnapshot("").status(), "a snapshot of");
    if (knot == serving.local.get()) {  // on the wire every error ends its stream
      ASSERT_GT(Window::Bytes(model->shape(), kTreeNodesMax, 1), BraidState::Bytes(model->shape()));
      refused((*first)->Verify(WindowOf(kTreeNodesMax)).status(), "the records of a window of");
      VerifyRequest step;
      step.nodes.push_back({.parent = -1, .token_id = 7});
      EXPECT_TRUE((*first)->Verify(step).ok()) << "it goes on";
    }
    second->reset();
    auto bytes = CopySnapshot(first->get(), "");
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    second = knot->Open("", 0, 0);
    refused(RestoreSnapshot(knot, *bytes, 0).status(), "the buffers of a stream of");
    const std::string larger = TestModelFolder("knot_memory_2", true, 2, TestShape::kFull);
    ASSERT_GT(model->weight_bytes(), BraidState::Bytes(model->shape()));
    refused(knot->Publish(larger).status(), "a model of");
    const auto info = knot->CurrentModel();
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info->memory_bytes, memory.held());
    EXPECT_EQ(info->memory_limit_bytes, options.memory_limit_bytes);
    first->reset();
    second->reset();
    EXPECT_TRUE(serving.SlotsFreeWithin(500));
    EXPECT_EQ(memory.held(), loaded);
  }
}

// What a stream's windows take is counted as they grow, and given back with the stream.
TEST(KnotMemory, WindowsAreCountedWhenTheyAreAskedFor) {
  const std::string folder = TestModelFolder("knot_memory_5", true, 1, TestShape::kFull);
  const auto model = *Model::Load(folder);
  const ModelConfig& shape = model->shape();
  Serving serving(folder, {});
  const MemoryBudget& memory = serving.local->memory();
  const int64_t loaded = memory.held(MemoryPart::kScratch);
  auto stream = serving.remote->Open("", 0, 2);
  ASSERT_TRUE(stream.ok()) << stream.status();
  const int64_t opened = loaded + StreamScratchBytes(shape);
  EXPECT_EQ(memory.held(MemoryPart::kScratch), opened);
  for (const auto& [nodes, most] : {std::pair{3, 3}, {20, 20}, {5, 20}, {40, 40}}) {
    ASSERT_TRUE((*stream)->Verify(WindowOf(nodes)).ok());
    EXPECT_EQ(memory.held(MemoryPart::kScratch),
              opened + Window::Bytes(shape, most, 2) + LogitsBytes(shape, most));
  }
  EXPECT_EQ(LogitsBytes(shape, 40), LogitsBytes(shape, kHeadRowsMax)) << "a pass at a time";
  stream->reset();
  EXPECT_TRUE(serving.SlotsFreeWithin(500));
  EXPECT_EQ(memory.held(MemoryPart::kScratch), loaded);
}

// A model counts until its last stream ends.
TEST(KnotMemory, AReplacedModelIsCountedWhileItIsHeld) {
  ServingOptions options;
  options.data_dir = TestFolder("knot_memory_data_2");
  Serving serving(TestModelFolder("knot_memory_3", true), options);
  const int64_t one = serving.local->memory().held(MemoryPart::kWeights);
  auto pinned = serving.local->Open("", 0, 0);
  ASSERT_TRUE(pinned.ok());
  ASSERT_TRUE(serving.remote->Publish(TestModelFolder("knot_memory_4", true, 2)).ok());
  EXPECT_EQ(serving.local->memory().held(MemoryPart::kWeights), 2 * one);
  pinned->reset();
  EXPECT_EQ(serving.local->memory().held(MemoryPart::kWeights), one);
}

// The shipped model with every slot busy: what the process grows by is what was planned.
TEST(KnotMemory, MeasuredMemoryStaysWithinThePlan) {
  const std::string folder = std::string(CHIMERA_SOURCE_DIR) + "/models/nano";
  const auto model = *Model::Load(folder);
  LocalKnotOptions options;
  options.threads = 2;
  options.max_streams = 16;
  auto knot = LocalKnot::Create(options, folder, nullptr);
  ASSERT_TRUE(knot.ok()) << knot.status();
  const int64_t before = ReadResidentBytes().anonymous;
  std::vector<std::unique_ptr<KnotStream>> streams;
  for (int i = 0; i < options.max_streams; ++i) {
    auto stream = (*knot)->Open("", 0, 0);
    ASSERT_TRUE(stream.ok()) << stream.status();
    VerifyRequest request;
    for (int at = 0; at < 64; ++at) request.nodes.push_back({.parent = at - 1, .token_id = at});
    request.nodes.back().want_distribution = true;
    ASSERT_TRUE((*stream)->Verify(request).ok());
    ASSERT_TRUE((*stream)->Verify(WindowOf(20)).ok());
    streams.push_back(*std::move(stream));
  }
  const int64_t grown = ReadResidentBytes().anonymous - before;
  const MemoryBudget& memory = (*knot)->memory();
  const int64_t planned = memory.held(MemoryPart::kStates) + memory.held(MemoryPart::kScratch);
  EXPECT_EQ(memory.held(MemoryPart::kStates), 16 * BraidState::Bytes(model->shape()));
  EXPECT_LT(grown, planned + planned / 4 + (8 << 20));
  EXPECT_GT(grown, planned / 2);
  EXPECT_LT(memory.held(), memory.limit_bytes());
}

void FlipWeightsByte(const std::string& folder) {
  std::fstream file(folder + "/weights.b158", std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-5000, std::ios::end);
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(-5000, std::ios::end);
  file.put(byte);
}

// What becomes of the check that runs in the background.
WeightsCheck CheckedInfo(Knot* knot) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const auto info = knot->CurrentModel();
    EXPECT_TRUE(info.ok()) << info.status();
    const bool late = std::chrono::steady_clock::now() > until;
    if (!info.ok() || late || info->weights_check != WeightsCheck::kRunning) {
      return info.ok() ? info->weights_check : WeightsCheck::kUnknown;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

TEST(KnotWeights, AreCheckedBesideTheStreams) {
  ServingOptions options;
  options.check_weights_later = true;
  Serving serving(TestModelFolder("knot_weights", true), options);
  EXPECT_TRUE(serving.remote->Open("", 0, 0).ok());  // at once
  EXPECT_EQ(CheckedInfo(serving.remote.get()), WeightsCheck::kGood);
  EXPECT_EQ(CheckedInfo(serving.local.get()), WeightsCheck::kGood);
  EXPECT_TRUE(serving.remote->Open("", 0, 0).ok());
}

TEST(KnotWeights, DamagedOnesTakeNoNewStreamUntilAnotherModelComes) {
  const std::string folder = TestModelFolder("knot_damaged", true, 1, TestShape::kFull);
  ServingOptions good;
  std::string snapshot;
  {
    Serving serving(folder, good);
    auto stream = serving.local->Open("", 0, 0);
    ASSERT_TRUE(stream.ok());
    snapshot = *CopySnapshot(stream->get(), "");
  }
  FlipWeightsByte(folder);
  ServingOptions options;
  options.check_weights_later = true;
  options.measure_cost = true;
  options.data_dir = TestFolder("knot_damaged_data");
  Serving serving(folder, options);
  EXPECT_EQ(CheckedInfo(serving.local.get()), WeightsCheck::kDamaged);
  EXPECT_EQ(CheckedInfo(serving.remote.get()), WeightsCheck::kDamaged);
  for (Knot* knot :
       {static_cast<Knot*>(serving.local.get()), static_cast<Knot*>(serving.remote.get())}) {
    for (const absl::Status& refused :
         {knot->Open("", 0, 0).status(), RestoreSnapshot(knot, snapshot, 0).status()}) {
      EXPECT_EQ(refused.code(), absl::StatusCode::kDataLoss) << refused;
      EXPECT_THAT(std::string(refused.message()), HasSubstr("payload checksum mismatch"));
    }
  }
  ASSERT_TRUE(serving.remote->Publish(TestModelFolder("knot_healed", true, 2)).ok());
  EXPECT_EQ(CheckedInfo(serving.remote.get()), WeightsCheck::kGood);
  EXPECT_TRUE(serving.remote->Open("", 0, 0).ok());
}

// The process: its health, /readyz and /metrics.
TEST(KnotWeights, TheProcessSaysSo) {
  const std::string folder = TestModelFolder("knot_process_model", true, 1, TestShape::kFull);
  const auto get = [](const KnotProcess& knot, const std::string& path) {
    const auto answer = httplib::Client("http://" + knot.admin_address()).Get(path);
    return answer ? absl::StrCat(answer->status, " ", answer->body) : std::string("no answer");
  };
  const auto becomes = [](const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!condition() && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return condition();
  };
  const std::string name = "chimera.knot.v1.KnotService";
  {
    const KnotProcess knot(folder);
    ASSERT_FALSE(knot.address().empty());
    EXPECT_TRUE(becomes([&] {
      return get(knot, "/metrics").find("chimera_weights_check{state=\"good\"} 1") !=
             std::string::npos;
    }));
    EXPECT_TRUE(HealthIsServing(MakeChannel(knot.address()).get(), name, 2000));
    EXPECT_THAT(get(knot, "/readyz"), HasSubstr("200"));
    const std::string metrics = get(knot, "/metrics");
    for (const char* part : {"weights", "braid_state", "snapshots", "scratch", "other"}) {
      EXPECT_THAT(metrics, HasSubstr(absl::StrCat("chimera_memory_bytes{component=\"", part)));
    }
    EXPECT_THAT(metrics, HasSubstr("chimera_memory_limit_bytes "));
    EXPECT_THAT(metrics, HasSubstr("chimera_knot_pass_seconds{positions=\"32\"}"));
  }
  FlipWeightsByte(folder);
  const KnotProcess knot(folder);
  ASSERT_FALSE(knot.address().empty());
  const auto channel = MakeChannel(knot.address());
  EXPECT_TRUE(becomes([&] { return !HealthIsServing(channel.get(), name, 2000); }));
  EXPECT_THAT(get(knot, "/readyz"), HasSubstr("are damaged"));
  EXPECT_THAT(get(knot, "/metrics"), HasSubstr("chimera_weights_check{state=\"damaged\"} 1"));
}

}  // namespace
}  // namespace chimera
