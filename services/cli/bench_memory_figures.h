// The figures of chimera bench memory and how they are taken: an index of random vectors, searched
// by one thread, beside the memory's bandwidth and FAISS's binary indexes in the same run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hdc/search_bench.h"
#include "hdc/sketch_index.h"
#include "ternary/products_bench.h"

namespace chimera {

struct RecallFigure {
  double distance = 0;
  double exact = 0, exact_expected = 0;  // recall at 8 of exact probing
  double flips = 0, flips_expected = 0;  // with the flips of all tables
};

struct ScanFigure {
  Spread qps;         // many queries in one pass over the vectors
  Spread single_qps;  // one query a pass
  Spread read_gbps;   // before and after each of those
  Spread fraction;    // bytes of vectors a second of one query a pass, of that
};

// The peer at one setting, and our cheapest policy that finds at least as much of the same queries.
struct PeerFigure {
  int hashes = 0, bits = 0, flips = 0;
  Spread qps, our_qps;
  double recall = 0, our_recall = 0;
  SearchPolicy policy;
};

struct PeerFigures {
  std::string version;  // empty without FAISS
  Spread flat_qps;
  std::vector<PeerFigure> multihash;
};

struct BuildFigure {
  double insert_us = 0;       // the mean over all vectors
  double insert_cpu_us = 0;   // of it on the processor, without what other programs took
  Spread insert_batch_us;     // means of 1,000 inserts
  size_t index_bytes = 0;     // SketchIndex::MemoryBytes
  size_t relation_bytes = 0;  // 500,000 of 16 bytes, and their offsets by vector
  size_t metadata_bytes = 0;  // 64 bytes a vector
  size_t rss_bytes = 0;       // of the process with nothing but the index
  size_t accounted_bytes() const { return index_bytes + relation_bytes + metadata_bytes; }
};

// What SearchCosts has, from these runs: nanoseconds.
struct CostFigure {
  double scan_vector = 0, look = 0, rank = 0;  // a look has its entries in it
};

absl::StatusOr<SketchIndex> BuildIndex(size_t vectors, BuildFigure* figure);
RecallFigure MeasureRecalls(const SketchIndex& index, double distance, int queries);
ScanFigure MeasureScan(const SketchIndex& index, int runs);
// Latency of exact probing at distance 0.1 and what a run of it costs.
SearchRun MeasureProbing(const SketchIndex& index, int queries);
CostFigure MeasureCosts(const SketchIndex& index, const ScanFigure& scan, int queries);
PeerFigures MeasurePeers(const SketchIndex& index, int queries, int runs);

}  // namespace chimera
