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

}  // namespace chimera
