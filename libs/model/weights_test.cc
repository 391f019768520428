#include "model/weights.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/philox.h"
#include "model/b158_format.h"
#include "model/model.h"
#include "model/model_testing.h"

namespace chimera {
namespace {

class WeightsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestModelFolder("weights", true);
    good_ = *ReadFile(Path(), 64 << 20);
  }
  std::string Path() const { return folder_ + "/" + kWeightsFile; }

  absl::Status Load(const std::string& bytes) {
    EXPECT_TRUE(WriteFileAtomic(Path(), bytes).ok());
    return Weights::Map(Path(), TestConfig(true).model).status();
  }
  // Applies a change to the header and re-signs it, so that only the change can be the fault.
  template <typename Change>
  std::string WithHeader(const Change& change) const {
    std::string bytes = good_;
    B158Header header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    change(&header);
    header.header_checksum = Xxh3(std::string_view(reinterpret_cast<const char*>(&header), 48));
    std::memcpy(bytes.data(), &header, sizeof(header));
    return bytes;
  }
  // The same for record `index` of the table.
  template <typename Change>
  std::string WithRecord(size_t index, const Change& change) const {
    std::string bytes = good_;
    B158Record record;
    const size_t at = sizeof(B158Header) + index * sizeof(record);
    std::memcpy(&record, bytes.data() + at, sizeof(record));
    change(&record);
    std::memcpy(bytes.data() + at, &record, sizeof(record));
    B158Header header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    header.table_checksum =
        Xxh3(std::string_view(bytes).substr(sizeof(header), header.table_bytes));
    header.header_checksum = Xxh3(std::string_view(reinterpret_cast<const char*>(&header), 48));
    std::memcpy(bytes.data(), &header, sizeof(header));
    return bytes;
  }

  std::string folder_;
  std::string good_;
};

TEST_F(WeightsTest, GoodFileLoads) { EXPECT_TRUE(Load(good_).ok()); }

TEST_F(WeightsTest, EveryTruncationIsRefused) {
  for (size_t size : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{200}, good_.size() / 2,
                      good_.size() - 1}) {
    const absl::Status status = Load(good_.substr(0, size));
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << size << ": " << status;
    EXPECT_NE(status.message().find(kWeightsFile), absl::string_view::npos);
  }
  EXPECT_EQ(Load(good_ + "x").code(), absl::StatusCode::kDataLoss);
}

// Padding between payloads is the only place a flipped bit may go unnoticed here; the manifest's
// digest covers it.
TEST_F(WeightsTest, FlippedBitsAreRefused) {
  const PhiloxStream rng(1, RngPurpose::kDataShuffle, 0);
  B158Header header;
  std::memcpy(&header, good_.data(), sizeof(header));
  std::vector<std::pair<uint64_t, uint64_t>> covered = {{0, 56}, {64, header.table_bytes}};
  for (uint32_t i = 0; i < header.n_tensors; ++i) {
    B158Record record;
    std::memcpy(&record, good_.data() + 64 + i * sizeof(record), sizeof(record));
    covered.push_back({record.offset, record.bytes});
  }
  for (size_t i = 0; i < covered.size() * 4; ++i) {
    const auto [begin, size] = covered[i % covered.size()];
    std::string bytes = good_;
    bytes[begin + rng.Word(2 * i) % size] ^= static_cast<char>(1u << (rng.Word(2 * i + 1) % 8));
    EXPECT_EQ(Load(bytes).code(), absl::StatusCode::kDataLoss) << "range " << i % covered.size();
  }
}

TEST_F(WeightsTest, HostileSizesAreRefused) {
  const uint64_t huge = ~uint64_t{0};
  const std::vector<std::string> files = {
      WithHeader([](B158Header* h) { h->n_tensors = 0; }),
      WithHeader([](B158Header* h) { h->n_tensors = ~0u; }),
      WithHeader([&](B158Header* h) { h->file_bytes = huge; }),
      WithHeader([&](B158Header* h) { h->table_bytes = huge - 10; }),
      WithHeader([](B158Header* h) { h->version = 2; }),
      WithHeader([](B158Header* h) { h->byte_order = 0x04030201; }),
      WithRecord(0, [&](B158Record* r) { r->offset = huge - 63; }),
      WithRecord(0, [&](B158Record* r) { r->offset = 0; }),
      WithRecord(1, [](B158Record* r) { r->offset += 1; }),
      WithRecord(1, [&](B158Record* r) { r->bytes = huge; }),
      WithRecord(2, [](B158Record* r) { r->rows = 0x7fffffff; }),
      WithRecord(2, [](B158Record* r) { r->cols = 0x7fffffff; }),
      WithRecord(2, [](B158Record* r) { r->kind = 9; }),
      WithRecord(3, [](B158Record* r) { std::memset(r->name, 'x', sizeof(r->name)); }),
      WithRecord(2, [this](B158Record* r) { r->offset = good_.size() / 64 * 64; })};
  for (size_t i = 0; i < files.size(); ++i) {
    const absl::Status status = Load(files[i]);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << "file " << i << ": " << status;
  }
}

TEST_F(WeightsTest, AnotherShapeIsRefusedByName) {
  ModelConfig other = TestConfig(true).model;
  other.d_ff = 192;
  const absl::Status status = Weights::Map(Path(), other).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(status.message().find("ffn.w_in"), absl::string_view::npos) << status;
}

TEST_F(WeightsTest, ModelFolderFaultsAreNamed) {
  EXPECT_TRUE(Model::Load(folder_).ok());
  const auto missing = Model::Load(folder_ + "_absent").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  for (const char* file : {kConfigFile, kTokenizerFile, kWeightsFile, kManifestFile}) {
    const std::string path = folder_ + "/" + file;
    const std::string bytes = *ReadFile(path, 64 << 20);
    std::string flipped = bytes;
    flipped[flipped.size() / 2] ^= 1;
    for (const std::string& bad : {flipped, bytes.substr(0, bytes.size() / 2), std::string()}) {
      ASSERT_TRUE(WriteFileAtomic(path, bad).ok());
      const absl::Status status = Model::Load(folder_).status();
      EXPECT_FALSE(status.ok()) << file;
      EXPECT_NE(status.message().find(folder_), absl::string_view::npos) << status;
    }
    std::filesystem::remove(path);
    EXPECT_FALSE(Model::Load(folder_).ok()) << file << " missing";
    ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
  }
  EXPECT_TRUE(Model::Load(folder_).ok());
}

}  // namespace
}  // namespace chimera
