// FAISS's binary indexes, measured as ours are: the peer of chimera bench memory. Compiled only
// where FAISS was found (CHIMERA_FAISS); nothing else of the product uses it. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "hdc/search_bench.h"
#include "hdc/sketch_index.h"

namespace faiss {
struct IndexBinary;
struct IndexBinaryMultiHash;
}  // namespace faiss

namespace chimera {

struct PeerRun {
  double qps = 0;
  double recall = 0;  // among the nearest eight
};

// An index of all vectors of ours, ids 0..size()-1. Thread-compatible.
class FaissPeer {
 public:
  static std::unique_ptr<FaissPeer> Flat(const SketchIndex& index);
  // `hashes` tables over the first hashes * bits bits.
  static std::unique_ptr<FaissPeer> MultiHash(const SketchIndex& index, int hashes, int bits);
  ~FaissPeer();

  // All queries in one call. flips: bits flipped in each table of MultiHash.
  PeerRun Run(const NearQueries& queries, int flips) const;

 private:
  // hash is the peer itself, or null.
  FaissPeer(std::unique_ptr<faiss::IndexBinary> peer, faiss::IndexBinaryMultiHash* hash,
            const SketchIndex& index);

  std::unique_ptr<faiss::IndexBinary> peer_;
  faiss::IndexBinaryMultiHash* const hash_;
};

// "1.7.3"
std::string FaissVersion();

}  // namespace chimera
