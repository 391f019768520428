// docker/Dockerfile without an engine: it copies what exists, what it copies suffices to build, and
// its last stage agrees with the root tree and the configuration in it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "deploy/compose_file.h"

namespace chimera {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;

struct Instruction {
  std::string name;
  std::string text;
  std::vector<std::string> words;
};
using Stage = std::vector<Instruction>;

// The stages of the Dockerfile: each starts with its FROM; what comes before the first is left out.
std::vector<Stage> Stages() {
  std::vector<Stage> stages;
  std::istringstream lines(SourceText("docker/Dockerfile"));
  std::string line, joined;
  while (std::getline(lines, line)) {
    if (line.empty() || line.front() == '#') continue;
    const bool goes_on = line.back() == '\\';
    joined += goes_on ? line.substr(0, line.size() - 1) : line;
    if (goes_on) continue;
    Instruction instruction;
    std::istringstream words(joined);
    words >> instruction.name;
    std::getline(words >> std::ws, instruction.text);
    std::istringstream rest(instruction.text);
    for (std::string word; rest >> word;) instruction.words.push_back(word);
    joined.clear();
    if (instruction.name == "FROM") stages.emplace_back();
    if (!stages.empty()) stages.back().push_back(instruction);
  }
  return stages;
}

// The text of an instruction that must be there once.
std::string Only(const Stage& stage, const std::string& name) {
  std::vector<std::string> found;
  for (const Instruction& instruction : stage) {
    if (instruction.name == name) found.push_back(instruction.text);
  }
  EXPECT_EQ(found.size(), 1u) << name;
  return found.size() == 1 ? found[0] : "";
}

// What the build stage copies from the repository: source and destination.
std::vector<std::pair<std::string, std::string>> ContextCopies() {
  std::vector<std::pair<std::string, std::string>> copies;
  for (const Stage& stage : Stages()) {
    for (const Instruction& instruction : stage) {
      if (instruction.name != "COPY" || instruction.text.find("--from=") == 0) continue;
      for (size_t i = 0; i + 1 < instruction.words.size(); ++i) {
        copies.emplace_back(instruction.words[i], instruction.words.back());
      }
    }
  }
  return copies;
}

// The value of `name=value` at the start of a line of docker/rootfs.sh.
std::string RootfsValue(const std::string& name) {
  const std::string text = "\n" + SourceText("docker/rootfs.sh");
  const size_t at = text.find("\n" + name + "=");
  if (at == std::string::npos) return "";
  const size_t begin = at + name.size() + 2;
  return text.substr(begin, text.find('\n', begin) - begin);
}

TEST(Dockerfile, CopiesWhatExistsAndIsSent) {
  std::vector<std::string> sent;
  std::istringstream lines(SourceText(".dockerignore"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("!")) sent.push_back(line.substr(1));
  }
  const auto copies = ContextCopies();
  EXPECT_GT(copies.size(), 8u);
  for (const auto& [source, destination] : copies) {
    EXPECT_TRUE(fs::exists(fs::path(CHIMERA_SOURCE_DIR) / source)) << source;
    EXPECT_THAT(sent, Contains(source.substr(0, source.find('/')))) << "ignored: " << source;
  }
}

// The build stage's folder as the builder would see it. Ninja's dry run fails on a missing source.
TEST(Dockerfile, WhatItCopiesSufficesToBuild) {
  const fs::path folder = DeployFolder("dockerfile");
  for (const auto& [source, destination] : ContextCopies()) {
    const fs::path from = fs::path(CHIMERA_SOURCE_DIR) / source;
    fs::path to = folder / destination;
    if (destination.ends_with("/")) to /= from.filename();
    fs::create_directories(to.parent_path());
    fs::copy(from, to, fs::copy_options::recursive);
  }
  bool compiled = false, assembled = false;
  const Stage build = Stages().front();
  for (const Instruction& instruction : build) {
    if (instruction.name != "RUN") continue;
    const size_t at = instruction.text.find("cmake --build");
    if (at != std::string::npos) {
      const ShellResult dry =
          RunShell("cd '" + folder.string() + "' && " + instruction.text + " -- -n");
      EXPECT_EQ(dry.exit_code, 0) << dry.out;
      EXPECT_THAT(dry.out, HasSubstr("bin/chimera"));
      compiled = true;
    }
    for (const char* script : {"scripts/install_packages.sh", "docker/rootfs.sh"}) {
      if (instruction.text.find(script) == std::string::npos) continue;
      EXPECT_EQ(RunShell("test -x '" + (folder / script).string() + "'").exit_code, 0) << script;
      assembled = true;
    }
  }
  EXPECT_TRUE(compiled && assembled);
  fs::remove_all(folder);
}

TEST(Dockerfile, LastStageHoldsTheTreeAndNothingElse) {
  const Stage last = Stages().back();
  EXPECT_EQ(Only(last, "FROM"), "scratch");
  std::vector<std::string> copies;
  for (const Instruction& instruction : last) {
    EXPECT_NE(instruction.name, "RUN") << "nothing in the image can run it";
    EXPECT_NE(instruction.name, "ADD");
    EXPECT_NE(instruction.name, "ENV") << "configuration is a file";
    if (instruction.name == "COPY") copies.push_back(instruction.text);
  }
  const std::string uid = RootfsValue("uid");
  EXPECT_THAT(copies,
              testing::ElementsAre("--from=build /rootfs/ /", "--from=build --chown=" + uid + ":" +
                                                                  uid + " /state/ /var/lib/"));
}

TEST(Dockerfile, RunsAsTheTreesUserInItsState) {
  const Stage last = Stages().back();
  const std::string uid = RootfsValue("uid");
  EXPECT_EQ(uid, "65532");
  EXPECT_EQ(Only(last, "USER"), uid + ":" + uid);
  EXPECT_EQ(Only(last, "WORKDIR"), "/" + RootfsValue("state"));
  EXPECT_EQ(Only(last, "ENTRYPOINT"), R"(["/usr/bin/chimera"])");
  EXPECT_EQ(Only(last, "CMD"), R"(["serve", "--all", "--config", "/etc/chimera/service.json"])");
  EXPECT_EQ(Only(last, "STOPSIGNAL"), "SIGTERM");
}

TEST(Dockerfile, ExposesThePortsOfItsConfiguration) {
  const ServiceConfig config = ContainerConfig();
  std::vector<std::string> ports;
  for (const char* role : kRoles) {
    ports.push_back(std::to_string(PortOf(config, role)));
    ports.push_back(std::to_string(AdminPortOf(config, role)));
  }
  std::istringstream exposed(Only(Stages().back(), "EXPOSE"));
  std::vector<std::string> found;
  for (std::string port; exposed >> port;) found.push_back(port);
  EXPECT_THAT(found, testing::UnorderedElementsAreArray(ports));
}

TEST(ContainerConfig, NamesThePathsOfTheTree) {
  const ServiceConfig config = ContainerConfig();
  EXPECT_EQ(config.data_dir, "/" + RootfsValue("state"));
  EXPECT_EQ(config.model_dir, "/" + RootfsValue("share") + "/models/nano");
  EXPECT_FALSE(IsLoopback(config.bind_address)) << "nobody outside the container could connect";
  EXPECT_TRUE(config.allow_insecure_bind);
  EXPECT_NE(config.trainer.data_root, "");
}

}  // namespace
}  // namespace chimera
