// A real Prometheus with the shipped scrape configuration, against four real processes started with
// the compose file's commands. Only what names another machine is rewritten.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <thread>

#include "base/file.h"
#include "deploy/compose_file.h"
#include "e2e/cluster_process.h"

namespace chimera {
namespace {

using nlohmann::json;

constexpr char kScrapeConfig[] = "deploy/prometheus/prometheus.yml";
constexpr int kTokens = 24;

// Free when asked; another process may take it first, hence the retries in Prometheus::Start.
int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(fd);
  return bound ? ntohs(address.sin_port) : 0;
}

bool Eventually(const std::function<bool()>& holds, int seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (std::chrono::steady_clock::now() < end) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return false;
}

// A running Prometheus; killed with the object, and with the test.
class Prometheus {
 public:
  // `config` is a function of its own address.
  Prometheus(const std::string& folder, const std::function<std::string(std::string)>& config)
      : folder_(folder) {
    for (int i = 0; i < 3 && !running_; ++i) Start(config);
  }
  ~Prometheus() { Stop(); }
  Prometheus(const Prometheus&) = delete;
  Prometheus& operator=(const Prometheus&) = delete;

  bool running() const { return running_; }
  const std::string& address() const { return address_; }

  void Reload(const std::string& config) {
    ASSERT_TRUE(WriteFileAtomic(folder_ + "/prometheus.yml", config).ok());
    kill(pid_, SIGHUP);
  }

  // Value of an instant vector by its label "role".
  std::map<std::string, double> Query(const std::string& query) const {
    std::map<std::string, double> values;
    const json answer =
        json::parse(HttpGet(address_, "/api/v1/query?query=" + query), nullptr, false);
    if (!answer.is_object() || answer["status"] != "success") return values;
    for (const json& sample : answer["data"]["result"]) {
      values[sample["metric"].value("role", "")] = std::stod(sample["value"][1].get<std::string>());
    }
    return values;
  }

 private:
  void Start(const std::function<std::string(std::string)>& config) {
    Stop();
    address_ = "127.0.0.1:" + std::to_string(FreePort());
    const std::string file = folder_ + "/prometheus.yml";
    ASSERT_TRUE(WriteFileAtomic(file, config(address_)).ok());
    const std::string flags[] = {"--config.file=" + file,
                                 "--storage.tsdb.path=" + folder_ + "/tsdb",
                                 "--web.listen-address=" + address_};
    const std::string log = folder_ + "/prometheus.log";
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int out = open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0644);
      dup2(out, 1);
      dup2(out, 2);
      execlp("prometheus", "prometheus", flags[0].c_str(), flags[1].c_str(), flags[2].c_str(),
             nullptr);
      _exit(127);
    }
    running_ = Eventually([this] { return HttpGet(address_, "/-/ready") != ""; }, 10);
  }

  void Stop() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    pid_ = -1;
    running_ = false;
  }

  const std::string folder_;
  std::string address_;
  pid_t pid_ = -1;
  bool running_ = false;
};

// The compose file's services as processes of this machine.
class ComposeProcesses {
 public:
  ComposeProcesses(const json& services, const std::string& folder) {
    for (const std::string role : kRoles) {
      Start(role, services.at(role)["command"], folder + "/" + role);
    }
  }
  bool all() const {
    for (const auto& [role, process] : processes_) {
      if (!process->started()) return false;
    }
    return true;
  }
  const std::string& address(const std::string& role, const std::string& listener) const {
    return processes_.at(role)->address(listener);
  }

 private:
  void Start(const std::string& role, const json& command, const std::string& folder) {
    const ServiceConfig config = ContainerConfig();
    std::map<std::string, std::string> here = {
        {"/etc/chimera/service.json", std::string(CHIMERA_SOURCE_DIR) + "/docker/service.json"}};
    const auto knot = processes_.find("knot");
    if (knot != processes_.end() && knot->second->started()) {
      here["knot:" + std::to_string(config.ports.knot)] = knot->second->address("knot");
    }
    std::vector<std::string> arguments;
    for (size_t i = 1; i < command.size(); ++i) {  // ServerProcess says "serve"
      const std::string word = command[i];
      arguments.push_back(here.count(word) > 0 ? here[word] : word);
    }
    std::filesystem::create_directories(folder);
    const json overlay = {{"bind_address", "127.0.0.1"},
                          {"allow_insecure_bind", false},
                          {"model_dir", std::string(CHIMERA_SOURCE_DIR) + "/models/nano"},
                          {"data_dir", folder}};
    ASSERT_TRUE(WriteFileAtomic(folder + "/overlay.json", overlay.dump()).ok());
    arguments.insert(arguments.end(),
                     {"--overlay", folder + "/overlay.json", "--port", "0", "--admin-port", "0"});
    processes_[role] = std::make_unique<ServerProcess>(arguments);
  }

  std::map<std::string, std::unique_ptr<ServerProcess>> processes_;
};

std::map<std::string, double> AllRoles(double value) {
  std::map<std::string, double> all;
  for (const char* role : kRoles) all[role] = value;
  return all;
}

TEST(PrometheusConfig, PromtoolAcceptsItAndRefusesABrokenOne) {
  if (RunShell("command -v promtool").exit_code != 0) GTEST_SKIP() << "needs promtool";
  const std::string good = SourceText(kScrapeConfig);
  const std::string file = DeployFolder("promtool") + "/prometheus.yml";
  auto check = [&](const std::string& text) {
    EXPECT_TRUE(WriteFileAtomic(file, text).ok());
    return RunShell("promtool check config '" + file + "'");
  };
  const ShellResult result = check(good);
  EXPECT_EQ(result.exit_code, 0) << result.out;
  EXPECT_NE(check(Replaced(good, "metrics_path", "metric_path")).exit_code, 0);
  EXPECT_NE(check(Replaced(good, "scrape_timeout: 5s", "scrape_timeout: 5m")).exit_code, 0);
}

TEST(Prometheus, SeesEveryRoleOfTheComposeFile) {
  if (RunShell("command -v prometheus").exit_code != 0) GTEST_SKIP() << "needs prometheus";
  const json compose = ReadYaml(std::string(CHIMERA_SOURCE_DIR) + "/deploy/compose.yaml");
  if (compose.is_discarded()) GTEST_SKIP() << "needs python3-yaml, which docker-compose brings";
  const std::string folder = DeployFolder("prometheus");
  const ComposeProcesses cluster(compose["services"], folder);
  ASSERT_TRUE(cluster.all());

  auto config = [&](const std::string& own_address) {
    std::string text = SourceText(kScrapeConfig);
    for (const std::string role : kRoles) {
      const std::string port = std::to_string(AdminPortOf(ContainerConfig(), role));
      text = Replaced(text, role + ":" + port, cluster.address(role, "admin"));
    }
    text = Replaced(text, "127.0.0.1:9090", own_address);
    text = Replaced(text, "scrape_timeout: 5s", "scrape_timeout: 1s");
    return Replaced(text, "scrape_interval: 15s", "scrape_interval: 1s");
  };
  Prometheus prometheus(folder, config);
  ASSERT_TRUE(prometheus.running()) << RunShell("tail -n 20 " + folder + "/prometheus.log").out;

  const std::string up = "up%7Bjob%3D%22chimera%22%7D";  // up{job="chimera"}
  EXPECT_TRUE(Eventually([&] { return prometheus.Query(up) == AllRoles(1); }, 15))
      << HttpGet(prometheus.address(), "/api/v1/targets");

  const CommandResult completion = RunChimera(
      {"complete", "--target", cluster.address("surface", "surface"), "--prompt", "The old king",
       "--seed", "7", "--max-tokens", std::to_string(kTokens), "--json"});
  ASSERT_EQ(completion.exit_code, 0) << completion.err;
  const double tokens = json::parse(completion.out)["token_ids"].size();
  EXPECT_GT(tokens, 0);
  const std::string counted = "sum%20by%20%28role%29%28chimera_surface_tokens_total%29";
  std::map<std::string, double> wanted = AllRoles(0);
  wanted["surface"] = tokens;
  EXPECT_TRUE(Eventually([&] { return prometheus.Query(counted) == wanted; }, 15))
      << HttpGet(prometheus.address(), "/api/v1/query?query=chimera_surface_tokens_total");

  // The check above can fail: with another path no role is up.
  prometheus.Reload(
      Replaced(config(prometheus.address()), "metrics_path: /metrics", "metrics_path: /metricz"));
  EXPECT_TRUE(Eventually([&] { return prometheus.Query(up) == AllRoles(0); }, 15))
      << HttpGet(prometheus.address(), "/api/v1/targets");
}

}  // namespace
}  // namespace chimera
