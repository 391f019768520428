// A short run of what memory_soak does for longer.
#include "memory/soak.h"

#include <cstdio>

#include "gtest/gtest.h"
#include "memory/test_store.h"

namespace chimera {
namespace {

using MemorySoak = StoreTest;

TEST_F(MemorySoak, SixteenClientsNeverWaitLong) {
  LocalMemoryOptions options = Options();
  options.quota.writes_per_second = 0;
  const auto memory = MustOpen(options);
  const auto report = RunSoak(memory.get(), {.seconds = 10, .clients = 16});
  ASSERT_TRUE(report.ok()) << report.status();
  std::printf("%lld calls, slowest %lld us, slowest Forget %lld us\n",
              static_cast<long long>(report->calls), static_cast<long long>(report->slowest_us),
              static_cast<long long>(report->slowest_forget_us));
  EXPECT_GT(report->calls, 500);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
  // Ten times the bound that memory_soak holds, because tests share their machine with others.
  EXPECT_LT(report->slowest_us, 10'000'000);
#endif
  // One user's facts stay as many as they have subjects, whatever was written.
  EXPECT_LE(memory->Stats("client1")->facts, 200);
  EXPECT_EQ(memory->Stats("")->corrupt_records_skipped, 0);
  EXPECT_EQ(memory->Figures().background_errors, 0);
}

}  // namespace
}  // namespace chimera
