#include "deploy/compose_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>

#include "base/file.h"

namespace chimera {

ShellResult RunShell(const std::string& command) {
  ShellResult result;
  std::FILE* pipe = popen(("(" + command + ") 2>&1").c_str(), "r");
  if (pipe == nullptr) return result;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) result.out.append(buffer, n);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  return result;
}

nlohmann::json ReadYaml(const std::string& path) {
  // Debian's own interpreter: another one in PATH does not see Debian's modules.
  const ShellResult read = RunShell(
      "/usr/bin/python3 -c 'import json, sys, yaml; "
      "json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)' '" +
      path + "'");
  if (read.exit_code != 0) return nlohmann::json::value_t::discarded;
  return nlohmann::json::parse(read.out, nullptr, false);
}

std::string SourceText(const std::string& path) {
  auto text = ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/" + path, 1 << 20);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

std::string DeployFolder(const std::string& name) {
  const std::filesystem::path folder = std::filesystem::path(CHIMERA_BINARY_DIR) / "deploy" / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder.string();
}

ServiceConfig ContainerConfig() {
  auto config = ParseServiceConfig(SourceText("docker/service.json"));
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : ServiceConfig();
}

int PortOf(const ServiceConfig& config, const std::string& role) {
  if (role == "knot") return config.ports.knot;
  if (role == "surface") return config.ports.surface;
  return role == "memory" ? config.ports.memory : config.ports.trainer;
}

int AdminPortOf(const ServiceConfig& config, const std::string& role) {
  if (role == "knot") return config.ports.knot_admin;
  if (role == "surface") return config.ports.surface_admin;
  return role == "memory" ? config.ports.memory_admin : config.ports.trainer_admin;
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  EXPECT_NE(text.find(from), std::string::npos) << from;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

}  // namespace chimera
