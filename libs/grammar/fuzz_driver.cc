// fuzz_<target> [seconds [seed]]: mutates the target's seeds and what it made of them. An input
// that takes more than two seconds of processor time is a fault like a crash; the input at fault is
// printed.
#include "grammar/fuzz_driver.h"

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include "absl/strings/escaping.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/philox.h"
#include "grammar/state_table.h"

namespace chimera {
namespace {

constexpr size_t kInputBytesMax = 16384;
constexpr int64_t kSlowNs = 2'000'000'000;
constexpr size_t kCorpusMax = 2000;
constexpr rlim_t kProcessorSeconds = 30;  // of one input that does not end

std::string g_input;  // for the message of a crash

void PrintInput(int signal) {
  std::fprintf(stderr, "input: \"%s\"\n", absl::CHexEscape(g_input).c_str());
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : seed_(seed) {
    for (const std::string_view text : FuzzSeeds()) corpus_.emplace_back(text);
    for (const std::string_view piece : FuzzPieces()) pieces_.emplace_back(piece);
  }

  std::string Next() {
    std::string text = corpus_[Draw(corpus_.size())];
    for (size_t times = 1 + Draw(4); times > 0; --times) Mutate(&text);
    text.resize(std::min(text.size(), kInputBytesMax));
    return text;
  }
  // A text that the target took goes on being mutated.
  void Keep(const std::string& text) {
    if (Draw(4) != 0) return;
    const size_t n_seeds = FuzzSeeds().size();
    if (corpus_.size() < kCorpusMax) {
      corpus_.push_back(text);
    } else {
      corpus_[n_seeds + Draw(kCorpusMax - n_seeds)] = text;
    }
  }

 private:
  size_t Draw(size_t below) {
    const PhiloxBlock block =
        Philox4x32({static_cast<uint32_t>(draws_), static_cast<uint32_t>(draws_ >> 32), 0, 11},
                   static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32));
    ++draws_;
    return block[0] % below;
  }
  void Mutate(std::string* text) {
    const size_t at = Draw(text->size() + 1), n = 1 + Draw(16);
    switch (text->empty() ? 0 : Draw(6)) {
      case 0:
        text->insert(at, pieces_[Draw(pieces_.size())]);
        break;
      case 1:
        text->erase(at, n);
        break;
      case 2:
        (*text)[at % text->size()] ^= static_cast<char>(1 << Draw(8));
        break;
      case 3:
        text->insert(at, text->substr(Draw(text->size()), n));
        break;
      case 4:
        (*text)[at % text->size()] = static_cast<char>(Draw(256));
        break;
      default: {
        const std::string& other = corpus_[Draw(corpus_.size())];
        text->replace(at, std::string::npos, other.substr(Draw(other.size() + 1)));
      }
    }
  }

  const uint64_t seed_;
  uint64_t draws_ = 0;
  std::vector<std::string> corpus_, pieces_;
};

}  // namespace

int FuzzWalk(const absl::StatusOr<std::shared_ptr<const Machine>>& machine, GrammarUse use,
             uint32_t seed) {
  if (!machine.ok()) return -1;
  StateTable table(*machine);
  GrammarState state = table.start();
  for (uint32_t i = 0; i < 48 && table.status().ok(); ++i) {
    const auto bytes = table.class_bytes();
    const PhiloxBlock draw = Philox4x32({i, 0, 0, 12}, seed, 0);
    const GrammarState next = table.Next(state, bytes[draw[0] % bytes.size()]);
    if (next != kDeadState) state = next;
  }
  // Only what is generated promises to be closed.
  if (use == GrammarUse::kCheck || table.CloseBytes(state) > 1000) return 0;
  for (bool closer = true; closer && table.status().ok() && !table.CanEnd(state);) {
    closer = false;
    const uint32_t close_bytes = table.CloseBytes(state);
    for (const uint8_t byte : table.class_bytes()) {
      const GrammarState next = table.Next(state, byte);
      if (next == kDeadState || table.CloseBytes(next) >= close_bytes) continue;
      closer = true;
      state = next;
      break;
    }
    CHIMERA_CHECK(closer || !table.status().ok());
  }
  return 0;
}

int FuzzSource(GrammarSource::Kind kind, const uint8_t* data, size_t size) {
  const GrammarSource source = {kind, std::string(reinterpret_cast<const char*>(data), size)};
  int taken = -1;
  for (const GrammarUse use : {GrammarUse::kGenerate, GrammarUse::kCheck}) {
    taken = std::max(taken, FuzzWalk(CompileGrammar(source, use), use, uint32_t(size)));
  }
  return taken;
}

// Of this process: other work on the machine does not count.
int64_t ProcessorNs() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace chimera

int main(int argc, char** argv) {
  const int64_t seconds = argc > 1 ? std::atoll(argv[1]) : 20;
  chimera::Mutator mutator(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  for (const int signal : {SIGABRT, SIGSEGV, SIGXCPU}) std::signal(signal, chimera::PrintInput);
  const chimera::Clock& clock = chimera::Clock::Real();
  const int64_t end_ns = clock.NowNs() + seconds * 1'000'000'000;
  int64_t inputs = 0, taken = 0, slowest_ns = 0;
  for (; clock.NowNs() < end_ns; ++inputs) {
    chimera::g_input = mutator.Next();
    if (inputs % 64 == 0) {  // a hang ends in SIGXCPU
      rusage used{};
      getrusage(RUSAGE_SELF, &used);
      const auto spent = static_cast<rlim_t>(used.ru_utime.tv_sec + used.ru_stime.tv_sec);
      const rlimit limit = {spent + chimera::kProcessorSeconds, RLIM_INFINITY};
      setrlimit(RLIMIT_CPU, &limit);
    }
    const std::string& input = chimera::g_input;
    const int64_t before_ns = chimera::ProcessorNs();
    const auto* bytes = reinterpret_cast<const uint8_t*>(input.data());
    if (LLVMFuzzerTestOneInput(bytes, input.size()) == 0) {
      ++taken;
      mutator.Keep(input);
    }
    const int64_t took_ns = chimera::ProcessorNs() - before_ns;
    slowest_ns = std::max(slowest_ns, took_ns);
    CHIMERA_CHECK(took_ns <= chimera::kSlowNs);  // else the input is too slow
  }
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  std::printf("%lld inputs, %lld of them taken, the slowest %.1f ms, %ld MB at most\n",
              static_cast<long long>(inputs), static_cast<long long>(taken),
              static_cast<double>(slowest_ns) * 1e-6, used.ru_maxrss / 1024);
  return 0;
}
