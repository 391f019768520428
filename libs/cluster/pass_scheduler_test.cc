#include "cluster/pass_scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "base/alloc_testing.h"
#include "base/clock.h"
#include "base/philox.h"
#include "cluster/local_knot.h"
#include "model/model_testing.h"

namespace chimera {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr int kStreams = 16;

std::unique_ptr<LocalKnot> TestKnot(int threads) {
  LocalKnotOptions options;
  options.threads = threads;
  options.max_streams = kStreams;
  auto knot = LocalKnot::Create(
      options, TestModelFolder("scheduler", TestConfig(true, TestShape::kFull)), nullptr);
  EXPECT_TRUE(knot.ok()) << knot.status();
  return *std::move(knot);
}

VerifyRequest Chain(int n, uint64_t seed) {
  const PhiloxStream rng(seed, RngPurpose::kDataShuffle, 0);
  VerifyRequest request;
  request.want_surprise = true;
  for (int i = 0; i < n; ++i) {
    VerifyNode node;
    node.parent = i - 1;
    node.token_id = static_cast<int32_t>(rng.Word(static_cast<uint64_t>(i)) % 1024);
    request.nodes.push_back(node);
  }
  request.nodes.back().want_distribution = true;
  return request;
}

// One stream and what it has heard so far.
struct Speaker {
  // Cancels the stream that speaks at the moment.
  void Cancel() {
    MutexLock lock(&mutex);
    if (stream != nullptr) stream->Cancel();
  }
  void Show(KnotStream* now) {
    MutexLock lock(&mutex);
    stream = now;
  }

  // A greedy text: a prompt, then steps, with windows of two branches in between. Ends at the first
  // error.
  absl::Status Speak(Knot* knot, uint64_t seed, int steps) {
    heard.clear();
    absl::StatusOr<std::unique_ptr<KnotStream>> opened = knot->Open("", 0, 0);
    if (!opened.ok()) return opened.status();
    Show(opened->get());
    const absl::Status status = Steps(opened->get(), seed, steps);
    Show(nullptr);
    return status;
  }

  absl::Status Steps(KnotStream* on, uint64_t seed, int steps) {
    VerifyRequest request = Chain(20 + static_cast<int>(seed * 37 % 150), seed);
    for (int i = 0; i < steps; ++i) {
      const absl::StatusOr<VerifyResult> result = on->Verify(request);
      if (!result.ok()) return result.status();
      const NodeDistribution& at = result->distributions.back();
      heard.push_back(at.raw_log_sum_exp);
      heard.insert(heard.end(), at.logits.begin(), at.logits.begin() + 3);
      EXPECT_EQ(result->surprises.size(), request.nodes.size());
      heard.insert(heard.end(), result->surprises.begin(), result->surprises.end());
      request = VerifyRequest();
      request.want_surprise = true;
      request.nodes.push_back({.parent = -1, .token_id = at.token_ids[0]});
      request.nodes[0].want_distribution = true;
      if (result->position % 16 != 3) continue;
      VerifyRequest window = request;
      window.commit_all = window.want_surprise = false;
      window.nodes.push_back({.parent = 0, .token_id = at.token_ids[1]});
      for (int n = 0; n < static_cast<int>(seed); ++n) {
        window.nodes.push_back({.parent = n, .token_id = at.token_ids[2]});
      }
      const absl::StatusOr<VerifyResult> seen = on->Verify(window);
      if (!seen.ok()) return seen.status();
      request.commit_node = 0;
      request.nodes[0].token_id = seen->distributions[0].token_ids[0];
    }
    return absl::OkStatus();
  }

  Mutex mutex;
  KnotStream* stream = nullptr;  // under the mutex
  std::vector<float> heard;
};

// The text of a stream is the same to the bit alone and among fifteen others of which some are
// cancelled at any moment, on one thread and on two.
TEST(PassScheduler, StreamsEqualThemselvesAloneWhileOthersAreCancelled) {
  const int steps = kSanitized ? 12 : 60;
  std::vector<Speaker> alone(kStreams), together(kStreams);
  const auto lone_knot = TestKnot(1);
  for (size_t s = 0; s < kStreams; ++s) {
    ASSERT_TRUE(alone[s].Speak(lone_knot.get(), s, steps).ok());
  }
  const auto knot = TestKnot(2);
  std::atomic<int> speaking{0};
  std::atomic<int> cancelled{0};
  const auto speak = [&](size_t s) {
    const bool victim = s % 5 == 4;
    do {
      const absl::Status status = together[s].Speak(knot.get(), s, steps);
      const std::vector<float>& heard = together[s].heard;
      if (!victim) {
        EXPECT_TRUE(status.ok()) << status;
        EXPECT_EQ(heard, alone[s].heard) << "stream " << s;
        continue;
      }
      cancelled += absl::IsCancelled(status);
      EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
      ASSERT_LE(heard.size(), alone[s].heard.size());
      EXPECT_TRUE(std::equal(heard.begin(), heard.end(), alone[s].heard.begin())) << "stream " << s;
    } while (victim && speaking > 3);  // as long as others than victims speak
    --speaking;
  };
  std::vector<std::thread> threads;
  speaking = kStreams;
  for (size_t s = 0; s < kStreams; ++s) threads.emplace_back(speak, s);
  const PhiloxStream rng(5, RngPurpose::kDataShuffle, 0);
  for (uint64_t i = 0; speaking > 3; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(rng.Word(2 * i) % 3000));
    together[4 + 5 * (rng.Word(2 * i + 1) % 3)].Cancel();
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(cancelled, 0);
  EXPECT_EQ(knot->Info().streams_running, 0);
}

// While a prompt of thousands of tokens runs, another stream goes on speaking.
TEST(PassScheduler, StepsGoOnBesideALongPrompt) {
  const auto knot = TestKnot(2);
  auto prompt = *knot->Open("", 0, 0);
  auto steps = *knot->Open("", 0, 0);
  const VerifyRequest step = Chain(1, 3);
  ASSERT_TRUE(steps->Verify(step).ok());
  std::atomic<bool> done{false};
  std::thread reader([&] {
    EXPECT_TRUE(prompt->Verify(Chain(kSanitized ? 500 : 4096, 9)).ok());
    done = true;
  });
  int count = 0;
  while (!done) {
    ASSERT_TRUE(steps->Verify(step).ok());
    ++count;
  }
  reader.join();
  EXPECT_GT(count, kSanitized ? 20 : 200);
}

TEST(PassScheduler, CancelAndDeadlineEndAPromptOnItsWay) {
  const auto knot = TestKnot(2);
  const VerifyRequest long_prompt = Chain(4096, 9);
  auto other = *knot->Open("", 0, 0);
  for (const bool beside : {false, true}) {
    std::atomic<bool> over{false};
    std::thread speaker([&] {
      while (beside && !over) ASSERT_TRUE(other->Verify(Chain(1, 4)).ok());
    });
    auto cancelled = *knot->Open("", 0, 0);
    std::thread canceller([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      cancelled->Cancel();
    });
    absl::Status status;
    while (status.ok()) status = cancelled->Verify(long_prompt).status();
    EXPECT_TRUE(absl::IsCancelled(status)) << status;
    canceller.join();
    auto late = *knot->Open("", Clock::Real().NowNs() + 5'000'000, 0);
    status = absl::OkStatus();
    while (status.ok()) status = late->Verify(long_prompt).status();
    EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
    EXPECT_TRUE(absl::IsDeadlineExceeded(late->Verify(Chain(1, 1)).status())) << "it stays broken";
    over = true;
    speaker.join();
  }
  EXPECT_TRUE(other->Verify(Chain(30, 4)).ok()) << "the others are not touched";
}

TEST(PassScheduler, TenThousandStepsAllocateNothing) {
  auto model = Model::Load(TestModelFolder("scheduler_alloc", TestConfig(true, TestShape::kFull)));
  ASSERT_TRUE(model.ok()) << model.status();
  PassScheduler scheduler(2);
  const auto engine = scheduler.EngineOf(*model);
  EXPECT_EQ(scheduler.EngineOf(*model), engine);
  BraidState state((*model)->shape());
  state.Reset();
  std::vector<float> hidden(static_cast<size_t>((*model)->shape().d_model));
  std::vector<float> logits(static_cast<size_t>((*model)->shape().vocab_size));
  const std::atomic<bool> never{false};
  const int wanted[] = {0};
  float surprise = 0;
  int32_t token = 1;
  const auto step = [&] {
    const Stepper::Row row = {.state = &state, .token = token};
    PassJob job;
    job.rows = {&row, 1};
    job.wanted = wanted;
    job.hidden = hidden.data();
    job.logits = logits.data();
    job.surprises = &surprise;
    ASSERT_TRUE(scheduler.Run(engine.get(), &job, {&never, 0}));
    const auto top = std::max_element(logits.begin(), logits.end());
    token = static_cast<int32_t>(top - logits.begin());
  };
  step();
  const long before = Allocations();
  for (int i = 0; i < (kSanitized ? 500 : 10000); ++i) step();
  EXPECT_EQ(Allocations() - before, 0);
  EXPECT_GT(surprise, 0.0f);
}

}  // namespace
}  // namespace chimera
