#include "cluster/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

namespace chimera {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Metrics, CountsFromManyThreads) {
  Metrics metrics;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) metrics.Count("chimera_surface_tokens_total", "fast", 1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(metrics.Text(), HasSubstr("chimera_surface_tokens_total{mode=\"fast\"} 4000\n"));
}

TEST(Metrics, UnknownNamesLabelsAndValuesChangeNothing) {
  Metrics metrics;
  const auto lines = [&] {
    const std::string text = metrics.Text();
    return std::count(text.begin(), text.end(), '\n');
  };
  const auto before = lines();
  metrics.Count("no_such_total", "", 1);
  metrics.Count("chimera_surface_tokens_total", "user-4711", 1);
  metrics.Count("chimera_surface_tokens_total", "fast", -5);
  metrics.Count("chimera_surface_tokens_total", "fast", std::nan(""));
  metrics.Observe("chimera_loop_depth", "", std::nan(""));
  metrics.CountRequest("OK", "user-4711");
  EXPECT_EQ(lines(), before);
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("4711")));
  EXPECT_THAT(metrics.Text(), HasSubstr("chimera_surface_tokens_total{mode=\"fast\"} 0\n"));
}

TEST(Metrics, DeclaredSeriesAppear) {
  Metrics metrics;
  MetricSpec spec{"chimera_test_seconds", "A test.", MetricType::kHistogram, "", {}, {1, 2}};
  ASSERT_TRUE(metrics.Declare(spec).ok());
  EXPECT_FALSE(metrics.Declare(spec).ok());
  spec.name = "chimera_other_seconds";
  spec.buckets = {2, 1};
  EXPECT_FALSE(metrics.Declare(spec).ok());
  spec.buckets = {};
  EXPECT_FALSE(metrics.Declare(spec).ok());
  metrics.Observe("chimera_test_seconds", "", 1.5);
  metrics.OnScrape([](MetricsSink* sink) { sink->Gauge("chimera_requests_waiting", "", 3); });
  EXPECT_THAT(metrics.Text(), HasSubstr("chimera_test_seconds_bucket{le=\"2\"} 1\n"));
  EXPECT_THAT(metrics.Text(), HasSubstr("chimera_requests_waiting 3\n"));
}

}  // namespace
}  // namespace chimera
