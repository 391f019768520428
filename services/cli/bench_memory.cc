// chimera bench memory: how fast and how well sketches are found (libs/hdc/sketch_index.h).
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cluster/signals.h"
#include "services/cli/bench.h"
#include "services/cli/bench_memory_figures.h"
#include "services/cli/print_json.h"
#include "services/cli/progress_line.h"

namespace chimera {
namespace {

using nlohmann::ordered_json;

struct BenchMemoryFlags {
  int vectors = 200000;
  int queries = 5000;
  int peer_queries = 2000;
  int runs = 5;
  bool json = false;
};

struct Report {
  BuildFigure build;
  ScanFigure scan;
  SearchRun probing;
  CostFigure costs;
  std::vector<RecallFigure> recalls;
  PeerFigures peers;

  // The setting of the peer that is hardest to beat among those that find 95 in 100.
  const PeerFigure* hardest() const {
    const PeerFigure* hardest = nullptr;
    for (const PeerFigure& f : peers.multihash) {
      if (f.recall < 0.95) continue;
      const auto ratio = [](const PeerFigure& p) { return p.our_qps.median / p.qps.median; };
      if (hardest == nullptr || ratio(f) < ratio(*hardest)) hardest = &f;
    }
    return hardest;
  }
};

ordered_json PolicyJson(const SearchPolicy& policy) {
  return {{"tables", policy.tables},
          {"flip_tables", policy.flip_tables},
          {"min_votes", policy.min_votes}};
}

ordered_json PeerJson(const PeerFigure& f) {
  return {{"hashes", f.hashes},
          {"bits", f.bits},
          {"flips", f.flips},
          {"recall", f.recall},
          {"qps", f.qps.median},
          {"qps_spread", SpreadJson(f.qps)},
          {"our_policy", PolicyJson(f.policy)},
          {"our_recall", f.our_recall},
          {"our_qps", f.our_qps.median},
          {"our_qps_spread", SpreadJson(f.our_qps)},
          {"ratio", f.our_qps.median / f.qps.median}};
}

void AddPeers(const Report& r, ordered_json* out) {
  if (r.peers.version.empty()) return;
  (*out)["faiss_version"] = r.peers.version;
  (*out)["faiss_flat_qps"] = r.peers.flat_qps.median;
  (*out)["faiss_flat_qps_spread"] = SpreadJson(r.peers.flat_qps);
  (*out)["scan_over_faiss_flat"] = r.scan.qps.median / r.peers.flat_qps.median;
  for (const PeerFigure& f : r.peers.multihash) {
    (*out)["faiss_multihash"].push_back(PeerJson(f));
  }
  if (const PeerFigure* const f = r.hardest()) {
    (*out)["index_qps"] = f->our_qps.median;
    (*out)["index_recall"] = f->our_recall;
    (*out)["faiss_multihash_qps"] = f->qps.median;
    (*out)["faiss_multihash_recall"] = f->recall;
    (*out)["index_over_faiss_multihash"] = f->our_qps.median / f->qps.median;
  }
}

ordered_json ReportJson(const Report& r, const BenchMemoryFlags& flags) {
  ordered_json out = {{"benchmark", "memory"},
                      {"vectors", flags.vectors},
                      {"queries", flags.queries},
                      {"runs", flags.runs},
                      {"machine", MachineJson()},
                      {"memory_bandwidth_gbs", r.scan.read_gbps.median},
                      {"memory_bandwidth_gbs_spread", SpreadJson(r.scan.read_gbps)},
                      {"scan_qps", r.scan.qps.median},
                      {"scan_qps_spread", SpreadJson(r.scan.qps)},
                      {"scan_single_qps", r.scan.single_qps.median},
                      {"scan_single_qps_spread", SpreadJson(r.scan.single_qps)},
                      {"scan_bandwidth_ratio", r.scan.fraction.median},
                      {"scan_bandwidth_ratio_spread", SpreadJson(r.scan.fraction)},
                      {"index_p50_us", r.probing.p50_us()},
                      {"index_p99_us", r.probing.p99_us()},
                      {"exact_probing_qps", r.probing.qps()},
                      {"index_qps", r.probing.qps()},
                      {"index_recall", r.probing.recall},
                      {"insert_us", r.build.insert_us},
                      {"insert_cpu_us", r.build.insert_cpu_us},
                      {"insert_batch_us_spread", SpreadJson(r.build.insert_batch_us)},
                      {"accounted_bytes", r.build.accounted_bytes()},
                      {"index_bytes", r.build.index_bytes},
                      {"relation_bytes", r.build.relation_bytes},
                      {"metadata_bytes", r.build.metadata_bytes},
                      {"rss_bytes", r.build.rss_bytes}};
  out["costs_ns"] = {{"scan_vector", r.costs.scan_vector},
                     {"look_with_entries", r.costs.look},
                     {"rank", r.costs.rank}};
  for (const RecallFigure& f : r.recalls) {
    out["recall"].push_back({{"distance", f.distance},
                             {"recall_at_8", f.exact},
                             {"expected", f.exact_expected},
                             {"flips_recall_at_8", f.flips},
                             {"flips_expected", f.flips_expected}});
  }
  AddPeers(r, &out);
  return out;
}

void PrintReport(const Report& r, const BenchMemoryFlags& flags) {
  const double mib = 1 << 20;
  std::printf("%s sketches of 1 KiB, one thread\n", CountText(flags.vectors).c_str());
  std::printf("  insert: %.2f us, %.2f of it on the processor; median of thousands %.2f\n",
              r.build.insert_us, r.build.insert_cpu_us, r.build.insert_batch_us.median);
  std::printf("  memory: %.0f MiB accounted (index %.0f), %.0f MiB resident\n",
              static_cast<double>(r.build.accounted_bytes()) / mib,
              static_cast<double>(r.build.index_bytes) / mib,
              static_cast<double>(r.build.rss_bytes) / mib);
  std::printf("  scan: %.1f queries/s many at once, %.1f one by one, %.0f %% of %.1f GB/s\n",
              r.scan.qps.median, r.scan.single_qps.median, 100 * r.scan.fraction.median,
              r.scan.read_gbps.median);
  std::printf("  exact probing: %.0f queries/s, p50 %.0f us, p99 %.0f us\n", r.probing.qps(),
              r.probing.p50_us(), r.probing.p99_us());
  for (const RecallFigure& f : r.recalls) {
    std::printf("  distance %.2f: recall %.3f (%.3f expected), with flips %.3f (%.3f)\n",
                f.distance, f.exact, f.exact_expected, f.flips, f.flips_expected);
  }
  if (!r.peers.version.empty()) {
    std::printf("  FAISS %s Flat: %.1f queries/s, the scan is %.1f times as fast\n",
                r.peers.version.c_str(), r.peers.flat_qps.median,
                r.scan.qps.median / r.peers.flat_qps.median);
  }
  for (const PeerFigure& f : r.peers.multihash) {
    std::printf(
        "  FAISS MultiHash %dx%d, %d flips: recall %.4f, %.0f queries/s; ours %.4f, %.0f: %.1f "
        "times\n",
        f.hashes, f.bits, f.flips, f.recall, f.qps.median, f.our_recall, f.our_qps.median,
        f.our_qps.median / f.qps.median);
  }
  std::printf("%s\n", MachineLine().c_str());
}

absl::Status RunBenchMemory(const BenchMemoryFlags& flags) {
  const SignalWatch interrupted([] { ::_exit(130); });
  Report report;
  CHIMERA_ASSIGN_OR_RETURN(const SketchIndex index,
                           BuildIndex(static_cast<size_t>(flags.vectors), &report.build));
  report.scan = MeasureScan(index, flags.runs);
  report.probing = MeasureProbing(index, flags.queries);
  report.costs = MeasureCosts(index, report.scan, std::min(flags.queries, 500));
  for (const double distance : {0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40}) {
    report.recalls.push_back(MeasureRecalls(index, distance, flags.queries));
  }
  report.peers = MeasurePeers(index, flags.peer_queries, flags.runs);
  if (flags.json) {
    PrintJson(ReportJson(report, flags));
  } else {
    PrintReport(report, flags);
  }
  return absl::OkStatus();
}

}  // namespace

void AddBenchMemory(CLI::App& bench, Command* run) {
  auto flags = std::make_shared<BenchMemoryFlags>();
  CLI::App* sub = bench.add_subcommand("memory", "Searching sketches, beside FAISS if it is there");
  sub->add_option("--vectors", flags->vectors, "Sketches in the index")
      ->check(CLI::Range(4096, 1 << 24));
  sub->add_option("--queries", flags->queries, "Queries for each distance of the recall table")
      ->check(CLI::Range(100, 1000000));
  sub->add_option("--peer-queries", flags->peer_queries, "Queries for each setting of FAISS")
      ->check(CLI::Range(100, 1000000));
  sub->add_option("--runs", flags->runs, "Timed runs")->check(CLI::Range(1, 1000));
  sub->add_flag("--json", flags->json, "One JSON object with every figure");
  sub->footer(
      "Random sketches; a query is one of them with bits flipped. FAISS is measured when the\n"
      "program was built with it (scripts/install_packages.sh bench); index_qps is then that of\n"
      "the setting hardest to beat. Takes 2 GiB beside the index, and minutes.\n\n"
      "Example:\n"
      "  chimera bench memory --vectors 50000 --json");
  sub->callback([flags, run] { *run = [flags] { return RunBenchMemory(*flags); }; });
}

}  // namespace chimera
