// The kill -9 test with as many rounds as wanted. Usage: memory_crash_rounds STORE ROUNDS SEED
// STORE is a folder to be made; it and its backups are removed at the end.
#include <cstdio>
#include <filesystem>
#include <string>

#include "absl/strings/numbers.h"
#include "memory/crash_rounds.h"
#include "memory/test_store.h"

int main(int argc, char** argv) {
  chimera::CrashRoundsOptions options{.driver = CHIMERA_CRASH_WRITER};
  if (argc != 4 || !absl::SimpleAtoi(argv[2], &options.rounds) ||
      !absl::SimpleAtoi(argv[3], &options.seed)) {
    std::fprintf(stderr, "usage: memory_crash_rounds STORE ROUNDS SEED\n");
    return 2;
  }
  const std::string store = argv[1];
  if (std::filesystem::exists(store)) {
    std::fprintf(stderr, "%s is there already\n", store.c_str());
    return 2;
  }
  const absl::Status made =
      chimera::LocalMemory::Open({.path = store, .tokenizer = chimera::TestTokenizer()}).status();
  if (!made.ok()) {
    std::fprintf(stderr, "%s\n", made.ToString().c_str());
    return 1;
  }
  std::printf("seed %s\n", argv[3]);
  options.store = store;
  const auto report = chimera::RunCrashRounds(options);
  std::filesystem::remove_all(store);
  std::filesystem::remove_all(store + ".backup");
  if (!report.ok()) {
    std::fprintf(stderr, "%s\n", report.status().ToString().c_str());
    return 1;
  }
  std::printf(
      "%lld calls acknowledged, %lld facts at the end, %lld forgotten, kills in a backup %lld, in "
      "a Forget %lld, backups restored %lld\n",
      static_cast<long long>(report->acknowledged), static_cast<long long>(report->facts),
      static_cast<long long>(report->forgotten), static_cast<long long>(report->kills_in_backup),
      static_cast<long long>(report->kills_in_forget),
      static_cast<long long>(report->backups_restored));
  return 0;
}
