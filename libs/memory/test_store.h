// Test help: a tokenizer and store folders. Not part of the library.
#pragma once

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "memory/rocksdb_store.h"
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

  std::string path_;
};

}  // namespace chimera
