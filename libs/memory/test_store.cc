#include "memory/test_store.h"

#include <unistd.h>

#include <filesystem>
#include <utility>

#include "base/check.h"
#include "base/file.h"

namespace chimera {

std::shared_ptr<const Tokenizer> TestTokenizer(int ranks) {
  const auto text =
      ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/o200k_8192.tiktoken", 1 << 20);
  CHIMERA_CHECK(text.ok());
  auto tokenizer = Tokenizer::FromRankText(*text, ranks);
  CHIMERA_CHECK(tokenizer.ok());
  return *std::move(tokenizer);
}

StoreTest::StoreTest() {
  const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
  path_ = testing::TempDir() + "chimera_" + info->test_suite_name() + "_" + info->name() + "_" +
          std::to_string(getpid());
  std::filesystem::remove_all(path_);
}

StoreTest::~StoreTest() { std::filesystem::remove_all(path_); }

LocalMemoryOptions StoreTest::Options() const {
  return {.path = path_, .tokenizer = TestTokenizer(), .tokenizer_path = ""};
}

std::unique_ptr<LocalMemory> StoreTest::MustOpen(const LocalMemoryOptions& options) const {
  auto memory = LocalMemory::Open(options);
  EXPECT_TRUE(memory.ok()) << memory.status();
  return memory.ok() ? *std::move(memory) : nullptr;
}

std::unique_ptr<StoreDb> StoreTest::OpenDatabase() const {
  auto db = StoreDb::Open({.path = path_});
  EXPECT_TRUE(db.ok()) << db.status();
  return db.ok() ? *std::move(db) : nullptr;
}

NewFact Fact(const std::string& text, Source source, const std::string& about, float weight) {
  return {.text = text, .about = about, .source = source, .weight = weight};
}

absl::StatusOr<RememberedFact> RememberFact(Memory* memory, const std::string& user,
                                            const NewFact& fact) {
  const auto answers = memory->Remember(user, std::span<const NewFact>(&fact, 1));
  if (!answers.ok()) return answers.status();
  return answers->at(0);
}

std::vector<std::string> FilesWith(const std::string& path, const std::string& bytes) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (!entry.is_regular_file()) continue;
    const auto content = ReadFile(entry.path().string(), 1 << 28);
    if (content.ok() && content->find(bytes) != content->npos) {
      files.push_back(entry.path().filename().string());
    }
  }
  return files;
}

}  // namespace chimera
