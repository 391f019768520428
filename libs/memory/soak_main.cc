// Clients reading and writing for a while. Usage: memory_soak STORE --seconds N [--clients N]
// STORE is a folder to be made; it is removed at the end. Fails when a call takes over a second or
// memory grows by more than a tenth.
#include <cstdio>
#include <filesystem>
#include <string>

#include "absl/strings/numbers.h"
#include "memory/soak.h"
#include "memory/test_store.h"

namespace chimera {
namespace {

int Main(const std::string& path, const SoakOptions& options) {
  LocalMemoryOptions store{.path = path, .tokenizer = TestTokenizer()};
  store.quota.writes_per_second = 0;
  auto memory = LocalMemory::Open(store);
  if (!memory.ok()) {
    std::fprintf(stderr, "%s\n", memory.status().ToString().c_str());
    return 1;
  }
  const auto report = RunSoak(memory->get(), options);
  if (!report.ok()) {
    std::fprintf(stderr, "%s\n", report.status().ToString().c_str());
    return 1;
  }
  const StoreFigures figures = (*memory)->Figures();
  std::printf(
      "%.0f s, %d clients: %lld calls, p99 %lld us, slowest %lld us, slowest Forget %lld us, RSS "
      "%lld bytes after a third and %lld at the end; log synced %lld times, p99 %lld us; stalls "
      "%lld us; tables %lld bytes\n",
      options.seconds, options.clients, static_cast<long long>(report->calls),
      static_cast<long long>(report->p99_us), static_cast<long long>(report->slowest_us),
      static_cast<long long>(report->slowest_forget_us),
      static_cast<long long>(report->rss_settled), static_cast<long long>(report->rss_end),
      static_cast<long long>(figures.wal_syncs), static_cast<long long>(figures.wal_sync_p99_us),
      static_cast<long long>(figures.stall_us), static_cast<long long>(figures.table_bytes));
  const bool stalled = report->slowest_us > 1'000'000 || report->slowest_forget_us > 1'000'000;
  const bool grew = report->rss_end > report->rss_settled + report->rss_settled / 10;
  if (stalled) std::fprintf(stderr, "a call took over a second\n");
  if (grew) std::fprintf(stderr, "memory grew by more than a tenth\n");
  return stalled || grew ? 1 : 0;
}

}  // namespace
}  // namespace chimera

int main(int argc, char** argv) {
  chimera::SoakOptions options;
  bool good = argc >= 4 && argc % 2 == 0;
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    good &= (flag == "--seconds" && absl::SimpleAtod(argv[i + 1], &options.seconds)) ||
            (flag == "--clients" && absl::SimpleAtoi(argv[i + 1], &options.clients));
  }
  if (!good || !(options.seconds > 0) || options.clients < 1 || std::filesystem::exists(argv[1])) {
    std::fprintf(stderr,
                 "usage: memory_soak STORE --seconds N [--clients N]; STORE is not there\n");
    return 2;
  }
  const int code = chimera::Main(argv[1], options);
  std::filesystem::remove_all(argv[1]);
  return code;
}
