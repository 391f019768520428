#include "memory/crash_rounds.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/philox.h"
#include "base/status_macros.h"
#include "memory/rocksdb_store.h"

extern char** environ;

namespace chimera {
namespace {

// What the driver printed until it was killed kill_ms after its first line.
absl::StatusOr<std::string> RunAndKill(const CrashRoundsOptions& options, int round, int kill_ms) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::InternalError("pipe2 failed");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::string driver = options.driver, store = options.store;
  std::string seed = std::to_string(options.seed), number = std::to_string(round);
  char* argv[] = {driver.data(), store.data(), seed.data(), number.data(), nullptr};
  pid_t child = -1;
  const int spawned = posix_spawn(&child, driver.c_str(), &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (spawned != 0) return absl::InternalError(absl::StrCat("cannot start ", driver));
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
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return output;
  return absl::InternalError(absl::StrCat("the driver stopped by itself, status ", status));
}

// The driver's lines: "begin put N", "end put N", the same with infer, forget and backup. At most
// one call and one backup are open at the kill.
class Oracle {
 public:
  explicit Oracle(CrashRoundsReport* report) : report_(report) {}

  void Read(const std::string& output, int round) {
    open_.clear();
    for (size_t at = 0, end; (end = output.find('\n', at)) != output.npos; at = end + 1) {
      Line(output.substr(at, end - at), round);
    }
    for (const std::string& call : open_) {
      report_->kills_in_backup += call.starts_with("backup");
      report_->kills_in_forget += call.starts_with("forget");
    }
  }

  // Compares, and takes from the store how the open call ended.
  absl::Status Check(LocalMemory* memory, int round) {
    const auto wrong = [round](const std::string& what) {
      return absl::DataLossError(absl::StrCat("round ", round, ": ", what));
    };
    CHIMERA_ASSIGN_OR_RETURN(const MemoryStats stats, memory->Stats(""));
    if (stats.corrupt_records_skipped != 0) return wrong("damaged records");
    std::set<uint64_t> ids;
    for (uint64_t next = 0;;) {
      CHIMERA_ASSIGN_OR_RETURN(const auto page, memory->ListFacts("ada", next, kScanMax));
      if (page.empty()) break;
      for (const FactInfo& info : page) ids.insert(info.id);
      next = *ids.rbegin() + 1;
    }
    for (const std::string& text : unsure_) there_[text] = ids.contains(FactIdOf("ada", text));
    unsure_.clear();
    size_t count = 0;
    for (const auto& [text, there] : there_) {
      const bool found = ids.contains(FactIdOf("ada", text));
      if (there && !found) return wrong(absl::StrCat("lost: ", text));
      if (!there && found) return wrong(absl::StrCat("came back: ", text));
      count += found;
    }
    if (count != ids.size()) return wrong("facts that nobody wrote");
    report_->facts = static_cast<int64_t>(count);
    return absl::OkStatus();
  }

 private:
  void Line(const std::string& line, int round) {
    const size_t space = line.find(' ');
    const std::string call = line.substr(space + 1);
    const bool forget = call.starts_with("forget");
    const size_t number_at = call.find(' ') + 1;
    const std::string text = absl::StrCat("round ", round, " wrote fact ", call.substr(number_at));
    const bool backup = call.starts_with("backup");
    if (line.starts_with("begin")) {
      open_.insert(call);
      if (!backup) unsure_.insert(text);
      return;
    }
    ++report_->acknowledged;
    open_.erase(call);
    if (backup) return;
    unsure_.erase(text);
    there_[text] = !forget;
    report_->forgotten += forget;
  }

  CrashRoundsReport* const report_;
  std::map<std::string, bool> there_;
  std::set<std::string> unsure_, open_;
};

// The newest backup must open, whatever the kill did to the one under way.
absl::Status CheckBackup(const std::string& store) {
  const std::string copy = store + ".restored";
  std::filesystem::remove_all(copy);
  const absl::Status restored = RestoreMemory(store + ".backup", copy);
  if (restored.ok()) CHIMERA_RETURN_IF_ERROR(LocalMemory::Open({.path = copy}).status());
  std::filesystem::remove_all(copy);
  return restored;
}

}  // namespace

absl::StatusOr<CrashRoundsReport> RunCrashRounds(const CrashRoundsOptions& options) {
  CrashRoundsReport report;
  Oracle oracle(&report);
  const PhiloxStream random(options.seed, RngPurpose::kMemoryDrop, 2);
  const int most = options.rounds + options.rounds_for_backup;
  for (int round = 0; round < (report.kills_in_backup > 0 ? options.rounds : most); ++round) {
    const float draw = random.Uniform(static_cast<uint64_t>(round));
    const int kill_ms = static_cast<int>(5 + 700 * draw);
    CHIMERA_ASSIGN_OR_RETURN(const std::string output, RunAndKill(options, round, kill_ms));
    oracle.Read(output, round);
    CHIMERA_ASSIGN_OR_RETURN(const auto memory, LocalMemory::Open({.path = options.store}));
    CHIMERA_RETURN_IF_ERROR(oracle.Check(memory.get(), round));
    const absl::Status backup = CheckBackup(options.store);
    if (absl::IsNotFound(backup)) continue;  // none was ever finished
    CHIMERA_RETURN_IF_ERROR(backup);
    ++report.backups_restored;
  }
  return report;
}

}  // namespace chimera
