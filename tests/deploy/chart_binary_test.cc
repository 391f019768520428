// The strongest check: the real binary starts with the rendered configuration and the rendered
// arguments of every role, and is probed, scraped and asked as Kubernetes would. Paths are moved
// into a temporary folder, ports to free ones; everything else is as rendered.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "deploy/chart.h"
#include "e2e/cluster_process.h"
#include "model/model_testing.h"

namespace chimera {
namespace {

using nlohmann::json;

const std::string kSource = CHIMERA_SOURCE_DIR;
constexpr char kImageShare[] = "/usr/share/chimera/";  // holds models/, as the source tree does

bool IsFree(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  const bool free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return free;
}

// Below the ports the system hands out by itself, and different for processes side by side.
int NextFreePort() {
  static int next = 20000 + static_cast<int>(getpid()) % 500 * 20;
  while (!IsFree(next)) ++next;
  return next++;
}

class ChartBinaryTest : public testing::TestWithParam<const char*> {
 protected:
  void Render() {
    const auto chart = Chart::Render({"-f", kSource + "/helm/chimera/" + GetParam(), "--set",
                                      "trainer.texts.existingClaim=texts", "--set",
                                      "monitoring.serviceMonitor.enabled=true"});
    if (absl::IsUnavailable(chart.status())) GTEST_SKIP() << chart.status();
    ASSERT_TRUE(chart.ok()) << chart.status();
    chart_ = std::make_unique<Chart>(*chart);
    root_ = TestFolder("chart_binary");
  }

  // The file behind this path in the role's container, of a ConfigMap.
  std::string MountedText(const json& pod, const std::string& path) const {
    const json spec = pod["spec"];
    for (const json& mount : spec["containers"][0]["volumeMounts"]) {
      const std::string folder = mount["mountPath"].get<std::string>() + "/";
      if (path.rfind(folder, 0) != 0) continue;
      for (const json& volume : spec["volumes"]) {
        if (volume["name"] != mount["name"] || !volume.contains("configMap")) continue;
        const json map = chart_->Find("ConfigMap", volume["configMap"]["name"]);
        return map["data"].value(path.substr(folder.size()), "");
      }
    }
    return "";
  }

  // The configuration with every port and path replaced by one that this machine has.
  json OnThisMachine(const json& pod, const std::string& role, json config) {
    for (const auto& [name, port] : config["ports"].items()) {
      if (!ports_.count(port)) ports_[port] = NextFreePort();
      port = ports_[port];
    }
    const std::string model = config["model_dir"];
    EXPECT_EQ(model.rfind(kImageShare, 0), 0u) << model;
    config["model_dir"] = kSource + "/" + model.substr(sizeof(kImageShare) - 1);
    // The surface keeps nothing; the others write to a volume, or the read-only root stops them.
    EXPECT_EQ(HasMount(pod, config["data_dir"]), role != "surface") << role;
    config["data_dir"] = root_ + "/" + role;
    if (role == "trainer") {
      EXPECT_TRUE(HasMount(pod, config["trainer"]["data_root"]));
      config["trainer"]["data_root"] = root_;
    }
    return config;
  }

  static bool HasMount(const json& pod, const json& path) {
    for (const json& mount : pod["spec"]["containers"][0]["volumeMounts"]) {
      if (mount["mountPath"] == path) return true;
    }
    return false;
  }

  // An address inside the cluster, here.
  std::string Dial(const std::string& service_and_port) const {
    const Chart::Endpoint endpoint = chart_->Resolve(service_and_port);
    const auto it = ports_.find(endpoint.port);
    EXPECT_TRUE(it != ports_.end())
        << service_and_port << " leads to port " << endpoint.port << ", where no role listens";
    return it == ports_.end() ? "127.0.0.1:1" : "127.0.0.1:" + std::to_string(it->second);
  }

  void StartRole(const std::string& role) {
    const json pod = chart_->PodOf(role);
    const json container = pod["spec"]["containers"][0];
    EXPECT_FALSE(container.contains("command")) << "the image's entrypoint is the binary";
    std::vector<std::string> arguments = container["args"];
    ASSERT_EQ(arguments.front(), "serve");
    arguments.erase(arguments.begin());
    for (size_t i = 0; i + 1 < arguments.size(); ++i) {
      if (arguments[i] == "--config") {
        const json config = json::parse(MountedText(pod, arguments[i + 1]), nullptr, false);
        ASSERT_TRUE(config.is_object()) << role << ": nothing is mounted at " << arguments[i + 1];
        arguments[i + 1] = root_ + "/" + role + ".json";
        ASSERT_TRUE(
            WriteFileAtomic(arguments[i + 1], OnThisMachine(pod, role, config).dump()).ok());
      } else if (arguments[i] == "--knot" || arguments[i] == "--memory") {
        arguments[i + 1] = Dial(arguments[i + 1]);
      }
    }
    running_[role] = std::make_unique<ServerProcess>(arguments);
    ASSERT_TRUE(running_[role]->started()) << role << " did not come up";
  }

  // The role listens where its container says it does, and every probe succeeds.
  void Probe(const std::string& role) {
    const json pod = chart_->PodOf(role);
    const int grpc = ContainerPort(pod, "grpc");
    ASSERT_TRUE(ports_.count(grpc)) << role << " declares port " << grpc;
    EXPECT_EQ(running_[role]->address(role), "0.0.0.0:" + std::to_string(ports_[grpc]));
    for (const char* probe : {"startupProbe", "livenessProbe", "readinessProbe"}) {
      const json get = pod["spec"]["containers"][0][probe]["httpGet"];
      EXPECT_NE(HttpGet(Local(ContainerPort(pod, get["port"])), get["path"]), "")
          << role << " " << probe << " " << get;
    }
  }

  std::string Local(int port) const {
    return ports_.count(port) ? "127.0.0.1:" + std::to_string(ports_.at(port)) : "127.0.0.1:1";
  }

  // Every role is scraped once, through the Services that the monitor selects.
  void Scrape() {
    const json monitor = chart_->OfKind("ServiceMonitor").at(0)["spec"];
    const json endpoint = monitor["endpoints"][0];
    std::map<std::string, int> scraped;
    for (const json& service : chart_->OfKind("Service")) {
      if (!Selects(monitor["selector"], service["metadata"]["labels"])) continue;
      for (const json& port : service["spec"]["ports"]) {
        if (port["name"] != endpoint["port"]) continue;
        const std::string name = service["metadata"]["name"];
        const std::string address = name + ":" + std::to_string(port["port"].get<int>());
        EXPECT_GT(MetricValue(HttpGet(Dial(address), endpoint["path"]), "chimera_build_info"), 0)
            << address;
        ++scraped[chart_->Resolve(address).component];
      }
    }
    EXPECT_EQ(scraped, (std::map<std::string, int>{
                           {"knot", 1}, {"memory", 1}, {"surface", 1}, {"trainer", 1}}));
  }

  // The pod of helm test.
  void RunTestPod() {
    std::vector<std::string> arguments = chart_->PodOf("test")["spec"]["containers"][0]["args"];
    for (size_t i = 0; i + 1 < arguments.size(); ++i) {
      if (arguments[i] == "--target") arguments[i + 1] = Dial(arguments[i + 1]);
    }
    const CommandResult result = RunChimera(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_GT(result.out.size(), 8u) << result.out;
  }

  std::unique_ptr<Chart> chart_;
  std::string root_;
  std::map<int, int> ports_;  // of a container: the one here
  std::map<std::string, std::unique_ptr<ServerProcess>> running_;
};

TEST_P(ChartBinaryTest, TheBinaryRunsAsRendered) {
  Render();
  if (chart_ == nullptr) return;
  for (const char* role : {"knot", "surface", "memory", "trainer"}) {
    StartRole(role);
    if (HasFatalFailure()) return;
    Probe(role);
  }
  Scrape();
  RunTestPod();
  for (const char* role : {"surface", "memory", "trainer", "knot"}) {
    EXPECT_EQ(running_[role]->Stop(SIGTERM), 0) << role;
  }
}

// "values-three-nodes.yaml" is values_three_nodes.
std::string NameOf(const testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  name.resize(name.find('.'));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Files, ChartBinaryTest,
                         testing::Values("values.yaml", "values-laptop.yaml",
                                         "values-three-nodes.yaml"),
                         NameOf);

}  // namespace
}  // namespace chimera
