// FEATURES H3: kill -9 at any moment loses nothing acknowledged.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/philox.h"
#include "gtest/gtest.h"
#include "memory/rocksdb_store.h"
#include "memory/test_store.h"

extern char** environ;

namespace chimera {
namespace {

using MemoryCrash = StoreTest;

// The complete lines a writer printed until it was killed kill_ms after its first line.
std::vector<std::string> RunAndKill(const std::string& store, int round, int kill_ms) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::string program = CHIMERA_CRASH_WRITER, path = store, user = "ada";
  std::string number = std::to_string(round);
  char* argv[] = {program.data(), path.data(), user.data(), number.data(), nullptr};
  pid_t child = -1;
  EXPECT_EQ(posix_spawn(&child, program.c_str(), &actions, nullptr, argv, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string output;
  char buffer[4096];
  std::thread killer;
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
    if (output.empty()) {
      killer = std::thread([child, kill_ms] {
        std::this_thread::sleep_for(std::chrono::milliseconds(kill_ms));
        kill(child, SIGKILL);
      });
    }
    output.append(buffer, static_cast<size_t>(n));
  }
  if (killer.joinable()) killer.join();
  close(ends[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the writer stopped by itself, status " << status;
  std::vector<std::string> lines;
  for (size_t at = 0, end; (end = output.find('\n', at)) != output.npos; at = end + 1) {
    lines.push_back(output.substr(at, end - at));
  }
  return lines;
}

// How many of the texts the store does not have.
int CountMissing(LocalMemory* memory, const std::vector<std::string>& texts) {
  int missing = 0;
  for (const std::string& text : texts) {
    const auto again = memory->Remember("ada", text);
    missing += !again.ok() || again->created;
  }
  return missing;
}

TEST_F(MemoryCrash, NothingAcknowledgedIsLost) {
  MustOpen(Options());
  std::vector<std::string> acknowledged;
  for (int round = 0; round < 5; ++round) {
    // Different moments in every round, the same in every run.
    const int kill_ms =
        static_cast<int>(20 + 300 * PhiloxStream(7, RngPurpose::kTokenSampling, 0).Uniform(round));
    const auto ids = RunAndKill(path_, round, kill_ms);
    EXPECT_FALSE(ids.empty()) << round;
    for (size_t i = 0; i < ids.size(); ++i) {
      acknowledged.push_back(absl::StrCat("round ", round, " wrote fact ", i, "."));
      EXPECT_EQ(ids[i], FactIdToHex(FactIdOf("ada", acknowledged.back())));
    }
    const auto memory = Reopen();
    ASSERT_NE(memory, nullptr);
    const auto stats = *memory->Stats("ada");
    EXPECT_EQ(stats.corrupt_records_skipped, 0);
    // At most one write of each round was done and not yet printed.
    EXPECT_GE(stats.facts, static_cast<int64_t>(acknowledged.size()));
    EXPECT_LE(stats.facts, static_cast<int64_t>(acknowledged.size()) + round + 1);
    EXPECT_EQ(CountMissing(memory.get(), acknowledged), 0) << "after round " << round;
  }
  EXPECT_GT(acknowledged.size(), 20u);
}

}  // namespace
}  // namespace chimera
