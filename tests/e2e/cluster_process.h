// Starts the real `chimera` binary for tests: commands that end, and servers that run until
// stopped.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

namespace chimera {

struct CommandResult {
  int exit_code = -1;  // 128 + signal when killed
  std::string out;
  std::string err;
};

// Runs build/bin/chimera with these arguments and waits; input goes to standard input.
CommandResult RunChimera(const std::vector<std::string>& arguments, const std::string& input = "");

// Starts a command and leaves it running; the caller kills and waits for it.
pid_t StartChimera(const std::vector<std::string>& arguments);

// A server process; killed when the object goes. Thread-compatible.
class ServerProcess {
 public:
  // Starts `chimera serve --json ...` and reads its ready line; started() tells whether it came.
  explicit ServerProcess(const std::vector<std::string>& arguments);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  bool started() const { return !addresses_.empty(); }
  bool has(const std::string& role) const { return addresses_.count(role) > 0; }
  // HOST:PORT of "surface", "knot", "memory", "trainer" or "admin".
  const std::string& address(const std::string& role) const { return addresses_.at(role); }
  pid_t pid() const { return pid_; }
  // Sends the signal and waits for the end; the exit code, 128 + signal when it killed.
  int Stop(int signal);

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  std::map<std::string, std::string> addresses_;
};

// Body of an HTTP GET, or "" when nothing answers with 200.
std::string HttpGet(const std::string& address, const std::string& path);

// Sum of the samples of this series over all labels, -1 when there is none.
double MetricValue(const std::string& metrics, const std::string& name);

}  // namespace chimera
