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

class ChartPolicy : public testing::Test {
 protected:
  void SetUp() override {
    const auto chart = Chart::Render({});
    if (absl::IsUnavailable(chart.status())) GTEST_SKIP() << chart.status();
  }
  static Chart Rendered(const std::vector<std::string>& arguments) {
    const auto chart = Chart::Render(arguments);
    EXPECT_TRUE(chart.ok()) << chart.status();
    return chart.ok() ? *chart : Chart();
  }
};

TEST_F(ChartPolicy, OnlyTheEdgesOfTheArchitectureAreOpen) {
  const Chart chart = Rendered({});
  json pods;
  for (const char* name : {"knot", "surface", "memory", "trainer", "test"}) {
    pods[name] = chart.PodOf(name)["metadata"]["labels"];
  }
  pods["stranger"] = json::object({{"app", "stranger"}});
  pods["other release"] = pods["surface"];
  pods["other release"]["app.kubernetes.io/instance"] = "other";
  for (const char* name : {"surface", "memory", "trainer"}) {
    const std::string role = name;
    pods[role + " client"]["release-name-chimera-" + role + "-client"] = "true";
  }
  const std::set<std::tuple<std::string, std::string, std::string>> edges = {
      {"surface", "knot", "grpc"},           {"trainer", "knot", "grpc"},
      {"surface", "memory", "grpc"},         {"test", "surface", "grpc"},
      {"surface client", "surface", "grpc"}, {"memory client", "memory", "grpc"},
      {"trainer client", "trainer", "grpc"}};
  for (const auto& [from, from_labels] : pods.items()) {
    for (const char* to : {"knot", "surface", "memory", "trainer"}) {
      for (const char* name : {"grpc", "admin"}) {
        const int port = ContainerPort(chart.PodOf(to), name);
        EXPECT_EQ(chart.Admits(from_labels, pods[to], port), edges.count({from, to, name}) > 0)
            << from << " to " << to << " " << name;
      }
    }
  }
}

// The admin ports let the release's own pods in, should one of them ever be allowed to ask.
TEST_F(ChartPolicy, AdminPortsAdmitTheReleaseAndTheMonitoringNamespace) {
  const Chart chart = Rendered({"--set", "monitoring.namespaceSelector.matchLabels.team=watch"});
  for (const char* role : {"knot", "surface", "memory", "trainer"}) {
    const json policy = chart.Find("NetworkPolicy", "release-name-chimera-to-" + std::string(role));
    const json rule = policy["spec"]["ingress"].back();
    EXPECT_EQ(rule["ports"][0]["port"], ContainerPort(chart.PodOf(role), "admin")) << role;
    ASSERT_EQ(rule["from"].size(), 2u);
    EXPECT_TRUE(Selects(rule["from"][0]["podSelector"], chart.PodOf("test")["metadata"]["labels"]));
    EXPECT_EQ(rule["from"][1]["namespaceSelector"]["matchLabels"]["team"], "watch");
  }
}

// Kubernetes kills after the grace period; sleep and drain must fit, with time left to write.
TEST_F(ChartPolicy, GraceIsLongerThanSleepAndDrain) {
  const Chart chart = Rendered({"--set", "config.drain_timeout_ms=90500"});
  for (const char* role : {"knot", "surface", "memory", "trainer"}) {
    const json spec = chart.PodOf(role)["spec"];
    const int sleep = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"];
    EXPECT_GT(spec["terminationGracePeriodSeconds"].get<int>(), 91 + sleep) << role;
  }
}

// On three nodes each of the three with work or state of its own keeps the other two away.
TEST_F(ChartPolicy, ThreeNodesSeparateKnotMemoryAndTrainer) {
  const Chart chart =
      Rendered({"-f", std::string(CHIMERA_SOURCE_DIR) + "/helm/chimera/values-three-nodes.yaml"});
  const std::vector<std::string> roles = {"knot", "memory", "trainer"};
  for (const std::string& role : roles) {
    const json terms = chart.PodOf(role)["spec"]["affinity"]["podAntiAffinity"]
                                        ["requiredDuringSchedulingIgnoredDuringExecution"];
    ASSERT_EQ(terms.size(), 1u) << role;
    EXPECT_EQ(terms[0]["topologyKey"], "kubernetes.io/hostname");
    for (const std::string& other : roles) {
      EXPECT_EQ(Selects(terms[0]["labelSelector"], chart.PodOf(other)["metadata"]["labels"]),
                other != role)
          << role << " and " << other;
    }
  }
  const json surface = chart.PodOf("surface");
  EXPECT_TRUE(Selects(surface["spec"]["topologySpreadConstraints"][0]["labelSelector"],
                      surface["metadata"]["labels"]));
}

// A changed setting is a new pod.
TEST_F(ChartPolicy, PodsFollowTheConfiguration) {
  const Chart before = Rendered({});
  const Chart after = Rendered({"--set", "config.max_new_tokens=17"});
  for (const char* role : {"knot", "surface", "memory", "trainer"}) {
    EXPECT_NE(before.PodOf(role)["metadata"]["annotations"],
              after.PodOf(role)["metadata"]["annotations"])
        << role;
  }
}

}  // namespace
}  // namespace chimera
