// Reads deploy/compose.yaml and the files it must agree with, for the tests in this folder.
#pragma once

#include <string>

#include "config/service_config.h"
#include "nlohmann/json.hpp"

namespace chimera {

inline constexpr const char* kRoles[] = {"knot", "surface", "memory", "trainer"};

// A command line of the shell, what it printed on both outputs, and its exit code.
struct ShellResult {
  int exit_code = -1;
  std::string out;
};
ShellResult RunShell(const std::string& command);

// A YAML file as JSON, merge keys resolved; discarded() when Debian's python3-yaml, which comes
// with docker-compose, is not installed or the file is not YAML.
nlohmann::json ReadYaml(const std::string& path);

// A whole file of the repository, by its path there; fails the test when it cannot be read.
std::string SourceText(const std::string& path);

// An empty folder of the build tree for one test.
std::string DeployFolder(const std::string& name);

// docker/service.json as the image's processes see it.
ServiceConfig ContainerConfig();

// The gRPC and admin ports of a role.
int PortOf(const ServiceConfig& config, const std::string& role);
int AdminPortOf(const ServiceConfig& config, const std::string& role);

// `text` with `from` replaced by `to`, everywhere; fails the test when `from` is not there.
std::string Replaced(std::string text, const std::string& from, const std::string& to);

}  // namespace chimera
