#include "services/cli/bench_memory_faiss.h"

#include <faiss/Index.h>
#include <faiss/IndexBinaryFlat.h>
#include <faiss/IndexBinaryHash.h>
#include <omp.h>

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"

namespace chimera {

FaissPeer::FaissPeer(std::unique_ptr<faiss::IndexBinary> peer, faiss::IndexBinaryMultiHash* hash,
                     const SketchIndex& index)
    : peer_(std::move(peer)), hash_(hash) {
  omp_set_num_threads(1);
  for (uint64_t id = 0; id < index.size(); ++id) {
    peer_->add(1, reinterpret_cast<const uint8_t*>(index.Find(id)->words.data()));
  }
}

FaissPeer::~FaissPeer() = default;

std::unique_ptr<FaissPeer> FaissPeer::Flat(const SketchIndex& index) {
  return std::unique_ptr<FaissPeer>(
      new FaissPeer(std::make_unique<faiss::IndexBinaryFlat>(kHyperBits), nullptr, index));
}

std::unique_ptr<FaissPeer> FaissPeer::MultiHash(const SketchIndex& index, int hashes, int bits) {
  auto peer = std::make_unique<faiss::IndexBinaryMultiHash>(kHyperBits, hashes, bits);
  faiss::IndexBinaryMultiHash* const hash = peer.get();
  return std::unique_ptr<FaissPeer>(new FaissPeer(std::move(peer), hash, index));
}

PeerRun FaissPeer::Run(const NearQueries& queries, int flips) const {
  constexpr int kNearest = 8;
  if (hash_ != nullptr) hash_->nflip = flips;
  const auto n = static_cast<int64_t>(queries.queries.size());
  std::vector<int32_t> distances(queries.queries.size() * kNearest);
  std::vector<faiss::Index::idx_t> ids(distances.size());
  const auto start = std::chrono::steady_clock::now();
  peer_->search(n, reinterpret_cast<const uint8_t*>(queries.queries.data()), kNearest,
                distances.data(), ids.data());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  int hits = 0;
  for (size_t q = 0; q < queries.queries.size(); ++q) {
    const auto* const first = ids.data() + q * kNearest;
    hits += std::find(first, first + kNearest,
                      static_cast<faiss::Index::idx_t>(queries.targets[q])) != first + kNearest;
  }
  return {.qps = static_cast<double>(n) / took.count(),
          .recall = static_cast<double>(hits) / static_cast<double>(n)};
}

std::string FaissVersion() {
  return absl::StrCat(FAISS_VERSION_MAJOR, ".", FAISS_VERSION_MINOR, ".", FAISS_VERSION_PATCH);
}

}  // namespace chimera
