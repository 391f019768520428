// The same tests in both layouts, over real sockets: one process with every role, and four
// processes.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>

#include "base/file.h"
#include "e2e/cluster_process.h"
#include "model/model_testing.h"
#include "nlohmann/json.hpp"

namespace chimera {
namespace {

using nlohmann::json;

// A running cluster in one of the layouts.
class Cluster {
 public:
  Cluster(bool one_process, const std::string& model, const std::string& data, int threads) {
    const std::string n = std::to_string(threads);
    if (one_process) {
      Start({"--all", "--model", model, "--data", data, "--port", "0", "--admin-port", "0",
             "--threads", n});
      return;
    }
    Start({"--role", "knot", "--model", model, "--data", data + "/knot", "--port", "0",
           "--admin-port", "0", "--threads", n});
    const std::string knot = Address("knot");
    for (const char* role : {"surface", "memory", "trainer"}) {
      Start({"--role", role, "--model", model, "--data", data + "/" + role, "--knot", knot,
             "--port", "0", "--admin-port", "0"});
    }
  }

  std::string Address(const std::string& role) const {
    for (const auto& process : processes_) {
      if (process->started() && process->has(role)) return process->address(role);
    }
    return "";
  }
  std::vector<std::string> AdminAddresses() const {
    std::vector<std::string> out;
    for (const auto& process : processes_) out.push_back(process->address("admin"));
    return out;
  }
  int Stop(int signal) {
    int worst = 0;
    for (auto it = processes_.rbegin(); it != processes_.rend(); ++it) {
      worst = std::max(worst, (*it)->Stop(signal));
    }
    return worst;
  }

 private:
  void Start(const std::vector<std::string>& arguments) {
    processes_.push_back(std::make_unique<ServerProcess>(arguments));
    ASSERT_TRUE(processes_.back()->started()) << "chimera serve did not come up";
  }
  std::vector<std::unique_ptr<ServerProcess>> processes_;
};

class LayoutTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    const std::string name = GetParam() ? "one" : "four";
    root_ = TestFolder("e2e_" + name);
    model_ = TestModelFolder("e2e_" + name, true);
    cluster_ = std::make_unique<Cluster>(GetParam(), model_, root_, 2);
  }

  std::vector<std::string> CompleteArguments(int seed, int tokens) const {
    return {"complete",
            "--target",
            cluster_->Address("surface"),
            "--prompt",
            "The old king",
            "--seed",
            std::to_string(seed),
            "--max-tokens",
            std::to_string(tokens),
            "--json"};
  }
  json Complete(int seed, int tokens = 24) const {
    const CommandResult result = RunChimera(CompleteArguments(seed, tokens));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out, nullptr, false);
  }

  std::string root_, model_;
  std::unique_ptr<Cluster> cluster_;
};

// One seed, one text: over this layout's sockets, in process, with other streams beside it.
TEST_P(LayoutTest, SameSeedSameText) {
  const json first = Complete(7);
  ASSERT_TRUE(first.is_object());
  EXPECT_EQ(first["token_ids"].size(), 24u);
  EXPECT_EQ(first["finish_reason"], "max_tokens");
  const CommandResult embedded =
      RunChimera({"complete", "--model", model_, "--prompt", "The old king", "--seed", "7",
                  "--max-tokens", "24", "--json"});
  ASSERT_EQ(embedded.exit_code, 0) << embedded.err;
  EXPECT_EQ(json::parse(embedded.out)["token_ids"], first["token_ids"]);
  std::vector<std::thread> others;
  for (int seed = 100; seed < 103; ++seed) {
    others.emplace_back([this, seed] { RunChimera(CompleteArguments(seed, 60)); });
  }
  EXPECT_EQ(Complete(7)["token_ids"], first["token_ids"]);
  for (std::thread& other : others) other.join();
  EXPECT_NE(Complete(8)["token_ids"], first["token_ids"]);
}

TEST_P(LayoutTest, ProbesAndMetricsAnswer) {
  Complete(1);
  std::string all;
  for (const std::string& admin : cluster_->AdminAddresses()) {
    EXPECT_NE(HttpGet(admin, "/healthz"), "") << admin;
    EXPECT_NE(HttpGet(admin, "/readyz"), "") << admin;
    const std::string metrics = HttpGet(admin, "/metrics");
    EXPECT_NE(metrics, "");
    if (std::system("command -v promtool > /dev/null") == 0) {
      const std::string file = root_ + "/scrape";
      ASSERT_TRUE(WriteFileAtomic(file, metrics).ok());
      EXPECT_EQ(std::system(("promtool check metrics < " + file).c_str()), 0) << metrics;
    }
    all += metrics;
  }
  for (const char* name :
       {"chimera_surface_tokens_total", "chimera_knots_total", "chimera_loop_depth_count",
        "chimera_memory_bytes", "chimera_requests_total", "chimera_request_duration_seconds_count",
        "chimera_time_to_first_token_seconds_count", "chimera_build_info",
        "process_resident_memory_bytes", "chimera_gate_value_ratio_count"}) {
    EXPECT_GT(MetricValue(all, name), 0) << name;
  }
}

TEST_P(LayoutTest, MemoryRemembersRecallsAndForgets) {
  const std::string target = cluster_->Address("memory");
  auto memory = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "memory");
    arguments.insert(arguments.end(), {"--target", target, "--json"});
    return RunChimera(arguments);
  };
  ASSERT_EQ(memory({"put", "--user", "ann", "Ann keeps bees in the north garden."}).exit_code, 0);
  ASSERT_EQ(memory({"put", "--user", "bob", "Bob plays the cello."}).exit_code, 0);
  const CommandResult recall = memory({"recall", "--user", "ann", "who keeps bees"});
  ASSERT_EQ(recall.exit_code, 0) << recall.err;
  EXPECT_NE(recall.out.find("north garden"), std::string::npos) << recall.out;
  EXPECT_EQ(recall.out.find("cello"), std::string::npos) << "another user's fact";
  ASSERT_EQ(memory({"forget", "--user", "ann", "--all"}).exit_code, 0);
  EXPECT_EQ(memory({"recall", "--user", "ann", "bees"}).out.find("garden"), std::string::npos);
}

// A job trains from a folder and its model serves without a restart.
TEST_P(LayoutTest, TrainedModelIsServedWithoutRestart) {
  const std::string before = Complete(3)["model_id"];
  ASSERT_TRUE(MakeDirs(root_ + "/texts").ok());
  std::string text;
  for (int i = 0; i < 400; ++i) text += "The old king sat by the sea and counted his ships.\n";
  ASSERT_TRUE(WriteFileAtomic(root_ + "/texts/king.txt", text).ok());
  const CommandResult job =
      RunChimera({"train", "submit", "--data", root_ + "/texts", "--recipe",
                  std::string(CHIMERA_SOURCE_DIR) + "/configs/recipes/smoke.json", "--name", "king",
                  "--watch", "--target", cluster_->Address("trainer")});
  ASSERT_EQ(job.exit_code, 0) << job.out << job.err;
  const json after = Complete(3);
  EXPECT_NE(after["model_id"], before);
  EXPECT_NE(after["text"].get<std::string>().find("the sea"), std::string::npos) << after;
}

// A client that is killed mid-stream leaves no stream behind.
TEST_P(LayoutTest, VanishedClientFreesItsSlot) {
  const pid_t client = StartChimera(CompleteArguments(5, 4000));
  auto running = [this] {
    double most = 0;
    for (const std::string& admin : cluster_->AdminAddresses()) {
      most = std::max(most, MetricValue(HttpGet(admin, "/metrics"), "chimera_requests_running"));
    }
    return most;
  };
  bool seen = false;
  for (int i = 0; i < 200 && !seen; ++i) {
    seen = running() > 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(seen);
  kill(client, SIGKILL);
  waitpid(client, nullptr, 0);
  double left = 1;
  for (int i = 0; i < 200 && left > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    left = running();
  }
  EXPECT_EQ(left, 0);
}

TEST_P(LayoutTest, SignalDrainsAndExitsCleanly) {
  Complete(2);
  EXPECT_EQ(cluster_->Stop(SIGTERM), 0);
}

INSTANTIATE_TEST_SUITE_P(Layouts, LayoutTest, testing::Values(true, false), [](const auto& info) {
  return info.param ? "OneProcess" : "FourProcesses";
});

// A service that is not up yet, a broken model, a bad request: one sentence and a non-zero exit.
TEST(Errors, OneSentenceAndNonZeroExit) {
  const std::string model = TestModelFolder("e2e_errors", true);
  const std::string weights = model + "/weights.b158";
  std::string bytes = *ReadFile(weights, 64 << 20);
  bytes[bytes.size() / 2] ^= 1;
  const std::string broken = TestModelFolder("e2e_broken", true);
  ASSERT_TRUE(WriteFileAtomic(broken + "/weights.b158", bytes).ok());
  // A server reads all of the weights after it has begun to serve (services/knot_info_test.cc); of
  // the wrong size it does not begin.
  const std::string shorter = TestModelFolder("e2e_shorter", true);
  ASSERT_TRUE(WriteFileAtomic(shorter + "/weights.b158", bytes.substr(0, bytes.size() - 64)).ok());
  const std::vector<std::vector<std::string>> commands = {
      {"complete", "--target", "127.0.0.1:1", "--prompt", "x", "--timeout", "1"},
      {"complete", "--model", model + "_absent", "--prompt", "x"},
      {"complete", "--model", broken, "--prompt", "x"},
      {"complete", "--model", model, "--prompt", ""},
      {"complete", "--model", model, "--prompt", "\xff\xfe"},
      {"complete", "--model", model, "--prompt", "x", "--temperature", "nan"},
      {"complete", "--model", model, "--prompt", "x", "--top-p", "0"},
      {"complete", "--model", model, "--prompt", "x", "--max-tokens", "-4"},
      {"serve", "--all", "--model", shorter, "--port", "0", "--admin-port", "0"},
      {"eval", "--model", broken, "--text", weights},
      {"eval", "--model", model, "--text", model + "/nothing.txt"},
      {"model", "inspect", "--config", model + "/nothing.json"}};
  for (const auto& command : commands) {
    const CommandResult result = RunChimera(command);
    std::string line;
    for (const std::string& word : command) line += word + " ";
    EXPECT_GE(result.exit_code, 1) << line;
    EXPECT_LT(result.exit_code, 126) << line << " crashed: " << result.err;
    EXPECT_NE(result.err, "") << line;
    EXPECT_LE(std::count(result.err.begin(), result.err.end(), '\n'), 3) << line << result.err;
  }
  const CommandResult huge =
      RunChimera({"complete", "--model", model, "--prompt", "-"}, std::string(10 << 20, 'a'));
  EXPECT_GE(huge.exit_code, 1);
  EXPECT_NE(huge.err.find("1048576"), std::string::npos) << huge.err;
}

}  // namespace
}  // namespace chimera
