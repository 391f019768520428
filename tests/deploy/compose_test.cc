// deploy/compose.yaml: valid by the compose schema, confined as the image promises, and agreeing
// with the image's configuration.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "deploy/compose_file.h"

namespace chimera {
namespace {

using nlohmann::json;
using testing::Contains;
using testing::HasSubstr;

constexpr char kCompose[] = CHIMERA_SOURCE_DIR "/deploy/compose.yaml";

bool HasCompose() { return RunShell("command -v docker-compose").exit_code == 0; }

ShellResult Validate(const std::string& path) {
  return RunShell("docker-compose -f '" + path + "' config -q");
}

std::vector<std::string> Words(const json& list) {
  std::vector<std::string> words;
  for (const json& word : list) words.push_back(word.get<std::string>());
  return words;
}

// The word after this one, or "".
std::string After(const std::vector<std::string>& words, const std::string& word) {
  const auto at = std::find(words.begin(), words.end(), word);
  return at == words.end() || at + 1 == words.end() ? "" : *(at + 1);
}

class ComposeTest : public testing::Test {
 protected:
  void SetUp() override {
    file_ = ReadYaml(kCompose);
    if (file_.is_discarded()) GTEST_SKIP() << "needs python3-yaml, which docker-compose brings";
  }
  const json& Service(const std::string& name) const { return file_["services"].at(name); }
  json file_;
};

TEST(ComposeSchema, Accepts) {
  if (!HasCompose()) GTEST_SKIP() << "needs docker-compose";
  const ShellResult result = Validate(kCompose);
  EXPECT_EQ(result.exit_code, 0) << result.out;
}

TEST(ComposeSchema, RefusesBrokenFiles) {
  if (!HasCompose()) GTEST_SKIP() << "needs docker-compose";
  const std::string good = SourceText("deploy/compose.yaml");
  const std::string folder = DeployFolder("compose_broken");
  const std::pair<const char*, const char*> breaks[] = {
      {"read_only: true", "read_olny: true"},  // an unknown key
      {"cap_drop: [ALL]", "cap_drop: ALL"},    // the wrong type
      {"stop_grace_period: 30s", "stop_grace_period: 30"},
      {"  knot: {}\n", ""},                           // a volume nobody declares
      {"depends_on: [knot]", "depends_on: [knott]"},  // a service that does not exist
      {"services:\n", "servces:\n"}};
  for (const auto& [from, to] : breaks) {
    const std::string path = folder + "/compose.yaml";
    ASSERT_TRUE(WriteFileAtomic(path, Replaced(good, from, to)).ok());
    EXPECT_NE(Validate(path).exit_code, 0) << from << " -> " << to;
  }
}

TEST_F(ComposeTest, RolesAreTheImagesRoles) {
  std::set<std::string> names, images;
  for (const auto& [name, service] : file_["services"].items()) {
    if (name == "prometheus") continue;
    names.insert(name);
    images.insert(service["image"]);
  }
  EXPECT_EQ(names, std::set<std::string>(std::begin(kRoles), std::end(kRoles)));
  EXPECT_EQ(images, std::set<std::string>{"chimera:" CHIMERA_VERSION});
}

TEST_F(ComposeTest, EveryServiceIsConfined) {
  for (const auto& [name, service] : file_["services"].items()) {
    SCOPED_TRACE(name);
    EXPECT_EQ(service["read_only"], true);
    EXPECT_EQ(service["cap_drop"], json({"ALL"}));
    EXPECT_FALSE(service.contains("cap_add"));
    EXPECT_FALSE(service.value("privileged", false));
    EXPECT_EQ(service["security_opt"], json({"no-new-privileges:true"}));
    EXPECT_EQ(service["user"], name == "prometheus" ? "65534:65534" : "65532:65532");
    EXPECT_THAT(service["tmpfs"][0].get<std::string>(), HasSubstr("/tmp:"));
    EXPECT_FALSE(service["mem_limit"].get<std::string>().empty());
    EXPECT_GT(service["pids_limit"], 0);
    EXPECT_EQ(service["restart"], "unless-stopped");
    EXPECT_EQ(service["networks"], json({"chimera"}));
    EXPECT_FALSE(service.contains("network_mode"));
  }
}

TEST_F(ComposeTest, OnlyLoopbackIsPublished) {
  std::vector<std::string> published;
  for (const auto& [name, service] : file_["services"].items()) {
    for (const std::string& port : Words(service.value("ports", json::array()))) {
      published.push_back(name + " " + port);
    }
  }
  EXPECT_THAT(published, testing::UnorderedElementsAre("surface 127.0.0.1:7400:7400",
                                                       "prometheus 127.0.0.1:9090:9090"));
}

TEST_F(ComposeTest, StateIsInNamedVolumes) {
  for (const char* role : kRoles) {
    const std::vector<std::string> volumes = Words(Service(role)["volumes"]);
    EXPECT_THAT(volumes, Contains(std::string(role) + ":" + ContainerConfig().data_dir));
    EXPECT_TRUE(file_["volumes"].contains(role)) << role;
    for (const std::string& volume : volumes) {
      EXPECT_THAT(volume, testing::Not(HasSubstr("docker.sock"))) << role;
    }
  }
  EXPECT_THAT(Words(Service("trainer")["volumes"]),
              Contains(testing::EndsWith(":" + ContainerConfig().trainer.data_root + ":ro")));
}

TEST_F(ComposeTest, StopsLaterThanTheDrain) {
  for (const char* role : kRoles) {
    const std::string grace = Service(role)["stop_grace_period"];
    ASSERT_EQ(grace.back(), 's');
    EXPECT_GT(std::stoi(grace) * 1000, ContainerConfig().drain_timeout_ms) << role;
  }
}

TEST_F(ComposeTest, CommandsAgreeWithTheConfiguration) {
  const ServiceConfig config = ContainerConfig();
  const std::string knot = "knot:" + std::to_string(config.ports.knot);
  for (const std::string role : kRoles) {
    const std::vector<std::string> command = Words(Service(role)["command"]);
    EXPECT_EQ(command.front(), "serve");
    EXPECT_EQ(After(command, "--role"), role);
    EXPECT_EQ(After(command, "--config"), "/etc/chimera/service.json");
    const bool needs_knot = role == "surface" || role == "trainer";
    EXPECT_EQ(After(command, "--knot"), needs_knot ? knot : "") << role;
    const std::string memory = "memory:" + std::to_string(config.ports.memory);
    EXPECT_EQ(After(command, "--memory"), role == "surface" ? memory : "") << role;
  }
}

TEST_F(ComposeTest, PrometheusScrapesEveryAdminPort) {
  const json scrape = ReadYaml(std::string(CHIMERA_SOURCE_DIR) +
                               "/deploy/prometheus/prometheus.yml")["scrape_configs"][0];
  std::vector<std::string> targets, wanted;
  for (const json& group : scrape["static_configs"]) {
    EXPECT_EQ(group["targets"].size(), 1u);
    targets.push_back(group["labels"]["role"].get<std::string>() + " " +
                      group["targets"][0].get<std::string>());
  }
  for (const std::string role : kRoles) {
    wanted.push_back(role + " " + role + ":" +
                     std::to_string(AdminPortOf(ContainerConfig(), role)));
  }
  EXPECT_THAT(targets, testing::UnorderedElementsAreArray(wanted));
  EXPECT_THAT(Words(Service("prometheus")["volumes"]),
              Contains("./prometheus/prometheus.yml:/etc/prometheus/prometheus.yml:ro"));
}

}  // namespace
}  // namespace chimera
