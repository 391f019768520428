#include "text/vocabulary_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "base/file.h"
#include "text/text_testing.h"
#include "text/tokenizer.h"

namespace chimera {
namespace {

using ::testing::HasSubstr;

constexpr size_t kHeaderBytes = 32;
constexpr size_t kChecksumAt = 16;
constexpr size_t kChecksumEnd = 24;
constexpr int kRanks = 300;

std::string Path() {
  return testing::TempDir() + "chimera_vocabulary_file_" + std::to_string(getpid()) + "_" +
         testing::UnitTest::GetInstance()->current_test_info()->name();
}

std::string GoodFile() {
  const std::string path = Path();
  EXPECT_TRUE(TruncatedTokenizer(kRanks)->WriteFile(path).ok());
  auto file = ReadFile(path, 1 << 20);
  EXPECT_TRUE(file.ok());
  return *file;
}

void Seal(std::string* file) {
  const uint64_t checksum = Xxh3(std::string_view(*file).substr(kChecksumEnd));
  std::memcpy(file->data() + kChecksumAt, &checksum, 8);
}

std::string ErrorOf(const std::string& file) {
  const auto vocabulary = ParseVocabularyFile(file);
  if (vocabulary.ok()) return "OK";
  EXPECT_EQ(vocabulary.status().code(), absl::StatusCode::kDataLoss);
  return std::string(vocabulary.status().message());
}

TEST(VocabularyFile, RoundTrip) {
  const auto before = TruncatedTokenizer(8192);
  ASSERT_TRUE(before->WriteFile(Path()).ok());
  const auto after = Tokenizer::FromFile(Path());
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ((*after)->Hash(), before->Hash());
  EXPECT_EQ((*after)->vocab_size(), before->vocab_size());
  TestRandom random(1);
  for (int round = 0; round < 500; ++round) {
    const std::string text = random.ClassText(60, true);
    ASSERT_EQ((*after)->Encode(text), before->Encode(text));
  }
  ASSERT_TRUE((*after)->WriteFile(Path() + "2").ok());
  EXPECT_EQ(*ReadFile(Path(), 1 << 20), *ReadFile(Path() + "2", 1 << 20));
}

TEST(VocabularyFile, MissingFileIsNotFound) {
  EXPECT_EQ(Tokenizer::FromFile(Path()).status().code(), absl::StatusCode::kNotFound);
}

TEST(VocabularyFile, EveryTruncationAndExtensionIsAnError) {
  const std::string file = GoodFile();
  ASSERT_EQ(ErrorOf(file), "OK");
  for (size_t size = 0; size < file.size(); ++size) ASSERT_NE(ErrorOf(file.substr(0, size)), "OK");
  EXPECT_THAT(ErrorOf(file + "x"), HasSubstr("its header needs"));
}

TEST(VocabularyFile, EveryFlippedBitIsAnError) {
  std::string file = GoodFile();
  for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
    file[bit / 8] ^= static_cast<char>(1 << bit % 8);
    ASSERT_NE(ErrorOf(file), "OK") << "bit " << bit;
    file[bit / 8] ^= static_cast<char>(1 << bit % 8);
  }
}

// With a correct checksum again, the content is still not trusted: a flipped bit is refused or
// gives another valid vocabulary, which must encode without harm.
TEST(VocabularyFile, FlippedBitsUnderAGoodChecksumAreHarmless) {
  const std::string good = GoodFile();
  TestRandom random(2);
  int refused = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string file = good;
    const size_t bit = 8 * kHeaderBytes + random.Below(8 * (file.size() - kHeaderBytes));
    file[bit / 8] ^= static_cast<char>(1 << bit % 8);
    Seal(&file);
    const auto vocabulary = ParseVocabularyFile(file);
    if (!vocabulary.ok()) {
      ++refused;
      continue;
    }
    std::string decoded;
    std::vector<int32_t> ids;
    const std::string piece = random.Bytes(40);
    (*vocabulary)->Encode(piece, &ids);
    for (const int32_t id : ids) decoded += (*vocabulary)->Bytes(static_cast<uint32_t>(id));
    ASSERT_EQ(decoded, piece);
  }
  EXPECT_GT(refused, 3000);
}

TEST(VocabularyFile, NamesTheFault) {
  const std::string good = GoodFile();
  const auto with = [&](size_t at, uint32_t value) {
    std::string file = good;
    std::memcpy(file.data() + at, &value, 4);
    Seal(&file);
    return ErrorOf(file);
  };
  EXPECT_THAT(with(0, 0), HasSubstr("magic"));
  EXPECT_THAT(with(8, 2), HasSubstr("version 2, this program reads 1"));
  EXPECT_THAT(with(12, 9), HasSubstr("reserved field is 9"));
  EXPECT_THAT(with(24, 0xFFFFFFFF), HasSubstr("n_ranks 4294967295"));
  EXPECT_THAT(with(24, 255), HasSubstr("n_ranks 255"));
  EXPECT_THAT(with(28, 0xFFFFFFFF), HasSubstr("its header needs 4294969127"));
  EXPECT_THAT(with(kHeaderBytes, 0xFFFFFFFF), HasSubstr("does not exist"));
  EXPECT_THAT(with(kHeaderBytes, 5), HasSubstr("out of order"));
  std::string file = good;
  file[kHeaderBytes + 4 * kRanks] = 0;
  Seal(&file);
  EXPECT_THAT(ErrorOf(file), HasSubstr("rank 0 is empty"));
  file = good;
  ++file[kHeaderBytes + 6 * kRanks - 1];
  Seal(&file);
  EXPECT_THAT(ErrorOf(file), HasSubstr("rank 299 has a wrong split"));
  file = good;
  ++file[kHeaderBytes + 5 * kRanks];
  Seal(&file);
  EXPECT_THAT(ErrorOf(file), HasSubstr("single byte and has a split"));
}

}  // namespace
}  // namespace chimera
