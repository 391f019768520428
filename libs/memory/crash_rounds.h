// Test help: the kill -9 test (FEATURES H3). A driver process writes, forgets, compacts and backs
// up; this process keeps the oracle from what the driver says through a pipe before and after each
// call, kills it at a random moment, opens the store and compares.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace chimera {

struct CrashRoundsOptions {
  std::string driver;  // path of memory_crash_writer
  std::string store;   // folder; its backups go beside it, to store + ".backup"
  int rounds = 10;
  int rounds_for_backup = 0;  // more of them, until one was killed in a backup
  uint64_t seed = 0;
};

struct CrashRoundsReport {
  int64_t acknowledged = 0;      // calls
  int64_t facts = 0;             // at the end
  int64_t forgotten = 0;         // acknowledged and checked to be gone
  int64_t kills_in_backup = 0;   // the driver had begun a backup and not finished it
  int64_t kills_in_forget = 0;   // or a Forget, which flushes and compacts
  int64_t backups_restored = 0;  // restored and opened after a kill
};

// DATA_LOSS naming the round and what is wrong, at the first fault.
absl::StatusOr<CrashRoundsReport> RunCrashRounds(const CrashRoundsOptions& options);

}  // namespace chimera
