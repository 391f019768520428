#include "e2e/cluster_process.h"

#include <fcntl.h>
#include <httplib.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "nlohmann/json.hpp"

namespace chimera {
namespace {

std::string Binary() { return std::string(CHIMERA_BINARY_DIR) + "/bin/chimera"; }

struct Child {
  pid_t pid = -1;
  int in = -1, out = -1, err = -1;
};

// err is -1 when standard error is shared with the test.
Child Spawn(const std::vector<std::string>& arguments, bool capture_errors) {
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
    std::abort();
  }
  std::vector<std::string> words = {Binary()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  Child child;
  child.pid = fork();
  if (child.pid == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    if (capture_errors) dup2(err[1], 2);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  close(err[1]);
  child.in = in[1];
  child.out = out[0];
  child.err = err[0];
  return child;
}

int WaitCode(pid_t pid) {
  int status = 0;
  if (waitpid(pid, &status, 0) != pid) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Reads both pipes to their ends, without one filling up while the other is read.
void Drain(int out, int err, CommandResult* result) {
  pollfd fds[2] = {{out, POLLIN, 0}, {err, POLLIN, 0}};
  std::string* texts[2] = {&result->out, &result->err};
  int open = 2;
  while (open > 0) {
    if (poll(fds, 2, -1) < 0) return;
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t n = read(fds[i].fd, buffer, sizeof(buffer));
      if (n > 0) {
        texts[i]->append(buffer, static_cast<size_t>(n));
        continue;
      }
      close(fds[i].fd);
      fds[i].fd = -1;
      --open;
    }
  }
}

}  // namespace

CommandResult RunChimera(const std::vector<std::string>& arguments, const std::string& input) {
  signal(SIGPIPE, SIG_IGN);
  const Child child = Spawn(arguments, true);
  CommandResult result;
  size_t sent = 0;
  while (sent < input.size()) {
    const ssize_t n = write(child.in, input.data() + sent, input.size() - sent);
    if (n <= 0) break;
    sent += static_cast<size_t>(n);
  }
  close(child.in);
  Drain(child.out, child.err, &result);
  result.exit_code = WaitCode(child.pid);
  return result;
}

pid_t StartChimera(const std::vector<std::string>& arguments) {
  const Child child = Spawn(arguments, true);
  close(child.in);
  return child.pid;
}

ServerProcess::ServerProcess(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {"serve", "--json"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const Child child = Spawn(words, false);
  close(child.in);
  close(child.err);
  pid_ = child.pid;
  out_ = child.out;
  std::string line;
  char letter = 0;
  while (read(out_, &letter, 1) == 1 && letter != '\n') line += letter;
  const auto ready = nlohmann::json::parse(line, nullptr, false);
  if (!ready.is_object()) return;
  for (const auto& [role, address] : ready.items()) {
    if (address.is_string()) addresses_[role] = address;
  }
}

ServerProcess::~ServerProcess() { Stop(SIGKILL); }

int ServerProcess::Stop(int signal) {
  if (pid_ <= 0) return -1;
  kill(pid_, signal);
  const int code = WaitCode(pid_);
  close(out_);
  pid_ = -1;
  return code;
}

std::string HttpGet(const std::string& address, const std::string& path) {
  httplib::Client client("http://" + address);
  client.set_connection_timeout(2);
  const auto answer = client.Get(path.c_str());
  return answer && answer->status == 200 ? answer->body : "";
}

double MetricValue(const std::string& metrics, const std::string& name) {
  std::istringstream lines(metrics);
  std::string line;
  double sum = 0;
  bool found = false;
  while (std::getline(lines, line)) {
    if (line.substr(0, line.find_first_of(" {")) != name) continue;
    sum += std::atof(line.substr(line.rfind(' ') + 1).c_str());
    found = true;
  }
  return found ? sum : -1;
}

}  // namespace chimera
