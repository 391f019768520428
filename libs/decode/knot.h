// The Knot as the surface sees it: a local model or a remote service behind one interface
// (DESIGN D4, D9, D15, D22). Adapters live in cluster.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "decode/cost_curve.h"
#include "hdc/hypervector.h"

namespace chimera {

inline constexpr int kRowsMax = 1024;         // D4's bound K
inline constexpr int kPenaltyWindow = 1024;   // tokens the repetition penalty looks back
inline constexpr int kVerifyNodesMax = 4096;  // nodes of one pass; longer prompts take several
inline constexpr int kWantedNodesMax = 64;    // of them those that may ask for a distribution
inline constexpr int kSnapshotsMax = 2;       // that a stream holds (D14)
inline constexpr int64_t kSnapshotChunkBytes = 256 << 10;   // of ReadSnapshot
inline constexpr int64_t kRestoreChunkBytesMax = 1 << 20;   // of KnotRestore::Add
inline constexpr int64_t kRestoreFirstChunkBytesMin = 128;  // the header of a snapshot

// Which tokens may follow a node: one bit a token, least significant first, in as many words as the
// vocabulary needs.
using NodeMask = std::vector<uint64_t>;

// The class of every token of the vocabulary, below kClassesMax. What a class stands for is its
// owner's business.
using ClassTable = std::vector<uint8_t>;
inline constexpr int kClassesMax = 64;
inline constexpr int kTokenWeightsMax = 64;  // of one node
inline constexpr float kWeightMax = 100.0f;  // of a class or a token, either sign

// Added to the logit of one token, on top of its class's weight.
struct TokenWeight {
  int32_t token_id = 0;
  float weight = 0.0f;
};

// One position of a pass. Parents come before children; parent -1 is the last committed position.
struct VerifyNode {
  int32_t parent = -1;
  int32_t token_id = 0;
  bool want_distribution = false;
  std::shared_ptr<const NodeMask> mask;    // null: every token that is text, and end-of-text
  std::vector<float> class_weights;        // of the first classes, at most kClassesMax; 0 the rest
  std::vector<TokenWeight> token_weights;  // at most kTokenWeightsMax
};

// What the knot does to logits before it returns them: penalty, weights, mask, temperature, in
// order.
struct LogitTransform {
  float temperature = 1.0f;         // 0: greedy, logits stay untempered
  float repetition_penalty = 1.0f;  // over the last kPenaltyWindow tokens and the node's path
  std::shared_ptr<const ClassTable> class_table;  // null: no node has class weights
  int rows_max = kRowsMax;                        // 1..kRowsMax
  float top_p = 1.0f;  // the rows a pass returns end where their mass reaches it
  // Leaves out raw_log_sum_exp, the one figure that masked rows count in: with it the head has to
  // evaluate every row whatever the mask allows. For log-probabilities, and for nothing else.
  bool omit_raw_mass = false;
};

// A sketch that pulls on the bits of the span knot (docs/layers/span_knot.md). Absent and weight 0
// are the same, exactly.
struct SketchField {
  std::shared_ptr<const HyperVector> sketch;
  float weight = 0.0f;  // 0..1
};

// They may change at positions divisible by 16 only (DESIGN D20) and hold for the whole pass.
struct SketchFieldSet {
  SketchField memory, grammar, debt;
};

struct VerifyRequest {
  std::vector<VerifyNode> nodes;
  int32_t commit_node = -1;    // node of the previous pass to commit first; -1: nothing pending
  bool commit_all = true;      // nodes form a chain and all of it is committed after the pass
  int loops = 0;               // 0: as many as the stream was opened for
  bool exit_early = false;     // one node: stop looping once an iteration changes too little
  bool want_surprise = false;  // of every node; only with commit_all
  LogitTransform transform;
  SketchFieldSet fields;  // a model without span-knot layers passes them over
};

// Next-token distribution after one node, sparse and exact.
struct NodeDistribution {
  int32_t node = 0;
  std::vector<int32_t> token_ids;  // by (-logit, id), after the transform
  std::vector<float> logits;       // transformed
  std::vector<float> raw_logits;   // of the same rows, before the transform
  float log_sum_exp = 0.0f;        // over all allowed rows, transformed
  float raw_log_sum_exp = 0.0f;    // over all rows, before the transform; NaN when it is omitted
  float entropy_bits = 0.0f;       // of the transformed distribution
  int32_t allowed_rows = 0;
};

struct VerifyResult {
  std::vector<NodeDistribution> distributions;  // of the nodes that asked, in node order
  int64_t position = 0;                         // committed positions afterwards
  int tokens_run = 0;
  int loops_run = 1;
  float residual = 0.0f;
  // How much each node surprised the Titans layers: the norm of their gradients at its token
  // (math-inference-training C.6), finite and at least 0. Empty when nobody asked, and of a model
  // without such layers.
  std::vector<float> surprises;
};

// A snapshot that a stream holds.
struct SnapshotInfo {
  int id = 0;  // within the stream
  int64_t total_bytes = 0;
  int64_t position = 0;  // committed positions in it
};

// One mutable timeline, pinned to one model. Destroying it frees the slot.
// Thread-compatible, but Cancel may be called from any thread.
class KnotStream {
 public:
  virtual ~KnotStream() = default;
  virtual const std::string& model_id() const = 0;
  // Runs one pass. Errors leave the stream unusable, except INVALID_ARGUMENT, which changes
  // nothing.
  virtual absl::StatusOr<VerifyResult> Verify(const VerifyRequest& request) = 0;
  // Rows [first, first + count) of a node of the last Verify, in the same order; from row 0 they
  // end at top_p as those of Verify do.
  virtual absl::StatusOr<NodeDistribution> MoreRows(int32_t node, int32_t first, int32_t count) = 0;
  // The four below change nothing when they fail, and the stream goes on. A stream that keeps no
  // snapshots answers UNIMPLEMENTED.
  //
  // Keeps all of the stream as it stands (docs/formats/snapshot.md): the committed positions, the
  // last tokens, and surface, at most 64 KiB that the surface keeps beside them. A window that was
  // not committed and the sketch fields are no part of it. RESOURCE_EXHAUSTED when kSnapshotsMax
  // are held or the knot has no memory left; INVALID_ARGUMENT for a surface half that is too large.
  virtual absl::StatusOr<SnapshotInfo> TakeSnapshot(std::string_view surface);
  // kSnapshotChunkBytes from an offset on, less at the end.
  virtual absl::StatusOr<std::string> ReadSnapshot(int id, int64_t offset);
  virtual absl::Status DropSnapshot(int id);
  // A second stream in the state of this one, fields included; admitted and failing as
  // Knot::Open. It holds no snapshots.
  virtual absl::StatusOr<std::unique_ptr<KnotStream>> Fork(int64_t deadline_ns);
  // Makes a running or later call return CANCELLED within one step. Thread-safe.
  virtual void Cancel() = 0;
};

// A stream that came out of a snapshot.
struct RestoredStream {
  std::unique_ptr<KnotStream> stream;
  int64_t position = 0;
  int loops = 0;        // the most a pass may ask for
  std::string surface;  // what the surface kept
};

// A snapshot on its way in. It has the stream's slot from the start; destroying it before Finish
// frees the slot. Thread-compatible.
class KnotRestore {
 public:
  virtual ~KnotRestore() = default;
  // Bytes there are and will be.
  virtual int64_t received_bytes() const = 0;
  virtual int64_t total_bytes() const = 0;
  // The next bytes: offset is received_bytes(), data 1..kRestoreChunkBytesMax bytes. After an error
  // the restore is of no use.
  virtual absl::Status Add(int64_t offset, std::string_view data) = 0;
  // Call once, with every byte there. DATA_LOSS names the fault of a damaged snapshot. The first
  // pass of the stream may bring sketch fields at any position.
  virtual absl::StatusOr<RestoredStream> Finish() = 0;
};

// The digests of a model's files, which a knot may check while it serves already.
enum class WeightsCheck { kUnknown, kRunning, kGood, kDamaged };

struct KnotModelInfo {
  std::string model_id;
  std::string name;
  int vocab_size = 0;
  int64_t weight_bytes = 0;
  int64_t state_bytes = 0;
  int streams_running = 0;
  int streams_max = 0;
  CostCurve cost;  // empty until the knot has measured
  int64_t memory_bytes = 0;
  int64_t memory_limit_bytes = 0;  // 0: none
  WeightsCheck weights_check = WeightsCheck::kUnknown;
};

// One file of a model folder, in memory.
struct ModelFile {
  std::string name;
  std::string bytes;
};

// Thread-safe.
class Knot {
 public:
  virtual ~Knot() = default;
  virtual absl::StatusOr<KnotModelInfo> CurrentModel() = 0;
  // model_id empty: the current model. FAILED_PRECONDITION names both ids on a mismatch,
  // RESOURCE_EXHAUSTED when every slot is taken. deadline_ns is on Clock::Real(); 0 means none.
  // DATA_LOSS when the model's files turned out to be damaged.
  // loops: the most iterations of the looped block any pass may ask for, which the stream's state
  // has room for; 0 is the model's default.
  virtual absl::StatusOr<std::unique_ptr<KnotStream>> Open(const std::string& model_id,
                                                           int64_t deadline_ns, int loops) = 0;
  // Begins a stream from a snapshot. first is its beginning, kRestoreFirstChunkBytesMin to
  // kRestoreChunkBytesMax bytes. Before a byte is kept its header is checked: DATA_LOSS names a
  // fault, FAILED_PRECONDITION a model the knot does not hold; then it is admitted as in Open.
  // UNIMPLEMENTED from a knot that keeps no snapshots.
  virtual absl::StatusOr<std::unique_ptr<KnotRestore>> Restore(std::string_view first,
                                                               int64_t deadline_ns);
  // config.json and tokenizer.model of a model.
  virtual absl::StatusOr<std::vector<ModelFile>> FetchModel(const std::string& model_id) = 0;
  // Takes the model folder, checks it, and makes it current; returns its id.
  virtual absl::StatusOr<std::string> Publish(const std::string& folder) = 0;
};

}  // namespace chimera
