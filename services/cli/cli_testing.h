// Runs the chimera binary as a user does: the fixture of the tests of the command line.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

extern char** environ;

namespace chimera {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

inline const std::string kSource = CHIMERA_SOURCE_DIR;
inline const std::string kRanks = kSource + "/tests/golden/o200k_8192.tiktoken";
inline const std::string kSmoke = kSource + "/configs/recipes/smoke.json";

inline std::string Slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

struct Outcome {
  int code = -1;  // exit code, or minus the signal
  std::string out;
  std::string err;
};

class CliTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = ::testing::TempDir() + "/cli_" + info->name() + "_" + std::to_string(::getpid());
    fs::remove_all(root_);
    fs::create_directories(root_ + "/data");
    std::ofstream text(root_ + "/data/a.txt");
    for (int i = 0; i < 900; ++i) {
      text << "line " << i * 7919 % 613 << " of what the river said to the stone\n";
    }
  }
  void TearDown() override {
    if (server_ > 0) Wait(server_, SIGKILL);
    fs::remove_all(root_);
  }

  pid_t Spawn(const std::vector<std::string>& arguments, const std::string& input,
              const std::string& name) {
    std::vector<std::string> words = {std::string(CHIMERA_BINARY_DIR) + "/bin/chimera"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::ofstream(root_ + "/" + name + ".in", std::ios::binary) << input;
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    const int write = O_WRONLY | O_CREAT | O_TRUNC;
    ::posix_spawn_file_actions_addopen(&files, 0, (root_ + "/" + name + ".in").c_str(), O_RDONLY,
                                       0);
    ::posix_spawn_file_actions_addopen(&files, 1, (root_ + "/" + name + ".out").c_str(), write,
                                       0644);
    ::posix_spawn_file_actions_addopen(&files, 2, (root_ + "/" + name + ".err").c_str(), write,
                                       0644);
    pid_t pid = -1;
    EXPECT_EQ(::posix_spawn(&pid, argv[0], &files, nullptr, argv.data(), environ), 0);
    ::posix_spawn_file_actions_destroy(&files);
    return pid;
  }
  static int Wait(pid_t pid, int signal = 0) {
    if (signal != 0) ::kill(pid, signal);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  Outcome Read(const std::string& name, int code) const {
    return {code, Slurp(root_ + "/" + name + ".out"), Slurp(root_ + "/" + name + ".err")};
  }
  Outcome Run(const std::vector<std::string>& arguments, const std::string& input = "") {
    const int code = Wait(Spawn(arguments, input, "run"));
    return Read("run", code);
  }
  // Failed runs say one line that names the program, and nothing on standard output.
  void ExpectFailure(const std::vector<std::string>& arguments, const std::string& sentence) {
    const Outcome outcome = Run(arguments);
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_THAT(outcome.err, StartsWith("chimera: "));
    EXPECT_THAT(outcome.err, HasSubstr(sentence));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
  std::vector<std::string> TrainRun(const std::string& work, int steps) const {
    return {"train",     "run",
            "--recipe",  kSmoke,
            "--data",    root_ + "/data",
            "--work",    root_ + work,
            "--ranks",   kRanks,
            "--threads", "1",
            "--steps",   std::to_string(steps),
            "--json"};
  }
  // A model for the commands that need one.
  std::string MakeModel() {
    const Outcome outcome = Run(TrainRun("/made", 4));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return root_ + "/made/model";
  }
  static json LastLine(const std::string& lines) {
    std::istringstream in(lines);
    std::string line, last;
    while (std::getline(in, line)) last = line;
    return json::parse(last, nullptr, false);
  }
  // A server with every role; the addresses it printed.
  json Serve(const std::string& model) {
    server_ = Spawn({"serve", "--all", "--model", model, "--data", root_ + "/served", "--port", "0",
                     "--admin-port", "0", "--threads", "1", "--json"},
                    "", "serve");
    for (int i = 0; i < 2000; ++i) {
      const std::string out = Slurp(root_ + "/serve.out");
      if (out.ends_with("\n")) return json::parse(out, nullptr, false);
      ::usleep(5000);
    }
    ADD_FAILURE() << Slurp(root_ + "/serve.err");
    return json();
  }

  std::string root_;
  pid_t server_ = 0;
};

}  // namespace chimera
