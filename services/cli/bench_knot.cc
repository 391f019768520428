// chimera bench knot: steps, prompts, windows and streams of a model, as fractions of what this
// machine can read and multiply, measured in the same run.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cluster/local_knot.h"
#include "cluster/signals.h"
#include "model/knot_bench.h"
#include "services/cli/bench.h"
#include "services/cli/model_commands.h"
#include "services/cli/print_json.h"
#include "services/cli/progress_line.h"

namespace chimera {
namespace {

using nlohmann::ordered_json;

struct BenchKnotFlags {
  InspectFlags what;
  bool random = false;
  std::string ranks;
  int threads = 0;
  int runs = 5;
  int steps = 16;
  int prompt = 512;
  std::vector<int> streams = {1, 4, 16};
};

// A folder of its own, removed at the end.
class Scratch {
 public:
  absl::Status Make() {
    std::string name = (std::filesystem::temp_directory_path() / "chimera-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      return absl::UnavailableError(absl::StrCat(name, ": cannot be created"));
    }
    path_ = name;
    return absl::OkStatus();
  }
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct StreamsFigure {
  int n = 1;
  double tokens_per_s = 0;
};

// n streams of greedy passes of one token, all at once, through the knot that serves. As many
// passes before those that count find weights and states cold: the experts of a token are often its
// own.
absl::StatusOr<StreamsFigure> BenchStreams(const std::string& folder, int n, int threads,
                                           int steps) {
  LocalKnotOptions options;
  options.threads = threads;
  options.max_streams = n;
  CHIMERA_ASSIGN_OR_RETURN(const auto knot, LocalKnot::Create(options, folder, nullptr));
  std::vector<std::thread> workers;
  std::vector<absl::Status> results(static_cast<size_t>(n));
  std::vector<std::unique_ptr<KnotStream>> streams;
  for (int i = 0; i < n; ++i) {
    CHIMERA_ASSIGN_OR_RETURN(auto stream, knot->Open("", 0, 1));
    streams.push_back(std::move(stream));
  }
  std::barrier warm(n + 1);
  for (int i = 0; i < n; ++i) {
    workers.emplace_back([&, i] {
      VerifyRequest request;
      request.nodes.push_back({.token_id = i % 7, .want_distribution = true});
      request.transform.rows_max = 1;
      absl::Status& ran = results[static_cast<size_t>(i)];
      for (int step = 0; step < 2 * steps; ++step) {
        if (step == steps) warm.arrive_and_wait();
        if (!ran.ok()) continue;
        auto result = streams[static_cast<size_t>(i)]->Verify(request);
        ran = result.status();
        if (result.ok()) request.nodes[0].token_id = result->distributions[0].token_ids[0];
      }
    });
  }
  warm.arrive_and_wait();
  const auto start = std::chrono::steady_clock::now();
  for (std::thread& worker : workers) worker.join();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const absl::Status& status : results) CHIMERA_RETURN_IF_ERROR(status);
  return StreamsFigure{n, n * steps / seconds};
}

struct Report {
  int threads = 0;
  Spread read, dot;
  bool huge_pages = false;  // of weights and of what is read for comparison
  double first_token_ms = 0;
  std::vector<DecodeFigure> decode;
  HeadFigure head;
  PrefillFigure prefill;
  std::vector<TreeFigure> trees;
  std::vector<BatchFigure> batches;
  std::vector<StreamsFigure> streams;
};

ordered_json ReportJson(const Model& model, const Report& r, int runs) {
  ordered_json machine = {{"threads", r.threads},
                          {"read_gbps", r.read.median},
                          {"read_gbps_spread", SpreadJson(r.read)},
                          {"huge_pages", r.huge_pages},
                          {"dot_gmacs", r.dot.median},
                          {"dot_gmacs_spread", SpreadJson(r.dot)}};
  machine.update(MachineJson());
  ordered_json out = {
      {"benchmark", "knot"}, {"model", model.shape().name}, {"weight_bytes", model.weight_bytes()},
      {"runs", runs},        {"machine", machine},          {"first_token_ms", r.first_token_ms}};
  for (const DecodeFigure& f : r.decode) {
    out["decode"].push_back({{"loops", f.loops},
                             {"threads", r.threads},
                             {"steps_per_s", f.steps_per_s.median},
                             {"steps_per_s_spread", SpreadJson(f.steps_per_s)},
                             {"weights_per_step", f.cost.weights},
                             {"bytes_per_step", f.cost.bytes},
                             {"fraction_of_read", f.fraction_of_read.median},
                             {"weights_per_byte", f.weights_per_byte.median}});
  }
  out["head"] = {{"packing", r.head.packing},
                 {"bytes", r.head.bytes},
                 {"seconds", r.head.seconds.median},
                 {"seconds_spread", SpreadJson(r.head.seconds)},
                 {"fraction_of_read", r.head.fraction_of_read.median}};
  out["prefill"].push_back({{"tokens", r.prefill.tokens},
                            {"loops", r.prefill.loops},
                            {"tokens_per_s", r.prefill.tokens_per_s.median},
                            {"tokens_per_s_spread", SpreadJson(r.prefill.tokens_per_s)},
                            {"fraction_of_dot", r.prefill.fraction_of_dot.median}});
  for (const TreeFigure& f : r.trees) {
    out["tree"].push_back({{"nodes", f.nodes},
                           {"windows_per_s", f.windows_per_s.median},
                           {"steps", f.steps.median},
                           {"steps_spread", SpreadJson(f.steps)}});
  }
  for (const BatchFigure& f : r.batches) {
    out["batch"].push_back({{"n", f.streams},
                            {"tokens_per_s", f.tokens_per_s.median},
                            {"tokens_per_s_spread", SpreadJson(f.tokens_per_s)},
                            {"fraction_of_dot", f.fraction_of_dot.median}});
  }
  for (const StreamsFigure& f : r.streams) {
    out["streams"].push_back({{"n", f.n}, {"tokens_per_s", f.tokens_per_s}});
  }
  return out;
}

void PrintReport(const Model& model, const Report& r, int runs) {
  std::printf("%s, %s bytes of weights, %d threads, medians of %d runs\n",
              model.shape().name.c_str(), CountText(model.weight_bytes()).c_str(), r.threads, runs);
  std::printf("  machine: %.1f GB/s (%.1f to %.1f), %.0f GMAC/s (%.0f to %.0f)\n", r.read.median,
              r.read.least, r.read.most, r.dot.median, r.dot.least, r.dot.most);
  std::printf("  mapped, and a first token after %.0f ms; digests are checked later\n",
              r.first_token_ms);
  for (const DecodeFigure& f : r.decode) {
    std::printf(
        "  decode, loops %d: %.1f steps/s (%.1f to %.1f), %.1f MB a step, "
        "%.1f %% of the bandwidth, %.2f weights a byte\n",
        f.loops, f.steps_per_s.median, f.steps_per_s.least, f.steps_per_s.most,
        static_cast<double>(f.cost.bytes) * 1e-6, 100 * f.fraction_of_read.median,
        f.weights_per_byte.median);
  }
  std::printf("  head, %s: %.1f MB in %.3f ms, %.1f %% of the bandwidth\n", r.head.packing,
              static_cast<double>(r.head.bytes) * 1e-6, 1e3 * r.head.seconds.median,
              100 * r.head.fraction_of_read.median);
  std::printf("  prompt of %d: %.0f tokens/s, %.1f %% of the multiply-adds\n", r.prefill.tokens,
              r.prefill.tokens_per_s.median, 100 * r.prefill.fraction_of_dot.median);
  for (const TreeFigure& f : r.trees) {
    std::printf("  window of %d: the time of %.1f steps\n", f.nodes, f.steps.median);
  }
  for (const BatchFigure& f : r.batches) {
    std::printf("  %d streams in one pass: %.0f tokens/s, %.1f %% of the multiply-adds\n",
                f.streams, f.tokens_per_s.median, 100 * f.fraction_of_dot.median);
  }
  for (const StreamsFigure& f : r.streams) {
    std::printf("  %d streams as served: %.0f tokens/s\n", f.n, f.tokens_per_s);
  }
  std::printf("%s\n", MachineLine().c_str());
}

absl::Status RunBenchKnot(const BenchKnotFlags& flags) {
  const SignalWatch interrupted([] { ::_exit(130); });
  Scratch scratch;
  std::string folder = flags.what.model;
  if (flags.random) {
    CHIMERA_RETURN_IF_ERROR(scratch.Make());
    folder = scratch.path() + "/model";
    CHIMERA_RETURN_IF_ERROR(MakeRandomFolder(flags.what, 1, flags.ranks, folder).status());
  }
  Report report;
  report.threads = flags.threads > 0 ? flags.threads : UsableCpus();
  ExecContext exec(report.threads);
  const auto start = std::chrono::steady_clock::now();
  CHIMERA_ASSIGN_OR_RETURN(const auto model, Model::Map(folder));  // as a server does
  FirstToken(*model, &exec);
  report.first_token_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  CHIMERA_RETURN_IF_ERROR(model->CheckWeights(nullptr));

  // Read as the weights are, which have been read through.
  const ReadProbe probe(model->weights().huge_page_share() > 0.5);
  report.huge_pages = probe.huge_pages();
  std::vector<double> read, dot;
  for (int i = 0; i < flags.runs; ++i) {
    read.push_back(probe.GbPerS(&exec));
    dot.push_back(DotGmacsPerS(&exec));
  }
  report.read = SpreadOf(read);
  report.dot = SpreadOf(dot);
  KnotBenchOptions options;
  options.runs = flags.runs;
  options.decode_steps = flags.steps;
  options.prefill_tokens = flags.prompt;
  report.decode = BenchDecode(*model, options, probe, &exec);
  report.head = BenchHead(*model, options, probe, &exec);
  report.prefill = BenchPrefill(*model, options, &exec);
  report.trees = BenchTree(*model, options, &exec);
  report.batches = BenchBatch(*model, options, &exec);
  for (int n : flags.streams) {
    CHIMERA_ASSIGN_OR_RETURN(const StreamsFigure figure,
                             BenchStreams(folder, n, report.threads, flags.steps));
    report.streams.push_back(figure);
  }
  if (flags.what.json) {
    PrintJson(ReportJson(*model, report, flags.runs));
  } else {
    PrintReport(*model, report, flags.runs);
  }
  return absl::OkStatus();
}

}  // namespace

void AddBenchKnot(CLI::App& bench, Command* run) {
  auto flags = std::make_shared<BenchKnotFlags>();
  CLI::App* sub = bench.add_subcommand("knot", "Decoding against the machine's limits");
  CLI::Option_group* which = sub->add_option_group("What to run");
  which->add_option("--model", flags->what.model, "Model folder");
  CLI::Option* config = which->add_option("--config", flags->what.config, "Configuration file");
  which->require_option(1);
  CLI::Option* random =
      sub->add_flag("--random", flags->random, "Random weights of that configuration")
          ->needs(config);
  config->needs(random);
  sub->add_option("--scale", flags->what.scale, "Scale overlay beside the configuration")
      ->needs(config);
  sub->add_option("--overlay", flags->what.overlays, "JSON merge patches on top")->needs(config);
  sub->add_option("--head-bits", flags->what.head_bits,
                  "Bits of a weight of the embedding and head: 8, 6 or 4")
      ->check(CLI::IsMember({8, 6, 4}))
      ->needs(config);
  sub->add_option("--ranks", flags->ranks,
                  "Rank file o200k_base.tiktoken; looked up in .cache/tokenizer by default")
      ->needs(config);
  sub->add_option("--threads", flags->threads, "Threads; 0 is every usable CPU")
      ->check(CLI::Range(0, 1024));
  sub->add_option("--runs", flags->runs, "Timed runs of each figure")->check(CLI::Range(1, 1000));
  sub->add_option("--steps", flags->steps, "Decode steps of a run")->check(CLI::Range(1, 100000));
  sub->add_option("--prompt", flags->prompt, "Tokens of a prompt")->check(CLI::Range(1, 65536));
  sub->add_option("--streams", flags->streams, "Streams at once, several figures")
      ->check(CLI::Range(1, 1024));
  sub->add_flag("--json", flags->what.json, "One JSON object: machine, decode, head, prefill, ...");
  sub->footer(
      "A step includes the output head, a prompt the head of its last token. weights_per_byte is\n"
      "weights a second by the bandwidth in bytes a second, measured before and after each run.\n"
      "Takes 2 GiB of memory beside the model.\n\n"
      "Examples:\n"
      "  chimera bench knot --model models/nano --json\n"
      "  chimera bench knot --config configs/chimera-5.3.json --random --threads 2\n"
      "  chimera bench knot --config configs/chimera-5.3.json --random --overlay base3.json");
  sub->callback([flags, run] { *run = [flags] { return RunBenchKnot(*flags); }; });
}

}  // namespace chimera
