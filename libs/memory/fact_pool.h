// Which facts one user's memory keeps (math-inference-training C.6): a pool of a fixed size. When
// it is full, a batch of new facts takes the place of as many old ones, drawn with a probability
// proportional to 1 / (eps + max(w, -eps / 2)), where w is what retrieving the fact has been worth.
// Facts the user stored are pinned and never drawn. With equal weights a fact survives n batches of
// k with probability (1 - k / N)^n. The pool knows ids; texts and sketches are the store's.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "memory/write_gate.h"

namespace chimera {

struct FactPoolOptions {
  int64_t facts_max = 200000;   // semantic_memory.capacity
  int batch_max = 16;           // facts of one Append
  double eps = 0.1;             // weight that makes a fact half as likely to go as one of weight 0
  uint64_t seed = 0;            // of the draws
  int64_t snapshot_ops = 4096;  // log records after which WantsSnapshot says so
};

struct PooledFact {
  uint64_t id = 0;
  bool pinned = false;
  FactTrial trial;

  bool operator==(const PooledFact&) const = default;
};

// About 80 bytes a fact. Thread-compatible.
//
// Every change is also a record of a log (TakeLog), in groups that end in a commit record; a
// snapshot (Encode) with the log since then gives the same pool again, and a group that a crash
// tore is left out. Draws are named by (seed, purpose 5, number of the batch, id of the fact), so
// they do not depend on the order facts lie in.
class FactPool {
 public:
  // facts_max 1 .. 2^26, batch_max 1 .. facts_max, eps > 0 (checked).
  explicit FactPool(const FactPoolOptions& options = {});

  // Takes a batch of 1 .. batch_max facts in and returns the ids that had to go. A fact that is
  // there keeps its place and weight (and becomes pinned if it comes pinned). INVALID_ARGUMENT:
  // size of the batch, or an id twice in it; RESOURCE_EXHAUSTED: too few facts are not pinned.
  // After an error nothing has changed.
  absl::StatusOr<std::vector<uint64_t>> Append(std::span<const PooledFact> batch);
  // NOT_FOUND when the fact is not there.
  absl::Status SetPinned(uint64_t id, bool pinned);
  absl::Status SetTrial(uint64_t id, const FactTrial& trial);
  // False when it was not there.
  bool Erase(uint64_t id);

  // Null when absent; valid until the next change.
  const PooledFact* Find(uint64_t id) const;
  // Oldest first.
  std::vector<PooledFact> Facts() const;
  int64_t size() const { return static_cast<int64_t>(slot_of_.size()); }
  int64_t pinned() const { return pinned_; }
  uint64_t batches() const { return batches_; }
  int64_t dropped() const { return dropped_; }  // by batches, ever

  // The log's bytes since the last TakeLog or Encode.
  std::string TakeLog();
  bool WantsSnapshot() const { return ops_since_snapshot_ >= options_.snapshot_ops; }

  // A snapshot, magic CHFACTPL; the log begins anew behind it.
  std::string Encode();
  // DATA_LOSS naming the fault; FAILED_PRECONDITION when it holds more than options.facts_max.
  static absl::StatusOr<FactPool> Decode(const FactPoolOptions& options, std::string_view snapshot);
  // Applies the log that was written behind the snapshot this pool was decoded from. Returns the
  // bytes that were applied: what a crash tore at the end is left out, and of a log behind another
  // snapshot everything. DATA_LOSS when a whole group contradicts the pool, which then holds the
  // groups before it.
  absl::StatusOr<size_t> Replay(std::string_view log);

 private:
  struct Slot {
    PooledFact fact;
    uint64_t arrival = 0;  // order of Facts()
    bool used = false;
  };
  enum class Op : uint8_t { kPut = 1, kDrop = 2, kCommit = 3 };

  PooledFact* FindMutable(uint64_t id);
  std::vector<uint64_t> Draw(int64_t k) const;
  void Put(const PooledFact& fact);
  void Drop(uint64_t id, bool by_batch);
  void Log(Op op, const PooledFact& fact);
  void Commit();
  absl::Status CheckGroup(std::string_view group) const;
  void ApplyGroup(std::string_view group);

  FactPoolOptions options_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::unordered_map<uint64_t, uint32_t> slot_of_;
  uint64_t arrivals_ = 0;
  uint64_t batches_ = 0;
  int64_t pinned_ = 0;
  int64_t dropped_ = 0;
  std::string log_;
  uint32_t log_check_ = 0;  // of the last record: records are chained
  int64_t ops_since_snapshot_ = 0;
};

}  // namespace chimera
