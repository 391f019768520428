#include "cluster/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/clock.h"

namespace chimera {
namespace {

// Holds tasks until it is opened.
class Door {
 public:
  void Open() {
    MutexLock lock(&mutex_);
    open_ = true;
    wake_.NotifyAll();
  }
  void Pass() {
    MutexLock lock(&mutex_);
    while (!open_) wake_.Wait(&mutex_);
  }

 private:
  Mutex mutex_;
  CondVar wake_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
};

void WaitFor(const std::function<bool()>& condition) {
  const int64_t until = Clock::Real().NowNs() + int64_t{5} * 1000000000;
  while (!condition() && Clock::Real().NowNs() < until) std::this_thread::yield();
  EXPECT_TRUE(condition());
}

TEST(Executor, QueueIsBoundedAndPlacesComeBack) {
  Executor executor("test", 1, 2);
  Door door;
  std::atomic<int> ran{0};
  ASSERT_TRUE(executor.Post([&] { door.Pass(); }).ok());
  WaitFor([&] { return executor.running() == 1; });
  const auto first = executor.Post([&] { ++ran; });
  const auto second = executor.Post([&] { ran += 10; });
  ASSERT_TRUE(first.ok() && second.ok());
  const auto refused = executor.Post([] {});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(refused.status().message(),
            "test queue is full: 1 running and 2 waiting; try again later");
  EXPECT_TRUE(executor.Remove(*first));
  EXPECT_FALSE(executor.Remove(*first));
  EXPECT_TRUE(executor.Post([&] { ran += 100; }).ok());
  door.Open();
  executor.Stop();
  EXPECT_EQ(ran, 110);
  EXPECT_EQ(executor.Post([] {}).status().code(), absl::StatusCode::kUnavailable);
}

TEST(Executor, FirstComeFirstServed) {
  std::vector<int> order;
  Door door;
  Executor executor("test", 1, 100);
  ASSERT_TRUE(executor.Post([&] { door.Pass(); }).ok());
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(executor.Post([&order, i] { order.push_back(i); }).ok());
  door.Open();
  executor.Stop();
  ASSERT_EQ(order.size(), 50u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(Ticker, TicksAndStops) {
  std::atomic<int> ticks{0};
  {
    const Ticker ticker(1, [&] { ++ticks; });
    WaitFor([&] { return ticks >= 3; });
  }
  const int after = ticks;
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(ticks, after);
}

}  // namespace
}  // namespace chimera
