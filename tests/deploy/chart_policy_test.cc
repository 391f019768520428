// What the rendered chart promises beyond starting: who reaches whom, and time to end.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "deploy/chart.h"

namespace chimera {
namespace {

using nlohmann::json;

TEST(ChartPolicy, OnlyTheEdgesOfTheArchitectureAreOpen) {
  const auto chart = Chart::Render({});
  if (!chart.ok()) GTEST_SKIP() << chart.status();
  json pods;
  for (const char* name : {"knot", "surface", "memory", "trainer", "test"}) {
    pods[name] = chart->PodOf(name)["metadata"]["labels"];
  }
  pods["stranger"] = json::object({{"app", "stranger"}});
  pods["other release"] = pods["surface"];
  pods["other release"]["app.kubernetes.io/instance"] = "other";
  for (const char* name : {"surface", "memory", "trainer"}) {
    const std::string role = name;
    pods[role + " client"]["release-name-chimera-" + role + "-client"] = "true";
  }
  const std::set<std::tuple<std::string, std::string, std::string>> edges = {
      {"surface", "knot", "grpc"},         {"trainer", "knot", "grpc"},
      {"test", "surface", "grpc"},         {"surface client", "surface", "grpc"},
      {"memory client", "memory", "grpc"}, {"trainer client", "trainer", "grpc"}};
  for (const auto& [from, from_labels] : pods.items()) {
    for (const char* to : {"knot", "surface", "memory", "trainer"}) {
      for (const char* name : {"grpc", "admin"}) {
        const int port = ContainerPort(chart->PodOf(to), name);
        EXPECT_EQ(chart->Admits(from_labels, pods[to], port), edges.count({from, to, name}) > 0)
            << from << " to " << to << " " << name;
      }
    }
  }
}

// The admin ports let the release's own pods in, should one of them ever be allowed to ask.
TEST(ChartPolicy, AdminPortsAdmitTheReleaseAndTheMonitoringNamespace) {
  const auto chart =
      Chart::Render({"--set", "monitoring.namespaceSelector.matchLabels.team=watch"});
  if (!chart.ok()) GTEST_SKIP() << chart.status();
  for (const char* role : {"knot", "surface", "memory", "trainer"}) {
    const json policy =
        chart->Find("NetworkPolicy", "release-name-chimera-to-" + std::string(role));
    const json rule = policy["spec"]["ingress"].back();
    EXPECT_EQ(rule["ports"][0]["port"], ContainerPort(chart->PodOf(role), "admin")) << role;
    ASSERT_EQ(rule["from"].size(), 2u);
    EXPECT_TRUE(
        Selects(rule["from"][0]["podSelector"], chart->PodOf("test")["metadata"]["labels"]));
    EXPECT_EQ(rule["from"][1]["namespaceSelector"]["matchLabels"]["team"], "watch");
  }
}

// Kubernetes kills after the grace period; sleep and drain must fit, with time left to write.
TEST(ChartPolicy, GraceIsLongerThanSleepAndDrain) {
  const auto chart = Chart::Render({"--set", "config.drain_timeout_ms=90500"});
  if (!chart.ok()) GTEST_SKIP() << chart.status();
  for (const char* role : {"knot", "surface", "memory", "trainer"}) {
    const json spec = chart->PodOf(role)["spec"];
    const int sleep = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"];
    EXPECT_GT(spec["terminationGracePeriodSeconds"].get<int>(), 91 + sleep) << role;
  }
}

// A changed setting is a new pod.
TEST(ChartPolicy, PodsFollowTheConfiguration) {
  const auto before = Chart::Render({});
  if (!before.ok()) GTEST_SKIP() << before.status();
  const auto after = Chart::Render({"--set", "config.max_new_tokens=17"});
  ASSERT_TRUE(after.ok()) << after.status();
  for (const char* role : {"knot", "surface", "memory", "trainer"}) {
    EXPECT_NE(before->PodOf(role)["metadata"]["annotations"],
              after->PodOf(role)["metadata"]["annotations"])
        << role;
  }
}

}  // namespace
}  // namespace chimera
