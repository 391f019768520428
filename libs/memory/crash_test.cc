// FEATURES H3: kill -9 at any moment loses nothing acknowledged and brings nothing deleted back.
// memory_crash_rounds does the same with more rounds.
#include <cinttypes>
#include <cstdio>
#include <filesystem>

#include "gtest/gtest.h"
#include "memory/crash_rounds.h"
#include "memory/test_store.h"

namespace chimera {
namespace {

using MemoryCrash = StoreTest;

TEST_F(MemoryCrash, KillsAtRandomMoments) {
  constexpr uint64_t kSeed = 7;
  std::printf("seed %" PRIu64 "\n", kSeed);
  ASSERT_NE(MustOpen(Options()), nullptr);
  const auto report = RunCrashRounds({.driver = CHIMERA_CRASH_WRITER,
                                      .store = path_,
                                      .rounds = 10,
                                      .rounds_for_backup = 20,
                                      .seed = kSeed});
  std::filesystem::remove_all(path_ + ".backup");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_GT(report->acknowledged, 100);
  EXPECT_GT(report->facts, 50);
  EXPECT_GT(report->forgotten, 0);
  EXPECT_GT(report->kills_in_backup, 0);
  EXPECT_GT(report->backups_restored, 0);
}

}  // namespace
}  // namespace chimera
