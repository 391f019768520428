// chimera bench tokenizer: encoding speed on one core, beside a copy of the same text.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cluster/signals.h"
#include "services/cli/bench.h"
#include "services/cli/print_json.h"
#include "services/cli/progress_line.h"
#include "services/cli/tokenizer_choice.h"
#include "text/tokenizer_bench.h"

namespace chimera {
namespace {

constexpr size_t kTextBytesMax = size_t{1} << 30;
constexpr size_t kSampleBytes = size_t{16} << 20;

struct BenchTokenizerFlags {
  TokenizerFlags tokenizer;
  std::string text;
  int runs = 5;
  bool json = false;
};

// The yardstick: copying the same text, the least work that touches every byte of it.
double CopyMbPerS(const std::string& text, int runs) {
  std::vector<char> copy(text.size());
  double best = 0;
  for (int i = 0; i <= runs; ++i) {
    const int64_t start_ns = Clock::Real().NowNs();
    std::memcpy(copy.data(), text.data(), text.size());
    const int64_t ns = std::max<int64_t>(1, Clock::Real().NowNs() - start_ns);
    best = std::max(best, static_cast<double>(text.size()) * 1e3 / static_cast<double>(ns));
  }
  return best;
}

absl::Status RunBenchTokenizer(const BenchTokenizerFlags& flags) {
  const SignalWatch interrupted([] { ::_exit(130); });
  TokenizerFlags choice = flags.tokenizer;
  if (choice.tokenizer.empty() && choice.model.empty()) choice.tokenizer = "o200k_base";
  CHIMERA_ASSIGN_OR_RETURN(const auto tokenizer, ChooseTokenizer(choice));
  std::string text;
  if (flags.text.empty()) {
    text = SampleEnglish(*tokenizer, kSampleBytes);
  } else {
    CHIMERA_ASSIGN_OR_RETURN(text, ReadFile(flags.text, kTextBytesMax));
  }
  CHIMERA_ASSIGN_OR_RETURN(const TokenizerBenchResult result,
                           RunTokenizerBench(*tokenizer, text, flags.runs));
  const double copy = CopyMbPerS(text, flags.runs);
  if (flags.json) {
    nlohmann::ordered_json out = {{"benchmark", "tokenizer"},
                                  {"text", flags.text.empty() ? "made-up English" : "file"},
                                  {"mb_per_s", result.mb_per_s_median},
                                  {"mb_per_s_min", result.mb_per_s_min},
                                  {"mb_per_s_max", result.mb_per_s_max},
                                  {"copy_mb_per_s", copy},
                                  {"ratio_to_copy", result.mb_per_s_median / copy},
                                  {"tokens", result.tokens},
                                  {"bytes", result.bytes},
                                  {"bytes_per_token", result.bytes_per_token},
                                  {"runs", result.runs},
                                  {"n_ranks", tokenizer->n_ranks()}};
    out.update(MachineJson());
    PrintJson(out);
    return absl::OkStatus();
  }
  std::printf("tokenizer, %s ranks, one core, %s bytes, %d runs\n",
              CountText(tokenizer->n_ranks()).c_str(), CountText(result.bytes).c_str(),
              result.runs);
  std::printf("  %.2f MB/s median (%.2f to %.2f), %.2f bytes a token\n", result.mb_per_s_median,
              result.mb_per_s_min, result.mb_per_s_max, result.bytes_per_token);
  std::printf("  copying the same text: %.0f MB/s, %.0f times as fast\n", copy,
              copy / result.mb_per_s_median);
  std::printf("%s\n", MachineLine().c_str());
  return absl::OkStatus();
}

}  // namespace

void AddBenchTokenizer(CLI::App& bench, Command* run) {
  auto flags = std::make_shared<BenchTokenizerFlags>();
  CLI::App* sub = bench.add_subcommand("tokenizer", "Encoding speed on one core");
  sub->add_option("--text", flags->text, "Text file to encode; without it made-up English");
  AddTokenizerOptions(sub, &flags->tokenizer, false);
  sub->add_option("--runs", flags->runs, "Timed runs, after one that is not counted")
      ->check(CLI::Range(1, 1000));
  sub->add_flag("--json", flags->json, "One JSON object: mb_per_s, tokens, bytes, ...");
  sub->footer(
      "Without options: the full o200k_base on 16 MiB of made-up English.\n\n"
      "Example:\n"
      "  chimera bench tokenizer --text notes.txt --tokenizer o200k_base --runs 5");
  sub->callback([flags, run] { *run = [flags] { return RunBenchTokenizer(*flags); }; });
}

}  // namespace chimera
