// Test help: a tokenizer and store folders. Not part of the library.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "memory/rocksdb_store.h"
#include "memory/store_db.h"
#include "text/tokenizer.h"

namespace chimera {

// The first `ranks` merges of o200k_base, 256..8192.
std::shared_ptr<const Tokenizer> TestTokenizer(int ranks = 8192);

// An empty folder of its own for each test, removed at the end.
class StoreTest : public testing::Test {
 protected:
  StoreTest();
  ~StoreTest() override;

  LocalMemoryOptions Options() const;
  std::unique_ptr<LocalMemory> MustOpen(const LocalMemoryOptions& options) const;
  // The open reuses the store's own tokenizer.
  std::unique_ptr<LocalMemory> Reopen() const { return MustOpen({.path = path_}); }

  // The database of a store that is not open.
  std::unique_ptr<StoreDb> OpenDatabase() const;

  std::string path_;
};

// A fact with a few of its members set.
NewFact Fact(const std::string& text, Source source = Source::kUser, const std::string& about = "",
             float weight = 1);
// One fact, remembered.
absl::StatusOr<RememberedFact> RememberFact(Memory* memory, const std::string& user,
                                            const NewFact& fact);

// The files below path that hold the bytes.
std::vector<std::string> FilesWith(const std::string& path, const std::string& bytes);

}  // namespace chimera
