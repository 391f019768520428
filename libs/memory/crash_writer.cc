// Test help: remembers facts in a store for ever and prints the id of each one after it was
// acknowledged; crash_test.cc kills it. Usage: memory_crash_writer STORE USER ROUND
#include <unistd.h>

#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "memory/rocksdb_store.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  auto memory = chimera::LocalMemory::Open({.path = argv[1]});
  if (!memory.ok()) {
    std::fprintf(stderr, "%s\n", memory.status().ToString().c_str());
    return 1;
  }
  for (int i = 0;; ++i) {
    const auto fact =
        (*memory)->Remember(argv[2], absl::StrCat("round ", argv[3], " wrote fact ", i, "."));
    if (!fact.ok()) return 1;
    const std::string line = fact->fact_id + "\n";
    if (write(STDOUT_FILENO, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      return 1;
    }
  }
}
