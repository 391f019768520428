// Test help: writes to a store for ever and says so, before and after each call; crash_rounds.cc
// kills it. A second thread backs the store up. Usage: memory_crash_writer STORE SEED ROUND
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/philox.h"
#include "memory/rocksdb_store.h"

namespace chimera {
namespace {

// One write call, so that a line is whole or absent.
void Say(const std::string& line) {
  const std::string bytes = line + "\n";
  if (write(STDOUT_FILENO, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    std::_Exit(1);
  }
}

template <typename Call>
void Announce(const std::string& what, Call call) {
  Say("begin " + what);
  const absl::Status status = call();
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", what.c_str(), status.ToString().c_str());
    std::_Exit(1);
  }
  Say("end " + what);
}

[[noreturn]] void Write(LocalMemory* memory, const PhiloxStream& random, const std::string& round) {
  std::vector<int> there;
  for (int i = 0;; ++i) {
    const uint32_t draw = random.Word(static_cast<uint64_t>(i));
    if (draw % 24 == 0 && !there.empty()) {
      const size_t at = draw / 24 % there.size();
      const std::string text = absl::StrCat("round ", round, " wrote fact ", there[at]);
      Announce(absl::StrCat("forget ", there[at]),
               [&] { return memory->Forget("ada", FactIdToHex(FactIdOf("ada", text))).status(); });
      there.erase(there.begin() + static_cast<std::ptrdiff_t>(at));
      continue;
    }
    const bool inferred = draw % 3 != 0;
    const NewFact fact{.text = absl::StrCat("round ", round, " wrote fact ", i),
                       .source = inferred ? Source::kInferred : Source::kUser};
    Announce(absl::StrCat(inferred ? "infer " : "put ", i),
             [&] { return memory->Remember("ada", std::span<const NewFact>(&fact, 1)).status(); });
    there.push_back(i);
  }
}

int Main(const std::string& store, uint64_t seed, const std::string& round) {
  LocalMemoryOptions options{.path = store};
  options.quota.writes_per_second = 0;
  auto memory = LocalMemory::Open(options);
  if (!memory.ok()) {
    std::fprintf(stderr, "%s\n", memory.status().ToString().c_str());
    return 1;
  }
  std::thread backups([&memory, &store] {
    for (int i = 0;; ++i) {
      Announce(absl::StrCat("backup ", i),
               [&] { return (*memory)->Backup(store + ".backup", 2).status(); });
      std::this_thread::sleep_for(std::chrono::milliseconds(100));  // a Forget waits for a backup
    }
  });
  const auto stream = static_cast<uint32_t>(std::strtoul(round.c_str(), nullptr, 10));
  Write(memory->get(), PhiloxStream(seed, RngPurpose::kMemoryDrop, 1000 + stream), round);
}

}  // namespace
}  // namespace chimera

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  return chimera::Main(argv[1], std::strtoull(argv[2], nullptr, 10), argv[3]);
}
