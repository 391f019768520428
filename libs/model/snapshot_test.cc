#include "model/snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "base/file.h"
#include "base/philox.h"
#include "model/model_testing.h"
#include "model/step.h"

namespace chimera {
namespace {

using testing::HasSubstr;

int32_t TokenAt(int i) {
  const PhiloxStream rng(21, RngPurpose::kDataShuffle, 0);
  return static_cast<int32_t>(rng.Word(uint64_t(i)) % 1024);
}

// Runs tokens [begin, end) and returns the last hidden vector.
std::vector<float> Decode(const Model& model, BraidState* state, int begin, int end) {
  ExecContext exec(1);
  Stepper stepper(model, &exec);
  std::vector<float> last;
  for (int i = begin; i < end; ++i) {
    const auto hidden = stepper.Step(state, TokenAt(i));
    last.assign(hidden.begin(), hidden.end());
  }
  return last;
}

class SnapshotTest : public testing::Test {
 protected:
  void SetUp() override {
    auto model = Model::Load(TestModelFolder("snapshot", true, 1, TestShape::kFull));
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *model;
    state_ = std::make_unique<BraidState>(model_->shape());
    Decode(*model_, state_.get(), 0, kAt);
    for (int i = 0; i < kAt; ++i) recent_.push_back(TokenAt(i));
    auto bytes = WriteSnapshot(*model_, *state_, recent_, "ledger");
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    bytes_ = *bytes;
  }
  std::string Fault(std::string bytes) {
    auto snapshot = ReadSnapshot(*model_, bytes);
    EXPECT_FALSE(snapshot.ok());
    return std::string(snapshot.status().message().data(), snapshot.status().message().size());
  }
  // The bytes with a change, checksummed again as a liar would.
  template <typename T>
  std::string With(size_t offset, T value) {
    std::string bytes = bytes_;
    std::memcpy(bytes.data() + offset, &value, sizeof(value));
    const uint64_t checksum = Xxh3(std::string_view(bytes).substr(24));
    std::memcpy(bytes.data() + 16, &checksum, sizeof(checksum));
    return bytes;
  }

  static constexpr int kAt = 70;  // crosses write chunks and the window of 32
  std::shared_ptr<const Model> model_;
  std::unique_ptr<BraidState> state_;
  std::vector<int32_t> recent_;
  std::string bytes_;
};

TEST_F(SnapshotTest, ContinuesBitForBit) {
  auto snapshot = ReadSnapshot(*model_, bytes_);
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  EXPECT_EQ(snapshot->recent, recent_);
  EXPECT_EQ(snapshot->surface, "ledger");
  EXPECT_EQ(snapshot->state.position(), kAt);
  EXPECT_EQ(Decode(*model_, &snapshot->state, kAt, 120), Decode(*model_, state_.get(), kAt, 120));
  EXPECT_EQ(std::memcmp(snapshot->state.floats().data(), state_->floats().data(),
                        state_->floats().size_bytes()),
            0);
}

// The child maps the model again and continues; the parent compares.
TEST_F(SnapshotTest, ContinuesInAnotherProcess) {
  const std::string folder = TestFolder("snapshot_child");
  ASSERT_TRUE(WriteFileAtomic(folder + "/state", bytes_).ok());
  const std::string model_folder = model_->folder();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto model = Model::Load(model_folder);
    auto bytes = ReadFile(folder + "/state", 1 << 24);
    if (!model.ok() || !bytes.ok()) _exit(1);
    auto snapshot = ReadSnapshot(**model, *bytes);
    if (!snapshot.ok()) _exit(2);
    const std::vector<float> last = Decode(**model, &snapshot->state, kAt, 120);
    const std::string_view out(reinterpret_cast<const char*>(last.data()), last.size() * 4);
    _exit(WriteFileAtomic(folder + "/last", out).ok() ? 0 : 3);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  auto there = ReadFile(folder + "/last", 1 << 20);
  ASSERT_TRUE(there.ok());
  const std::vector<float> here = Decode(*model_, state_.get(), kAt, 120);
  ASSERT_EQ(there->size(), here.size() * 4);
  EXPECT_EQ(std::memcmp(there->data(), here.data(), there->size()), 0);
}

TEST_F(SnapshotTest, AForkIsAStreamOfItsOwn) {
  BraidState fork = *state_;
  const auto first = Decode(*model_, &fork, 500, 530);
  EXPECT_EQ(ReadSnapshot(*model_, bytes_)->state.position(), kAt);
  BraidState again = ReadSnapshot(*model_, bytes_)->state;
  EXPECT_EQ(Decode(*model_, &again, 500, 530), first);
  EXPECT_NE(Decode(*model_, state_.get(), 501, 531), first);
}

TEST_F(SnapshotTest, EveryCutAndFlippedBitIsAnError) {
  for (size_t length = 0; length < bytes_.size(); length += 997) {
    EXPECT_FALSE(ReadSnapshot(*model_, std::string_view(bytes_).substr(0, length)).ok()) << length;
  }
  EXPECT_FALSE(ReadSnapshot(*model_, bytes_ + "x").ok());
  for (size_t at = 0; at < bytes_.size(); at += 1013) {
    std::string bytes = bytes_;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    EXPECT_FALSE(ReadSnapshot(*model_, bytes).ok()) << at;
  }
}

TEST_F(SnapshotTest, LiesAreNamed) {
  EXPECT_THAT(Fault(With<char>(0, 'X')), HasSubstr("wrong magic"));
  EXPECT_THAT(Fault(With<uint32_t>(8, 9)), HasSubstr("version 9"));
  EXPECT_THAT(Fault(With<uint32_t>(96, 5)), HasSubstr("loops 5 is outside 1..4"));
  EXPECT_THAT(Fault(With<uint32_t>(96, 3)), HasSubstr("state floats"));
  EXPECT_THAT(Fault(With<uint32_t>(100, 5000)), HasSubstr("5000 recent tokens exceed 4096"));
  EXPECT_THAT(Fault(With<uint64_t>(104, uint64_t{1} << 40)), HasSubstr("position"));
  EXPECT_THAT(Fault(With<uint64_t>(104, 71)), HasSubstr("another position"));
  EXPECT_THAT(Fault(With<uint32_t>(120, 1 << 20)), HasSubstr("exceeds 65536"));
  EXPECT_THAT(Fault(With<char>(40, '0' + (bytes_[40] == '0'))), HasSubstr("belongs to model"));
  // The first TM layer's memory leads the state: its header's count of pending tokens.
  EXPECT_THAT(Fault(With<int32_t>(128 + 4, 17)), HasSubstr("layer 1: write chunk"));
}

TEST_F(SnapshotTest, LimitsOfWhatIsWritten) {
  const std::vector<int32_t> many(4097, 1);
  EXPECT_THAT(std::string(WriteSnapshot(*model_, *state_, many, "").status().message()),
              HasSubstr("4097 recent tokens exceed 4096"));
  EXPECT_THAT(
      std::string(WriteSnapshot(*model_, *state_, {}, std::string(65537, 'x')).status().message()),
      HasSubstr("65537 bytes exceeds 65536"));
}

}  // namespace
}  // namespace chimera
