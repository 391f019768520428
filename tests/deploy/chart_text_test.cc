// The chart's files as text, against the binary: what holds without any renderer.
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <set>
#include <string>

#include "base/file.h"
#include "deploy/chart.h"
#include "e2e/cluster_process.h"
#include "model/model_testing.h"

namespace chimera {
namespace {

using nlohmann::json;

const std::string kSource = CHIMERA_SOURCE_DIR;

// The service configuration that the chart makes of values.yaml, with no training texts.
json ChartConfig() {
  json config = YamlToJson(YAML::Load(ChartFile("values.yaml")))["config"];
  config.update(json::parse(ChartFile("files/fixed.json")));
  config["trainer"]["data_root"] = "";
  return config;
}

// All templates, one after another.
std::string Templates() {
  std::string out;
  const std::string folder = kSource + "/helm/chimera/";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder + "templates")) {
    if (entry.is_regular_file()) out += ChartFile(entry.path().string().substr(folder.size()));
  }
  return out;
}

// The words of letters and hyphens that follow the mark, wherever it stands.
std::set<std::string> WordsAfter(const std::string& text, const std::string& mark) {
  std::set<std::string> out;
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) {
    const size_t begin = at + mark.size();
    size_t end = begin;
    while (end < text.size() && (std::islower(text[end]) || text[end] == '-')) ++end;
    out.insert(text.substr(begin, end - begin));
  }
  return out;
}

TEST(ChartText, AppVersionIsTheBinarys) {
  const json chart = YamlToJson(YAML::Load(ChartFile("Chart.yaml")));
  const CommandResult version = RunChimera({"--version"});
  EXPECT_EQ(version.out, "chimera " + chart["appVersion"].get<std::string>() + "\n");
}

// Every key, and every default but those that say where a pod keeps its things.
TEST(ChartText, ConfigIsTheServiceConfiguration) {
  const auto text = ReadFile(kSource + "/configs/service.json", 1 << 20);
  ASSERT_TRUE(text.ok()) << text.status();
  const std::map<std::string, json> expected = Leaves(json::parse(*text));
  const std::map<std::string, json> actual = Leaves(ChartConfig());
  const std::set<std::string> of_pods = {"allow_insecure_bind", "bind_address", "data_dir",
                                         "model_dir"};
  for (const auto& [path, value] : expected) {
    ASSERT_TRUE(actual.count(path)) << "the chart leaves out " << path;
    if (of_pods.count(path)) continue;
    EXPECT_EQ(actual.at(path), value) << path;
  }
  for (const auto& [path, value] : actual) {
    EXPECT_TRUE(expected.count(path)) << "configs/service.json has no " << path;
  }
}

TEST(ChartText, FlagsAreTheBinarys) {
  const std::string help =
      RunChimera({"serve", "--help"}).out + RunChimera({"complete", "--help"}).out;
  const std::set<std::string> flags = WordsAfter(Templates(), " - --");
  EXPECT_EQ(flags.size(), 9u);
  for (const std::string& flag : flags) {
    EXPECT_NE(help.find("  --" + flag + " "), std::string::npos) << flag;
  }
}

// The real binary starts with this configuration and answers at every path the templates name.
TEST(ChartText, PathsAreTheBinarys) {
  json config = ChartConfig();
  EXPECT_EQ(config["model_dir"], "/usr/share/chimera/models/nano");
  EXPECT_EQ(config["data_dir"], "/var/lib/chimera");
  const std::string root = TestFolder("chart_text");
  config["model_dir"] = kSource + "/models/nano";
  config["data_dir"] = root + "/state";
  ASSERT_TRUE(WriteFileAtomic(root + "/service.json", config.dump()).ok());
  const ServerProcess server(
      {"--all", "--config", root + "/service.json", "--port", "0", "--admin-port", "0"});
  ASSERT_TRUE(server.started());
  const std::set<std::string> paths = WordsAfter(Templates(), "path: /");
  EXPECT_EQ(paths.size(), 3u);
  for (const std::string& path : paths) {
    EXPECT_NE(HttpGet(server.address("admin"), "/" + path), "") << path;
  }
}

}  // namespace
}  // namespace chimera
