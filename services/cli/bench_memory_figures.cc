#include "services/cli/bench_memory_figures.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "base/exec_context.h"
#include "base/status_macros.h"
#include "ternary/machine_peak.h"
#ifdef CHIMERA_FAISS
#include "services/cli/bench_memory_faiss.h"
#endif

namespace chimera {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kRelations = 500000, kRelationBytes = 16, kMetadataBytes = 64;
constexpr int kScanQueries = 64;
constexpr double kPeerDistance = 0.1;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double CpuSeconds() {
  timespec time = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

size_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  size_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

absl::StatusOr<SketchIndex> BuildIndex(size_t vectors, BuildFigure* figure) {
  CHIMERA_ASSIGN_OR_RETURN(SketchIndex index, SketchIndex::Create(vectors, 1));
  constexpr size_t kBatch = 1000;
  double seconds = 0, cpu_seconds = 0;
  std::vector<double> batches;
  std::vector<HyperVector> batch;
  for (size_t first = 0; first < vectors; first += batch.size()) {
    batch.clear();
    const size_t count = std::min(kBatch, vectors - first);
    for (size_t i = 0; i < count; ++i) batch.push_back(RandomVector(1, first + i));
    const auto start = Clock::now();
    const double cpu_start = CpuSeconds();
    for (size_t i = 0; i < count; ++i) CHIMERA_RETURN_IF_ERROR(index.Insert(first + i, batch[i]));
    cpu_seconds += CpuSeconds() - cpu_start;
    const double took = SecondsSince(start);
    seconds += took;
    batches.push_back(1e6 * took / static_cast<double>(count));
  }
  figure->insert_us = 1e6 * seconds / static_cast<double>(vectors);
  figure->insert_cpu_us = 1e6 * cpu_seconds / static_cast<double>(vectors);
  figure->insert_batch_us = SpreadOf(batches);
  figure->index_bytes = index.MemoryBytes();
  figure->relation_bytes = kRelations * kRelationBytes + (vectors + 1) * 2 * sizeof(uint64_t);
  figure->metadata_bytes = vectors * kMetadataBytes;
  figure->rss_bytes = ResidentBytes();
  return index;
}

RecallFigure MeasureRecalls(const SketchIndex& index, double distance, int queries) {
  SearchScratch scratch;
  const NearQueries near = MakeNearQueries(index, distance, queries);
  return {.distance = distance,
          .exact = RunSearches(index, kExactProbing, near, &scratch).recall,
          .exact_expected = ExpectedRecall(kExactProbing, distance),
          .flips = RunSearches(index, kFlipsOnAll, near, &scratch).recall,
          .flips_expected = ExpectedRecall(kFlipsOnAll, distance)};
}

ScanFigure MeasureScan(const SketchIndex& index, int runs) {
  constexpr int kSingle = 8;
  ExecContext one_thread(1);
  const ReadProbe probe;
  SearchScratch scratch;
  const NearQueries near = MakeNearQueries(index, kPeerDistance, kScanQueries);
  std::vector<std::vector<SketchMatch>> found(near.queries.size());
  const double bytes = static_cast<double>(index.size()) * kHyperBytes;
  std::vector<double> qps, single, read, fraction;
  for (int run = 0; run < runs; ++run) {
    auto start = Clock::now();
    index.NearestOfMany(near.queries, 8, &scratch, found);
    qps.push_back(kScanQueries / SecondsSince(start));
    const double before = probe.GbPerS(&one_thread);
    start = Clock::now();
    for (int q = 0; q < kSingle; ++q) {
      index.Nearest(near.queries[static_cast<size_t>(q)], 8, kScan, &scratch, &found[0]);
    }
    single.push_back(kSingle / SecondsSince(start));
    read.push_back((before + probe.GbPerS(&one_thread)) / 2);
    fraction.push_back(single.back() * bytes / 1e9 / read.back());
  }
  return {SpreadOf(qps), SpreadOf(single), SpreadOf(read), SpreadOf(fraction)};
}

SearchRun MeasureProbing(const SketchIndex& index, int queries) {
  SearchScratch scratch;
  const NearQueries near = MakeNearQueries(index, kPeerDistance, queries);
  return RunSearches(index, kExactProbing, near, &scratch);
}

CostFigure MeasureCosts(const SketchIndex& index, const ScanFigure& scan, int queries) {
  SearchScratch scratch;
  // Unrelated vectors; so many votes nobody has, so that nothing is ranked.
  NearQueries far;
  for (int q = 0; q < queries; ++q) {
    far.queries.push_back(RandomVector(2, static_cast<uint64_t>(q)));
    far.targets.push_back(0);
  }
  const auto median_ns = [&](SearchPolicy policy) {
    return 1000 * RunSearches(index, policy, far, &scratch).p50_us();
  };
  SearchPolicy silent = kFlipsOnAll;
  silent.min_votes = kLshTables;
  const auto vectors = static_cast<double>(index.size());
  const int looks = kLshTables * (1 + kLshBitsPerTable);
  const double meeting = median_ns(silent);
  const double candidates = vectors * ExpectedRecall(kFlipsOnAll, 0.5);
  return {.scan_vector = 1e9 / scan.single_qps.median / vectors,
          .look = meeting / looks,
          .rank = (median_ns(kFlipsOnAll) - meeting) / candidates};
}

#ifdef CHIMERA_FAISS

namespace {

// Our cheapest policy that finds at least as much as the peer did, asked for more and more.
void FindEqual(const SketchIndex& index, const NearQueries& near, int runs, PeerFigure* figure) {
  SearchScratch scratch;
  // A peer that missed nothing may have missed half a query of more.
  double missed = std::max(1 - figure->recall, 0.5 / static_cast<double>(near.queries.size()));
  for (int attempt = 0; attempt < 8; ++attempt, missed /= 2) {
    figure->policy = CheapestPolicy(index.size(), kPeerDistance, 1 - missed);
    figure->our_recall = RunSearches(index, figure->policy, near, &scratch).recall;
    if (figure->our_recall >= figure->recall) break;
  }
  std::vector<double> qps;
  for (int run = 0; run < runs; ++run) {
    qps.push_back(RunSearches(index, figure->policy, near, &scratch).qps());
  }
  figure->our_qps = SpreadOf(qps);
}

}  // namespace

PeerFigures MeasurePeers(const SketchIndex& index, int queries, int runs) {
  PeerFigures figures;
  figures.version = FaissVersion();
  {
    const NearQueries near = MakeNearQueries(index, kPeerDistance, kScanQueries);
    const auto flat = FaissPeer::Flat(index);
    std::vector<double> qps;
    for (int run = 0; run < runs; ++run) qps.push_back(flat->Run(near, 0).qps);
    figures.flat_qps = SpreadOf(qps);
  }
  const NearQueries near = MakeNearQueries(index, kPeerDistance, queries);
  struct Setting {
    int hashes, bits, flips_most;
  };
  for (const Setting& s : {Setting{8, 16, 1}, {16, 16, 0}, {32, 16, 0}, {32, 20, 0}, {64, 20, 0}}) {
    const auto peer = FaissPeer::MultiHash(index, s.hashes, s.bits);
    for (int flips = 0; flips <= s.flips_most; ++flips) {
      PeerFigure figure = {.hashes = s.hashes, .bits = s.bits, .flips = flips};
      std::vector<double> qps;
      for (int run = 0; run < runs; ++run) {
        const PeerRun got = peer->Run(near, flips);
        qps.push_back(got.qps);
        figure.recall = got.recall;
      }
      figure.qps = SpreadOf(qps);
      FindEqual(index, near, runs, &figure);
      figures.multihash.push_back(figure);
    }
  }
  return figures;
}

#else

PeerFigures MeasurePeers(const SketchIndex&, int, int) { return {}; }

#endif

}  // namespace chimera
