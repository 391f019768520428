// One stream of LocalKnot. Internal to cluster: local_knot.cc makes them.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/exec_context.h"
#include "base/metrics_sink.h"
#include "cluster/compute_gate.h"
#include "decode/knot.h"
#include "decode/logit_transform.h"
#include "layers/token_tree.h"
#include "model/model.h"
#include "model/step.h"

namespace chimera {

inline constexpr int kWantedNodesMax = 64;  // nodes of one pass that may ask for a distribution

// Thread-compatible, except Cancel.
class LocalStream final : public KnotStream {
 public:
  // gate and metrics are borrowed (metrics may be null); keep_alive owns them and is dropped with
  // the stream, after on_close ran.
  // loops: the most a pass may ask for; 0 is the model's default.
  LocalStream(std::shared_ptr<const Model> model, int loops, ComputeGate* gate,
              MetricsSink* metrics, int64_t deadline_ns, std::function<void()> on_close);
  ~LocalStream() override;

  const std::string& model_id() const override { return model_->id(); }
  absl::StatusOr<VerifyResult> Verify(const VerifyRequest& request) override;
  absl::StatusOr<NodeDistribution> MoreRows(int32_t node, int32_t first, int32_t count) override;
  void Cancel() override;

 private:
  // A node of the last pass whose distribution was asked for.
  struct Wanted {
    int32_t node = 0;
    size_t history_end = 0;     // committed tokens before its path
    std::vector<int32_t> path;  // tokens after them, the node's own last
    size_t hidden = 0;          // row in hidden_
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
  absl::Status RunPiece(const VerifyRequest& request, size_t begin, size_t end,
                        VerifyResult* result);
  absl::Status RunWindow(const VerifyRequest& request, VerifyResult* result);
  void CommitWindow(int32_t node);
  // Keeps the hidden row of a node whose distribution is wanted.
  void Want(int32_t node, std::span<const float> row, std::vector<int32_t> path);
  absl::Status Distributions(size_t first_wanted, VerifyResult* result);
  absl::StatusOr<NodeDistribution> Distribution(const Wanted& wanted, int first, int count);
  absl::Status Stopped() const;
  void ReportPass(const VerifyResult& result, const char* kind);
  // Tokens the stream remembers as they were: context_tiers[recent_ring].
  size_t RecentMax() const;
  void ReportGates();

  const std::shared_ptr<const Model> model_;
  ComputeGate* const gate_;
  MetricsSink* const metrics_;
  const int64_t deadline_ns_;
  const std::function<void()> on_close_;
  std::atomic<bool> cancelled_{false};

  ExecContext exec_;
  BraidState state_;
  Stepper stepper_;
  LogitTransformer transformer_;
  LogitTransform transform_;      // of the last pass
  SketchFieldSet fields_;         // of the last pass; the stepper borrows the sketches
  std::vector<int32_t> history_;  // the last tokens, at least RecentMax() when there were so many
  std::vector<int32_t> seen_;     // what the penalty of a node of a window looks at
  std::vector<int32_t> piece_;
  std::vector<float> logits_;
  std::vector<float> hidden_;
  std::vector<Wanted> wanted_;
  // The last pass, when it was a window that has not been committed.
  std::optional<TokenTree> window_;
  std::vector<int32_t> window_tokens_;
  int64_t position_ = 0;
  int64_t reported_position_ = 0;  // of the last gate telemetry
  absl::Status broken_;            // not OK: the stream is unusable
};

}  // namespace chimera
