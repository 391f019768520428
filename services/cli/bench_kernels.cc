// chimera bench kernels: products of weights that no cache holds, as fractions of what this machine
// can read and multiply, measured in the same run.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cluster/signals.h"
#include "services/cli/bench.h"
#include "services/cli/print_json.h"
#include "ternary/products_bench.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

using nlohmann::ordered_json;

struct BenchKernelsFlags {
  // Of the base shape: a mixer's projection, both halves of the feed-forward.
  std::vector<std::string> shapes = {"2560x2560", "13824x2560", "2560x6912"};
  int tokens = 64;
  int threads = 0;
  int runs = 5;
  int megabytes = 1024;
  bool json = false;
};

std::string ShapeText(const ProductShape& shape) {
  return absl::StrCat(shape.rows, "x", shape.cols);
}

// "ROWSxCOLS"
std::optional<ProductShape> ParseShape(const std::string& text) {
  ProductShape shape;
  const char* const end = text.data() + text.size();
  const auto rows = std::from_chars(text.data(), end, shape.rows);
  if (rows.ec != std::errc() || rows.ptr == end || *rows.ptr != 'x') return std::nullopt;
  const auto cols = std::from_chars(rows.ptr + 1, end, shape.cols);
  if (cols.ec != std::errc() || cols.ptr != end) return std::nullopt;
  const bool fits = shape.rows >= 1 && shape.rows <= 1 << 20 && shape.cols >= kActBlock &&
                    shape.cols % kActBlock == 0 && shape.cols <= kTernaryMaxCols;
  return fits ? std::optional(shape) : std::nullopt;
}

ordered_json FigureJson(const ProductFigure& f) {
  ordered_json out = {{"shape", ShapeText(f.shape)},
                      {"packing", f.packing},
                      {"tokens", f.n_tokens},
                      {"gb_per_s", SpreadJson(f.gb_per_s)},
                      {"gmacs_per_s", SpreadJson(f.gmacs_per_s)}};
  const bool gemv = f.n_tokens == 1;
  out[gemv ? "read_gbps" : "dot_gmacs"] = f.limit;
  out[gemv ? "fraction_of_read" : "fraction_of_dot"] = f.fraction.median;
  out["fraction"] = SpreadJson(f.fraction);
  return out;
}

void PrintFigure(const ProductFigure& f) {
  const bool gemv = f.n_tokens == 1;
  std::printf(
      "  %-12s %-6s %3d tokens  %7.1f GB/s %7.1f GMAC/s  %5.1f %% of %.1f %s (%.1f to %.1f)\n",
      ShapeText(f.shape).c_str(), f.packing, f.n_tokens, f.gb_per_s.median, f.gmacs_per_s.median,
      100 * f.fraction.median, f.limit, gemv ? "GB/s" : "GMAC/s", 100 * f.fraction.least,
      100 * f.fraction.most);
}

absl::Status RunBenchKernels(const BenchKernelsFlags& flags) {
  const SignalWatch interrupted([] { ::_exit(130); });
  ProductsBenchOptions options;
  for (const std::string& text : flags.shapes) options.shapes.push_back(*ParseShape(text));
  options.gemm_tokens = flags.tokens;
  options.runs = flags.runs;
  options.weight_bytes = static_cast<size_t>(flags.megabytes) << 20;
  ExecContext exec(flags.threads > 0 ? flags.threads : UsableCpus());
  const ReadProbe probe;
  std::vector<double> read, dot;
  for (int i = 0; i < flags.runs; ++i) {
    read.push_back(probe.GbPerS(&exec));
    dot.push_back(DotGmacsPerS(&exec));
  }
  const Spread read_gbps = SpreadOf(read), dot_gmacs = SpreadOf(dot);
  if (!flags.json) {
    std::printf("products of weights in memory, %d threads, medians of %d runs\n", exec.threads(),
                flags.runs);
    std::printf("  reading 2 GiB, %s pages: %.1f GB/s (%.1f to %.1f)\n",
                probe.huge_pages() ? "huge" : "small", read_gbps.median, read_gbps.least,
                read_gbps.most);
    std::printf("  multiply-adds in registers: %.0f GMAC/s (%.0f to %.0f)\n", dot_gmacs.median,
                dot_gmacs.least, dot_gmacs.most);
  }
  const std::vector<ProductFigure> gemv = BenchGemv(options, probe, &exec);
  const std::vector<ProductFigure> gemm = BenchGemm(options, &exec);
  if (!flags.json) {
    for (const auto* figures : {&gemv, &gemm}) {
      for (const ProductFigure& f : *figures) PrintFigure(f);
    }
    std::printf("%s\n", MachineLine().c_str());
    return absl::OkStatus();
  }
  ordered_json machine = {{"threads", exec.threads()},
                          {"read_gbps", read_gbps.median},
                          {"read_gbps_spread", SpreadJson(read_gbps)},
                          {"huge_pages", probe.huge_pages()},
                          {"dot_gmacs", dot_gmacs.median},
                          {"dot_gmacs_spread", SpreadJson(dot_gmacs)}};
  machine.update(MachineJson());
  ordered_json out = {{"benchmark", "kernels"}, {"runs", flags.runs}, {"machine", machine}};
  for (const ProductFigure& f : gemv) out["gemv"].push_back(FigureJson(f));
  for (const ProductFigure& f : gemm) out["gemm"].push_back(FigureJson(f));
  PrintJson(out);
  return absl::OkStatus();
}

}  // namespace

void AddBenchKernels(CLI::App& bench, Command* run) {
  auto flags = std::make_shared<BenchKernelsFlags>();
  CLI::App* sub = bench.add_subcommand("kernels", "Ternary products against the machine's limits");
  sub->add_option("--shape", flags->shapes,
                  "ROWSxCOLS, several times; columns are a multiple of 64")
      ->check([](const std::string& text) {
        return ParseShape(text) ? std::string() : absl::StrCat(text, " is no ROWSxCOLS");
      });
  sub->add_option("--tokens", flags->tokens, "Columns of the matrix-matrix products")
      ->check(CLI::Range(2, 1024));
  sub->add_option("--threads", flags->threads, "Threads; 0 is every usable CPU")
      ->check(CLI::Range(0, 1024));
  sub->add_option("--runs", flags->runs, "Timed runs")->check(CLI::Range(1, 1000));
  sub->add_option("--megabytes", flags->megabytes,
                  "Weights read in one run; more than the caches hold")
      ->check(CLI::Range(1, 65536));
  sub->add_flag("--json", flags->json, "One JSON object: machine, gemv, gemm");
  sub->footer(
      "Bandwidth is what 64-byte loads get out of 2 GiB of small pages, measured before and after\n"
      "each product with the same threads; the multiply-adds run on operands in registers.\n"
      "Takes 2 GiB of memory beside the weights.\n\n"
      "Example:\n"
      "  chimera bench kernels --threads 1 --shape 6912x2560 --json");
  sub->callback([flags, run] { *run = [flags] { return RunBenchKernels(*flags); }; });
}

}  // namespace chimera
