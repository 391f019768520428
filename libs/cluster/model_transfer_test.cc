#include "cluster/model_transfer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "base/file.h"
#include "model/model.h"
#include "model/model_testing.h"

namespace chimera {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ModelTransfer : public testing::Test {
 protected:
  void SetUp() override {
    root_ = TestFolder("transfer");
    ASSERT_TRUE(MakeDirs(root_ + "/from").ok());
    Write(kConfigFile, "{}");
    Write(kTokenizerFile, std::string(3 * kChunkBytesMax / 2, 't'));
    Write(kWeightsFile, std::string(2 * kChunkBytesMax, 'w'));  // ends on a chunk's edge
    Write(kManifestFile, "the manifest");
    id_ = Sha256Hex(std::string("the manifest"));
  }
  void Write(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomic(root_ + "/from/" + name, bytes).ok());
  }
  std::vector<ModelChunk> Chunks() {
    auto sender = ModelSender::Open(root_ + "/from", ModelFileNames());
    EXPECT_TRUE(sender.ok()) << sender.status();
    std::vector<ModelChunk> chunks;
    ModelChunk chunk;
    while (sender->Next(&chunk)) chunks.push_back(chunk);
    return chunks;
  }
  // Sends changed chunks; returns the first error, and checks that nothing stays behind.
  absl::Status SendChanged(const std::function<void(std::vector<ModelChunk>*)>& change,
                           int64_t bytes_max = kModelBytesMax) {
    std::vector<ModelChunk> chunks = Chunks();
    change(&chunks);
    absl::Status status;
    {
      auto receiver = ModelReceiver::Create(root_ + "/to", bytes_max);
      EXPECT_TRUE(receiver.ok()) << receiver.status();
      for (const ModelChunk& chunk : chunks) {
        status = (*receiver)->Add(chunk);
        if (!status.ok()) break;
      }
      if (status.ok()) status = (*receiver)->Finish().status();
    }
    EXPECT_FALSE(status.ok());
    EXPECT_TRUE(fs::is_empty(root_ + "/to")) << status;
    return status;
  }

  std::string root_;
  std::string id_;
};

TEST_F(ModelTransfer, ArrivesWhole) {
  const std::vector<ModelChunk> chunks = Chunks();
  EXPECT_EQ(chunks.size(), 6u);
  for (const ModelChunk& chunk : chunks) EXPECT_LE(chunk.data.size(), kChunkBytesMax);
  EXPECT_EQ(chunks.back().final_model_id, id_);
  const auto folder = CopyModel(root_ + "/from", root_ + "/to", kModelBytesMax);
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_EQ(*folder, root_ + "/to/" + id_);
  for (const std::string& name : ModelFileNames()) {
    EXPECT_EQ(*ReadFile(*folder + "/" + name, 1 << 24),
              *ReadFile(root_ + "/from/" + name, 1 << 24));
  }
  // Again over a damaged copy: repaired.
  ASSERT_TRUE(WriteFileAtomic(*folder + "/" + kConfigFile, "damaged").ok());
  ASSERT_TRUE(CopyModel(root_ + "/from", root_ + "/to", kModelBytesMax).ok());
  EXPECT_EQ(*ReadFile(*folder + "/" + kConfigFile, 100), "{}");
  EXPECT_EQ(std::distance(fs::directory_iterator(root_ + "/to"), fs::directory_iterator()), 1);
}

TEST_F(ModelTransfer, HostileChunksAreRefused) {
  EXPECT_THAT(SendChanged([](auto* c) { (*c)[0].name = "../evil"; }).message(),
              HasSubstr("\"../evil\" is not part of a model"));
  EXPECT_THAT(SendChanged([](auto* c) { (*c)[0].file_bytes = -1; }).message(),
              HasSubstr("outside 1.."));
  EXPECT_THAT(SendChanged([](auto* c) { (*c)[0].file_bytes = int64_t{1} << 40; }).message(),
              HasSubstr("outside 1.."));
  EXPECT_THAT(SendChanged([](auto* c) { (*c)[0].data += "more"; }).message(),
              HasSubstr("do not add up"));
  EXPECT_THAT(SendChanged([](auto* c) { (*c)[1].data[5] ^= 1; }).message(),
              HasSubstr("does not match its SHA-256"));
  EXPECT_THAT(SendChanged([](auto* c) { c->erase(c->begin() + 1); }).message(),
              HasSubstr("of 1572864 bytes"));
  EXPECT_THAT(SendChanged([](auto* c) { c->pop_back(); }).message(),
              HasSubstr("without its file manifest.json"));
  EXPECT_THAT(SendChanged([](auto* c) { c->push_back((*c)[0]); }).message(),
              HasSubstr("follows the one with the final"));
  EXPECT_THAT(SendChanged([](auto* c) { c->insert(c->begin(), (*c)[0]); }).message(),
              HasSubstr("twice"));
  EXPECT_THAT(
      SendChanged([](auto* c) { c->back().final_model_id = std::string(64, '0'); }).message(),
      HasSubstr("the manifest's id is"));
  EXPECT_THAT(SendChanged([](auto* c) { (*c)[1].data.assign(kChunkBytesMax + 1, 'x'); }).message(),
              HasSubstr("the limit is 1048576"));
  EXPECT_EQ(SendChanged([](auto*) {}, 1 << 20).code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(ModelTransfer, CollectorIsBoundedToo) {
  FileCollector small(1 << 20);
  absl::Status status;
  for (const ModelChunk& chunk : Chunks()) {
    status = small.Add(chunk);
    if (!status.ok()) break;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  FileCollector large(1 << 23);
  for (const ModelChunk& chunk : Chunks()) ASSERT_TRUE(large.Add(chunk).ok());
  const auto files = large.Finish();
  ASSERT_TRUE(files.ok());
  EXPECT_EQ(files->size(), 4u);
  EXPECT_EQ(files->at(kConfigFile), "{}");
}

TEST_F(ModelTransfer, LeftoversGo) {
  ASSERT_TRUE(MakeDirs(root_ + "/to/incoming-1-1.part").ok());
  ASSERT_TRUE(MakeDirs(root_ + "/to/" + id_).ok());
  RemovePartialModels(root_ + "/to");
  EXPECT_FALSE(fs::exists(root_ + "/to/incoming-1-1.part"));
  EXPECT_TRUE(fs::exists(root_ + "/to/" + id_));
}

}  // namespace
}  // namespace chimera
