// Models that are mapped first and checked later, and the pages that processes share.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "model/model_testing.h"
#include "model/step.h"

namespace chimera {
namespace {

using testing::HasSubstr;

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

void FlipByte(const std::string& path, std::streamoff from_end) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-from_end, std::ios::end);
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(-from_end, std::ios::end);
  file.put(byte);
}

std::vector<float> LogitsOf(const Model& model) {
  ExecContext exec(1);
  Stepper stepper(model, &exec);
  BraidState state(model.shape());
  state.Reset();
  std::vector<float> logits(static_cast<size_t>(model.shape().vocab_size));
  for (int32_t token = 0; token < 20; ++token) stepper.Step(&state, token * 51);
  stepper.Logits(stepper.Step(&state, 3), 1, logits);
  return logits;
}

TEST(ModelMap, IsTheSameModelAndChecksLater) {
  for (const char* packing : {"rows_in_lanes", "base3"}) {
    const std::string folder = TestModelFolder(
        absl::StrCat("map_", packing),
        TestConfigWith(absl::StrCat(R"("packing": ")", packing, R"(")"), TestShape::kFull));
    auto loaded = Model::Load(folder), mapped = Model::Map(folder);
    ASSERT_TRUE(loaded.ok() && mapped.ok()) << loaded.status() << mapped.status();
    EXPECT_EQ((*mapped)->id(), (*loaded)->id());
    EXPECT_EQ(LogitsOf(**mapped), LogitsOf(**loaded));
    EXPECT_TRUE((*mapped)->CheckWeights(nullptr).ok());
    const std::atomic<bool> stop{true};
    EXPECT_EQ((*mapped)->CheckWeights(&stop).code(), absl::StatusCode::kCancelled);
  }
}

TEST(ModelMap, DamageShowsInTheLaterCheck) {
  const std::string folder = TestModelFolder("map_damaged", true, 1, TestShape::kFull);
  FlipByte(folder + "/" + kWeightsFile, 5000);
  EXPECT_FALSE(Model::Load(folder).ok());
  auto mapped = Model::Map(folder);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  const absl::Status fault = (*mapped)->CheckWeights(nullptr);
  EXPECT_EQ(fault.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(MessageOf(fault), HasSubstr("payload checksum mismatch"));
  LogitsOf(**mapped);  // no harm but nonsense
}

// Sound weights, of another model: only the digest tells.
TEST(ModelMap, TheDigestTellsModelsApart) {
  const std::string folder = TestModelFolder("map_digest", true, 2);
  const std::string other = TestModelFolder("map_digest_2", true, 3);
  auto weights = ReadFile(other + "/" + kWeightsFile, 1 << 24);
  ASSERT_TRUE(weights.ok());
  ASSERT_TRUE(WriteFileAtomic(folder + "/" + kWeightsFile, *weights).ok());
  auto mapped = Model::Map(folder);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  EXPECT_THAT(MessageOf((*mapped)->CheckWeights(nullptr)), HasSubstr("manifest's SHA-256"));
}

TEST(ModelMap, ShapesAndSizesAreCheckedAtOnce) {
  const std::string folder = TestModelFolder("map_sizes", true);
  const std::string path = folder + "/" + kWeightsFile;
  auto whole = ReadFile(path, 1 << 24);
  ASSERT_TRUE(whole.ok());
  ASSERT_TRUE(WriteFileAtomic(path, whole->substr(0, whole->size() - 64)).ok());
  EXPECT_THAT(MessageOf(Model::Map(folder).status()), HasSubstr("bytes, the manifest says"));
  std::string table = *whole;
  table[200] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(path, table).ok());
  EXPECT_THAT(MessageOf(Model::Map(folder).status()), HasSubstr("table checksum"));
}

struct Mapping {
  int64_t rss_kib = 0, pss_kib = 0, dirty_kib = 0;
};

// Of this process's mappings of the file, together.
Mapping MappingOf(const std::string& path) {
  std::ifstream smaps("/proc/self/smaps");
  Mapping out;
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    const size_t space = line.find(' ');
    if (line.find('-') < space) inside = line.ends_with(path);  // "5581...-5581... r--s ... path"
    if (!inside) continue;
    long kib = 0;
    if (std::sscanf(line.c_str(), "Rss: %ld kB", &kib) == 1) out.rss_kib += kib;
    if (std::sscanf(line.c_str(), "Pss: %ld kB", &kib) == 1) out.pss_kib += kib;
    if (std::sscanf(line.c_str(), "Private_Dirty: %ld kB", &kib) == 1) out.dirty_kib += kib;
  }
  return out;
}

// A second process that maps the model pays for half of the pages, and so does the first from then
// on: they are the same pages.
TEST(ModelMap, ProcessesShareThePages) {
  const std::string folder = TestModelFolder("map_shared", true, 1, TestShape::kFull);
  const std::string path = std::filesystem::canonical(folder + "/" + kWeightsFile).string();
  int ready[2], done[2];
  ASSERT_EQ(pipe(ready) | pipe(done), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto model = Model::Load(folder);  // reads every page
    char byte = model.ok() ? 'y' : 'n';
    const bool told = write(ready[1], &byte, 1) == 1 && read(done[0], &byte, 1) == 1;
    _exit(told ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');
  auto model = Model::Load(folder);
  ASSERT_TRUE(model.ok()) << model.status();
  const Mapping both = MappingOf(path);
  ASSERT_EQ(write(done[1], "x", 1), 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  const Mapping alone = MappingOf(path);
  EXPECT_GE(both.rss_kib * 1024, (*model)->weight_bytes());
  EXPECT_EQ(both.dirty_kib, 0);
  EXPECT_LE(both.pss_kib, both.rss_kib * 55 / 100);
  EXPECT_GE(both.pss_kib, both.rss_kib * 45 / 100);
  EXPECT_GE(alone.pss_kib, alone.rss_kib * 95 / 100);
}

}  // namespace
}  // namespace chimera
