#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "base/exec_context.h"
#include "base/file.h"
#include "base/huge_pages.h"
#include "base/parallel_range.h"
#include "base/philox.h"

namespace chimera {
namespace {

TEST(Philox, KnownAnswers) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, 0, 0),
            (PhiloxBlock{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  EXPECT_EQ(Philox4x32({~0u, ~0u, ~0u, ~0u}, ~0u, ~0u),
            (PhiloxBlock{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(
      Philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, 0xa4093822u, 0x299f31d0u),
      (PhiloxBlock{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

// Job after job without a break, and after pauses in which every thread has gone to sleep.
TEST(ExecContext, NoJobIsMissedBetweenSpinningAndSleeping) {
  for (int threads : {2, 3, 5}) {
    ExecContext exec(threads);
    int64_t sum = 0, want = 0;
    for (int job = 0; job < 2000; ++job) {
      std::array<int64_t, 7> parts = {};
      exec.ParallelFor(7, [&](int64_t i) { parts[static_cast<size_t>(i)] = job + i; });
      for (int64_t part : parts) sum += part;
      want += 7 * job + 21;
      if (job % 200 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      // One part that outlasts the spinning of all the others.
      if (job % 500 == 0) {
        exec.ParallelFor(threads, [&](int64_t i) {
          if (i == 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        });
      }
    }
    EXPECT_EQ(sum, want) << threads;
  }
}

// Pieces cover the range once and begin at multiples of the grain, however many threads help.
TEST(ParallelRange, CoversTheRangeOnce) {
  for (int threads : {1, 2, 3, 20}) {
    ExecContext exec(threads);
    for (int64_t n : {1, 3, 4, 5, 37, 160, 1001}) {
      for (int64_t grain : {1, 4, 24}) {
        std::vector<std::atomic<int>> hits(static_cast<size_t>(n));
        ParallelRange(&exec, n, kWorthWakingNs, grain, [&](int64_t begin, int64_t end) {
          EXPECT_EQ(begin % grain, 0);
          EXPECT_TRUE(end == n || end % grain == 0);
          for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
        });
        for (const auto& hit : hits) ASSERT_EQ(hit.load(), 1) << n << " " << grain;
      }
    }
  }
}

// A thread that is held up keeps the piece it has; others take the rest of its region.
TEST(ParallelRange, OthersHelp) {
  ExecContext exec(2);
  constexpr int64_t kParts = 64;
  std::vector<std::thread::id> who(kParts);
  std::atomic<int> done{0};
  ParallelRange(&exec, kParts, kWorthWakingNs, [&](int64_t begin, int64_t end) {
    if (begin == 0) {
      while (done.load() < kParts - end) std::this_thread::yield();
    }
    for (int64_t i = begin; i < end; ++i) who[static_cast<size_t>(i)] = std::this_thread::get_id();
    done += static_cast<int>(end - begin);
  });
  EXPECT_EQ(done.load(), kParts);
  EXPECT_NE(who.front(), who.back());
  EXPECT_EQ(who[kParts / 2 - 1], who.back());  // the end of the region that was held up
}

// Every range is covered once, by pieces that stay within it.
TEST(ParallelRange, CoversSeveralRangesOnce) {
  for (int threads : {1, 2, 3}) {
    ExecContext exec(threads);
    for (int64_t n : {1, 2, 7}) {
      for (int64_t length : {1, 5, 192}) {
        std::vector<std::atomic<int>> hits(static_cast<size_t>(n * length));
        ParallelRanges(&exec, n, length, kWorthWakingNs, 8,
                       [&](int64_t i, int64_t begin, int64_t end) {
                         ASSERT_TRUE(0 <= begin && begin < end && end <= length);
                         for (int64_t j = begin; j < end; ++j) ++hits[size_t(i * length + j)];
                       });
        for (const auto& hit : hits) ASSERT_EQ(hit.load(), 1) << n << " " << length;
      }
    }
  }
}

TEST(ExecContext, RunsEachIndexOnce) {
  for (int threads : {1, 2, 5}) {
    ExecContext exec(threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<std::atomic<int>> hits(37);
      exec.ParallelFor(37, [&](int64_t i) { ++hits[static_cast<size_t>(i)]; });
      for (const auto& hit : hits) ASSERT_EQ(hit.load(), 1);
    }
  }
}

TEST(HugePages, BuffersAreAlignedAndOfAnySize) {
  for (const size_t n : {size_t{0}, size_t{1}, size_t{100}, kHugePage - 1, 3 * kHugePage + 5}) {
    BufferVector<uint8_t> buffer(n, 7);
    EXPECT_EQ(buffer.size(), n);
    EXPECT_EQ(std::count(buffer.begin(), buffer.end(), 7), static_cast<int64_t>(n));
    if (n == 0) continue;
    const auto at = reinterpret_cast<uintptr_t>(buffer.data());
    EXPECT_EQ(at % (n >= kHugePage ? kHugePage : 64), 0u) << n;
  }
}

// Where the system gives them at all.
TEST(HugePages, TheShareIsThatOfTouchedMemory) {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string enabled;
  std::getline(file, enabled);
  BufferVector<uint8_t> small(4096, 1);
  EXPECT_EQ(HugePageShare(nullptr, 0), 0.0);
  EXPECT_LE(HugePageShare(small.data(), small.size()), 1.0);
  if (enabled.find("[madvise]") == std::string::npos &&
      enabled.find("[always]") == std::string::npos) {
    GTEST_SKIP() << "no huge pages here: " << enabled;
  }
  const BufferVector<uint8_t> large(size_t{64} << 20, 1);
  EXPECT_GT(HugePageShare(large.data(), large.size()), 0.0);
}

class FileTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) { return testing::TempDir() + "/base_test_" + name; }
};

TEST_F(FileTest, AtomicWriteThenReadAndMap) {
  const std::string path = Path("round_trip");
  ASSERT_TRUE(WriteFileAtomic(path, "first").ok());
  ASSERT_TRUE(WriteFileAtomic(path, "second").ok());
  EXPECT_EQ(*ReadFile(path, 100), "second");
  auto map = MmapFile::Open(path);
  ASSERT_TRUE(map.ok());
  EXPECT_EQ(map->bytes().size(), 6u);
  EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
}

TEST_F(FileTest, ErrorsNameThePathAndTheLimit) {
  const std::string path = Path("limit");
  ASSERT_TRUE(WriteFileAtomic(path, std::string(50, 'x')).ok());
  const absl::Status too_big = ReadFile(path, 10).status();
  EXPECT_EQ(too_big.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(too_big.message().find("limit of 10"), std::string::npos) << too_big;
  EXPECT_EQ(ReadFile(Path("absent"), 10).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadFile(testing::TempDir(), 10).status().code(), absl::StatusCode::kInvalidArgument);
}

// /dev/full refuses every byte, as a full disk does: the target must be left alone.
TEST_F(FileTest, FullDiskLeavesTheOldFile) {
  const std::string path = Path("full");
  ASSERT_TRUE(WriteFileAtomic(path, "good").ok());
  std::filesystem::remove(path + ".tmp");
  std::filesystem::create_symlink("/dev/full", path + ".tmp");
  const absl::Status status = WriteFileAtomic(path, "never");
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(*ReadFile(path, 100), "good");
  std::filesystem::remove(path + ".tmp");
}

TEST_F(FileTest, Sha256OfEmptyString) {
  EXPECT_EQ(Sha256Hex(std::string_view("")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

}  // namespace
}  // namespace chimera
