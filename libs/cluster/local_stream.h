// One stream of LocalKnot. Internal to cluster: local_knot.cc makes them.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/huge_pages.h"
#include "base/metrics_sink.h"
#include "cluster/held_snapshots.h"
#include "cluster/memory_budget.h"
#include "cluster/pass_scheduler.h"
#include "cluster/stream_host.h"
#include "decode/knot.h"
#include "decode/logit_transform.h"
#include "model/model.h"
#include "model/step.h"
#include "model/window.h"

namespace chimera {

// Thread-compatible, except Cancel.
class LocalStream final : public KnotStream {
 public:
  // scheduler and metrics are borrowed (metrics may be null); on_close owns them and is dropped
  // with the stream, after it ran. loops: the most a pass may ask for; 0 is the model's default.
  LocalStream(std::shared_ptr<const Model> model, int loops, PassScheduler* scheduler,
              MetricsSink* metrics, int64_t deadline_ns, std::function<void()> on_close);
  ~LocalStream() override;

  const std::string& model_id() const override { return model_->id(); }
  absl::StatusOr<VerifyResult> Verify(const VerifyRequest& request) override;
  absl::StatusOr<NodeDistribution> MoreRows(int32_t node, int32_t first, int32_t count) override;
  absl::StatusOr<SnapshotInfo> TakeSnapshot(std::string_view surface) override;
  absl::StatusOr<std::string> ReadSnapshot(int id, int64_t offset) override;
  absl::Status DropSnapshot(int id) override;
  absl::StatusOr<std::unique_ptr<KnotStream>> Fork(int64_t deadline_ns) override;
  void Cancel() override;

  // Before the first call: the knot it belongs to.
  void SetHost(std::shared_ptr<StreamHost> host);
  // Before the first pass: goes on from a snapshot of the same model and loops.
  absl::Status Adopt(std::string_view snapshot, std::string* surface);
  int64_t position() const { return position_; }
  int loops() const { return state_.loops(); }
  // An error when it is broken, cancelled or late.
  absl::Status Usable() const;

 private:
  // A node of the last pass whose distribution was asked for.
  struct Wanted {
    int32_t node = 0;
    size_t history_end = 0;     // committed tokens before its path
    std::vector<int32_t> path;  // tokens after them, the node's own last
    std::shared_ptr<const NodeMask> mask;
    std::vector<float> class_weights;
    std::vector<TokenWeight> token_weights;
  };

  absl::Status Validate(const VerifyRequest& request) const;
  absl::Status ValidateNodes(const VerifyRequest& request) const;
  absl::Status ValidateWindow(const VerifyRequest& request) const;
  absl::Status ValidateFields(const VerifyRequest& request) const;
  void TakeFields(const SketchFieldSet& fields);
  // Where the pass begins, with what it commits first.
  int64_t StartOf(const VerifyRequest& request) const;
  absl::Status Run(const VerifyRequest& request, VerifyResult* result);
  absl::Status RunChain(const VerifyRequest& request, VerifyResult* result);
  size_t PieceEnd(const VerifyRequest& request, size_t begin) const;
  absl::Status RunPiece(const VerifyRequest& request, size_t begin, size_t end,
                        VerifyResult* result);
  absl::Status RunWindow(const VerifyRequest& request, VerifyResult* result);
  absl::Status RunJob(size_t first_wanted, float* surprises, VerifyResult* result);
  absl::Status AddDistributions(size_t first_wanted, size_t n, std::span<const int32_t> tiles,
                                VerifyResult* result);
  std::vector<int32_t> WindowPath(int node) const;
  void CommitWindow(int32_t node);
  // RESOURCE_EXHAUSTED where the budget has no room for the buffers of this pass; the stream can
  // be used as before.
  absl::Status HoldBuffers(const VerifyRequest& request);
  // Room for the logits of so many rows.
  void ReserveLogits(size_t rows);
  // Makes room for the hidden vector of a node whose distribution is wanted.
  void Want(int32_t node, std::vector<int32_t> path, const VerifyNode& from);
  // The tiles to evaluate for a mask instead of the whole head; empty when that does not pay.
  absl::StatusOr<std::span<const int32_t>> TilesFor(const Wanted& wanted);
  float* HiddenOf(size_t wanted);
  // logits: of all rows, or those of TilesFor.
  absl::StatusOr<NodeDistribution> Distribution(const Wanted& wanted, std::span<const float> logits,
                                                int first, int count);
  PassLimits Limits() const { return {&cancelled_, deadline_ns_}; }
  absl::Status Stopped() const;
  void ReportPass(const VerifyResult& result, const char* kind);
  // Tokens the stream remembers as they were: context_tiers[recent_ring].
  size_t RecentMax() const;
  std::span<const int32_t> Recent() const;
  void ReportGates();

  const std::shared_ptr<const Model> model_;
  PassScheduler* const scheduler_;
  const std::shared_ptr<PassEngine> engine_;
  MetricsSink* const metrics_;
  const int64_t deadline_ns_;
  const std::function<void()> on_close_;
  std::atomic<bool> cancelled_{false};

  BraidState state_;
  Window window_;  // open: the last pass was one that has not been committed
  LogitTransformer transformer_;
  LogitTransform transform_;        // of the last pass
  SketchFieldSet fields_;           // of the last pass
  SpanFields span_fields_;          // the same, as the layers take them
  bool fields_may_change_ = false;  // the next pass follows a snapshot, which holds no fields
  std::vector<int32_t> history_;    // the last tokens, at least RecentMax() when there were so many
  std::vector<int32_t> seen_;       // what the penalty of a node of a window looks at
  std::vector<Stepper::Row> rows_;  // of the piece that runs
  std::vector<int> piece_wanted_;
  BufferVector<float> logits_;  // [up to kHeadRowsMax][vocab_size]
  std::vector<float> hidden_;   // [wanted_][d_model]
  std::vector<Wanted> wanted_;
  std::vector<int32_t> window_tokens_;  // of the nodes
  int64_t position_ = 0;
  GateMeans gates_;                // of the passes since they were reported
  int64_t reported_position_ = 0;  // of that report
  absl::Status broken_;            // not OK: the stream is unusable
  // Counted in the budget, beyond what it was admitted with.
  MemoryHold logits_hold_, window_hold_;
  std::shared_ptr<StreamHost> host_;
  HeldSnapshots snapshots_;
};

}  // namespace chimera
