#include "memory/soak.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/philox.h"

namespace chimera {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Bytes of main memory this process holds.
int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

struct ClientReport {
  int64_t calls = 0;
  int64_t slowest_us = 0;
  int64_t slowest_forget_us = 0;
  std::array<int64_t, 128> histogram{};  // bucket b holds times up to 1.25^b microseconds
  absl::Status status;
};

class Client {
 public:
  Client(LocalMemory* memory, const SoakOptions& options, int number)
      : memory_(memory),
        options_(options),
        user_(absl::StrCat("client", number % 4 == 3 ? 0 : number)),
        prefix_(absl::StrCat("client ", number, " noted that number ")),
        random_(11, RngPurpose::kMemoryDrop, static_cast<uint32_t>(number)) {}

  ClientReport Run(SteadyClock::time_point end, const std::atomic<bool>& failed) {
    for (uint64_t i = 0; SteadyClock::now() < end && !failed && report_.status.ok(); ++i) Step(i);
    return report_;
  }

 private:
  template <typename Call>
  void Time(bool forget, Call call) {
    const auto start = SteadyClock::now();
    const absl::Status status = call();
    const int64_t us = (SteadyClock::now() - start) / std::chrono::microseconds(1);
    ++report_.calls;
    if (!status.ok()) report_.status = status;
    int64_t& slowest = forget ? report_.slowest_forget_us : report_.slowest_us;
    slowest = std::max(slowest, us);
    if (forget) return;
    const double bucket = std::ceil(std::log(static_cast<double>(us + 1)) / std::log(1.25));
    ++report_.histogram[static_cast<size_t>(std::min(127.0, bucket))];
  }

  void Step(uint64_t i) {
    const uint32_t draw = random_.Word(i);
    const std::string text = absl::StrCat(prefix_, i, " is ", draw % 1000);
    if (draw % 8 < 4) {
      Time(false, [&] { return memory_->Recall(user_, text, 8).status(); });
    } else if (draw % 8 < 7) {
      Remember(draw, text);
    } else if (draw % 400 == 7) {
      Time(true, [&] { return memory_->Forget(user_, last_id_).status(); });
    } else if (draw % 16 == 7) {
      Time(false, [&] {
        return memory_->Drop(user_, std::vector<uint64_t>{FactIdFromHex(last_id_)}).status();
      });
    } else {
      const std::vector<Relation> relations = {
          {absl::StrCat("s", draw / 16 % 50), "is near", absl::StrCat("o", draw / 800 % 50)}};
      Time(false, [&] { return memory_->Relate(user_, relations, Source::kInferred).status(); });
      Time(false, [&] { return memory_->Related(user_, {.predicate = "is near"}, 16).status(); });
    }
  }

  // A new fact supersedes an old one, so that the store stays as large as it is.
  void Remember(uint32_t draw, const std::string& text) {
    const bool said = draw % 8 == 4;
    const auto slots = static_cast<uint32_t>(options_.facts_per_client) / 2;
    const NewFact fact{.text = text,
                       .about = absl::StrCat(prefix_, said ? "said " : "guess ", draw / 8 % slots),
                       .source = said ? Source::kUser : Source::kInferred};
    Time(false, [&] {
      const auto answers = memory_->Remember(user_, std::span<const NewFact>(&fact, 1));
      if (answers.ok()) last_id_ = answers->at(0).fact_id;
      return answers.status();
    });
    const std::vector<FactUse> uses = {{last_id_, 0.5f}};
    Time(false, [&] { return memory_->Reinforce(user_, uses).status(); });
  }

  LocalMemory* const memory_;
  const SoakOptions& options_;
  const std::string user_, prefix_;
  const PhiloxStream random_;
  std::string last_id_ = std::string(kFactIdDigits, '0');
  ClientReport report_;
};

}  // namespace

absl::StatusOr<SoakReport> RunSoak(LocalMemory* memory, const SoakOptions& options) {
  const auto start = SteadyClock::now();
  const auto length = std::chrono::duration_cast<SteadyClock::duration>(
      std::chrono::duration<double>(options.seconds));
  std::vector<ClientReport> reports(static_cast<size_t>(options.clients));
  std::vector<std::thread> threads;
  std::atomic<bool> failed{false};
  for (int n = 0; n < options.clients; ++n) {
    threads.emplace_back([&, n] {
      ClientReport& report = reports[static_cast<size_t>(n)];
      report = Client(memory, options, n).Run(start + length, failed);
      if (!report.status.ok()) failed = true;
    });
  }
  SoakReport all;
  std::this_thread::sleep_until(start + length / 3);
  all.rss_settled = ResidentBytes();
  for (std::thread& thread : threads) thread.join();
  all.rss_end = ResidentBytes();
  std::array<int64_t, 128> histogram{};
  int64_t timed = 0;
  for (const ClientReport& report : reports) {
    if (!report.status.ok()) return report.status;
    all.calls += report.calls;
    all.slowest_us = std::max(all.slowest_us, report.slowest_us);
    all.slowest_forget_us = std::max(all.slowest_forget_us, report.slowest_forget_us);
    for (size_t b = 0; b < histogram.size(); ++b) {
      histogram[b] += report.histogram[b];
      timed += report.histogram[b];
    }
  }
  int64_t seen = 0;
  for (size_t b = 0; b < histogram.size() && seen * 100 < timed * 99; ++b) {
    seen += histogram[b];
    all.p99_us = static_cast<int64_t>(std::pow(1.25, static_cast<double>(b)));
  }
  return all;
}

}  // namespace chimera
