#include "memory/state_file.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/philox.h"
#include "gtest/gtest.h"
#include "memory/policy_testing.h"

namespace chimera {
namespace {

using Sections = std::map<StateSection, std::string>;

// Sections whose bytes follow from the epoch alone.
Sections SectionsOf(uint64_t epoch, size_t bytes = 60) {
  const std::string text = absl::StrCat("epoch ", epoch, ".");
  std::string long_text;
  while (long_text.size() < bytes) long_text += text;
  return {{StateSection::kFactPool, long_text},
          {StateSection::kGoodCases, ""},
          {StateSection::kSafety, text}};
}

StateImage ImageOf(uint64_t epoch) {
  return {.epoch = epoch, .sections = epoch == 0 ? Sections{} : SectionsOf(epoch)};
}

class StateFileTest : public testing::Test {
 protected:
  StateFileTest() {
    folder_ = testing::TempDir() + "/state_file_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    EXPECT_TRUE(MakeDirs(folder_).ok());
    path_ = folder_ + "/evolution.state";
  }
  ~StateFileTest() override { std::filesystem::remove_all(folder_); }

  void WriteRaw(const std::string& path, std::string_view bytes) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  std::string folder_, path_;
};

TEST_F(StateFileTest, KeepsTheLastImageUnderAGrowingEpoch) {
  auto file = StateFile::Open(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->image(), StateImage{});
  for (uint64_t epoch = 1; epoch <= 5; ++epoch) {
    ASSERT_TRUE(file->Write(SectionsOf(epoch)).ok());
    EXPECT_EQ(file->image(), ImageOf(epoch));
    auto again = StateFile::Open(path_);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->image(), ImageOf(epoch));
    if (epoch == 3) file = std::move(again);
  }
  EXPECT_FALSE(std::filesystem::exists(path_ + ".tmp"));
  EXPECT_EQ(file->Write({{StateSection::kGoodCases, std::string(kStateSectionBytesMax + 1, 'x')}})
                .message(),
            "section 18 of 67108865 bytes; the limit is 67108864");
  EXPECT_EQ(StateFile::Open(path_)->image(), ImageOf(5));
}

TEST_F(StateFileTest, AnyDamagedByteLeavesOneOfTheLastTwoEpochs) {
  for (const uint64_t older : {uint64_t{0}, uint64_t{6}}) {
    const std::string bytes = EncodeStateFile(ImageOf(7), ImageOf(older));
    std::set<uint64_t> seen;
    for (size_t at = 0; at < bytes.size(); ++at) {
      for (const int flip : {1, 0x80, 0xFF}) {
        std::string bad = bytes;
        bad[at] = static_cast<char>(bad[at] ^ flip);
        const auto content = DecodeStateFile(bad);
        ASSERT_TRUE(content.ok()) << at << ": " << content.status();
        seen.insert(content->newest.epoch);
        ASSERT_EQ(content->newest, ImageOf(content->newest.epoch)) << at;
        ASSERT_EQ(content->last_epoch, 7u);
      }
    }
    EXPECT_EQ(seen, (std::set<uint64_t>{older, 7}));
  }
}

TEST_F(StateFileTest, EveryTruncationIsAnEpochOrAnError) {
  const std::string bytes = EncodeStateFile(ImageOf(7), ImageOf(6));
  const size_t a_end = EncodeStateFile(ImageOf(7), {}).size() - 64;  // header and slot A
  for (size_t n = 0; n <= bytes.size(); ++n) {
    const auto content = DecodeStateFile(std::string_view(bytes).substr(0, n));
    if (n < a_end) {
      EXPECT_EQ(content.status().code(), absl::StatusCode::kDataLoss) << n;
    } else {
      ASSERT_TRUE(content.ok()) << n << ": " << content.status();
      EXPECT_EQ(content->newest, ImageOf(7)) << n;
    }
  }
  // The slots may also lie the other way round.
  EXPECT_EQ(DecodeStateFile(EncodeStateFile(ImageOf(6), ImageOf(7)))->newest, ImageOf(7));
}

TEST_F(StateFileTest, ACrashAtAnyByteOfTheWriteLeavesTheOldEpoch) {
  auto file = StateFile::Open(path_);
  for (uint64_t epoch = 1; epoch <= 2; ++epoch) ASSERT_TRUE(file->Write(SectionsOf(epoch)).ok());
  const std::string old_bytes = *ReadFile(path_, 1 << 20);
  ASSERT_TRUE(file->Write(SectionsOf(3)).ok());
  const std::string new_bytes = *ReadFile(path_, 1 << 20);
  for (size_t n = 0; n <= new_bytes.size(); n += n < 70 ? 1 : 13) {
    WriteRaw(path_, old_bytes);
    WriteRaw(path_ + ".tmp", std::string_view(new_bytes).substr(0, n));
    auto again = StateFile::Open(path_);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->image(), ImageOf(2));
    ASSERT_TRUE(again->Write(SectionsOf(3)).ok());
    EXPECT_EQ(*ReadFile(path_, 1 << 20), new_bytes);
  }
}

TEST_F(StateFileTest, EpochsGoOnAfterADamagedImage) {
  auto file = StateFile::Open(path_);
  for (uint64_t epoch = 1; epoch <= 3; ++epoch) ASSERT_TRUE(file->Write(SectionsOf(epoch)).ok());
  std::string bytes = *ReadFile(path_, 1 << 20);
  const size_t at = bytes.find("epoch 3.");
  ASSERT_NE(at, std::string::npos);
  bytes[at] = 'E';
  WriteRaw(path_, bytes);
  auto again = StateFile::Open(path_);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->image(), ImageOf(2));
  ASSERT_TRUE(again->Write(SectionsOf(4)).ok());
  EXPECT_EQ(again->image(), ImageOf(4));
  // Epoch 2 is still there, should 4 be damaged.
  bytes = *ReadFile(path_, 1 << 20);
  bytes[bytes.find("epoch 4.")] = 'E';
  EXPECT_EQ(DecodeStateFile(bytes)->newest, ImageOf(2));
}

TEST_F(StateFileTest, ResetErasesAndProvesIt) {
  auto file = StateFile::Open(path_);
  ASSERT_TRUE(file->Write({{StateSection::kGoodCases, "what nobody may read"}}).ok());
  ASSERT_TRUE(file->Write({{StateSection::kGoodCases, "what nobody may read"}}).ok());
  const auto hash = file->Reset();
  ASSERT_TRUE(hash.ok()) << hash.status();
  EXPECT_EQ(*hash, Sha256Hex(EmptyStateFile()));
  const std::string bytes = *ReadFile(path_, 1 << 20);
  EXPECT_EQ(Sha256Hex(bytes), *hash);
  EXPECT_EQ(bytes.find("nobody"), std::string::npos);
  EXPECT_EQ(bytes.size(), 128u);
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    EXPECT_EQ(entry.path().string(), path_);
  }
  EXPECT_EQ(StateFile::Open(path_)->image(), StateImage{});
  ASSERT_TRUE(file->Write(SectionsOf(1)).ok());
  EXPECT_EQ(file->image(), ImageOf(1));
}

TEST_F(StateFileTest, ErrorsNameTheFile) {
  WriteRaw(path_, "no state file at all, but long enough to be looked at by anyone who reads it");
  EXPECT_EQ(StateFile::Open(path_).status().code(), absl::StatusCode::kDataLoss);
  auto nowhere = StateFile::Open(folder_ + "/missing/evolution.state");
  ASSERT_TRUE(nowhere.ok());
  const absl::Status status = nowhere->Write(SectionsOf(1));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(status.message()).find("missing"), std::string::npos);
  EXPECT_EQ(nowhere->image(), StateImage{});
}

TEST_F(StateFileTest, DecodeSurvivesHostileBytes) {
  const std::string sample = EncodeStateFile(ImageOf(9), ImageOf(8));
  const PhiloxStream random(13, RngPurpose::kDataShuffle, 0);
  uint64_t next = 0;
  const auto below = [&](size_t n) { return random.Word(next++) % n; };
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = sample;
    for (size_t k = 0, n = 1 + below(6); k < n; ++k) {
      bytes[below(bytes.size())] = static_cast<char>(below(256));
    }
    if (below(3) == 0) bytes.erase(below(bytes.size()), below(60));
    if (below(3) == 0) bytes.insert(below(bytes.size()), below(60), 'x');
    const auto content = DecodeStateFile(bytes);
    if (content.ok()) {
      EXPECT_EQ(content->newest, ImageOf(content->newest.epoch));
    }
  }
}

// Writes epochs for ever and prints each one after it is on disk.
[[noreturn]] void WriteForEver(const std::string& path, int out) {
  auto file = StateFile::Open(path);
  if (!file.ok()) _exit(3);
  for (;;) {
    const uint64_t epoch = file->image().epoch + 1;
    if (!file->Write(SectionsOf(epoch, 1000 + 3000 * (epoch % 40))).ok()) _exit(4);
    if (write(out, &epoch, sizeof epoch) != sizeof epoch) _exit(5);
  }
}

TEST_F(StateFileTest, KilledAtAnyMomentItLoadsOneOfTheLastTwoEpochs) {
  uint64_t acknowledged = 0;
  for (uint64_t round = 0; round < 40; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) WriteForEver(path_, ends[1]);
    close(ends[1]);
    // Half of the rounds begin to wait at the first acknowledgement, the others at the fork.
    uint64_t first = 0;
    if (round % 2 == 0) {
      ASSERT_EQ(read(ends[0], &first, sizeof first), static_cast<ssize_t>(sizeof first));
      EXPECT_EQ(first, ++acknowledged);
    }
    const uint32_t wait_us = PhiloxStream(5, RngPurpose::kDataShuffle, 0).Word(round) % 40000;
    std::this_thread::sleep_for(std::chrono::microseconds(wait_us));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    for (uint64_t epoch; read(ends[0], &epoch, sizeof epoch) == sizeof epoch;) {
      EXPECT_EQ(epoch, acknowledged + 1);
      acknowledged = epoch;
    }
    close(ends[0]);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status)) << "the writer stopped by itself, status " << status;
    const auto file = StateFile::Open(path_);
    ASSERT_TRUE(file.ok()) << file.status();
    const uint64_t epoch = file->image().epoch;
    EXPECT_TRUE(epoch == acknowledged || epoch == acknowledged + 1) << epoch;
    if (epoch > 0) {
      EXPECT_EQ(file->image().sections, SectionsOf(epoch, 1000 + 3000 * (epoch % 40)));
    }
    acknowledged = epoch;
  }
  EXPECT_GE(acknowledged, 20u);
}

}  // namespace
}  // namespace chimera
