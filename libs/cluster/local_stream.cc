#include "cluster/local_stream.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"

namespace chimera {
namespace {

constexpr size_t kHistoryMax = 4 * kPenaltyWindow;

}  // namespace

LocalStream::LocalStream(std::shared_ptr<const Model> model, ComputeGate* gate,
                         MetricsSink* metrics, int64_t deadline_ns, std::function<void()> on_close)
    : model_(std::move(model)),
      gate_(gate),
      metrics_(metrics),
      deadline_ns_(deadline_ns),
      on_close_(std::move(on_close)),
      exec_(1),
      state_(model_->shape()),
      stepper_(*model_, &exec_),
      transformer_(model_->shape().vocab_size,
                   {model_->config().tokens.n_ranks, model_->config().tokens.eot}),
      logits_(static_cast<size_t>(model_->shape().vocab_size)) {
  state_.Reset();
  history_.reserve(kHistoryMax + kVerifyNodesMax);
  piece_.reserve(Stepper::kPrefillMax);
}

LocalStream::~LocalStream() {
  if (metrics_ != nullptr) ReportGates();
  on_close_();
}

void LocalStream::Cancel() {
  cancelled_.store(true, std::memory_order_relaxed);
  gate_->Wake();
}

absl::Status LocalStream::Stopped() const {
  if (cancelled_.load(std::memory_order_relaxed)) {
    return absl::CancelledError("the stream was cancelled");
  }
  return absl::DeadlineExceededError("the request's deadline passed");
}

absl::Status LocalStream::Validate(const VerifyRequest& request) const {
  const size_t n = request.nodes.size();
  if (n < 1 || n > static_cast<size_t>(kVerifyNodesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a pass of ", n, " nodes is outside 1..", kVerifyNodesMax));
  }
  if (!request.commit_all || request.commit_node != -1) {
    return absl::InvalidArgumentError(
        "token trees are not served by this build: commit_all must be true and commit_node -1");
  }
  if (request.loops != 0 && request.loops != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("loops ", request.loops, " exceeds 1: this model has no loops"));
  }
  CHIMERA_RETURN_IF_ERROR(ValidateTransform(request.transform));
  const int vocab_size = model_->shape().vocab_size;
  size_t wanted = 0;
  for (size_t i = 0; i < n; ++i) {
    const VerifyNode& node = request.nodes[i];
    if (node.parent != static_cast<int32_t>(i) - 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("node ", i, " has parent ", node.parent,
                       ": token trees are not served by this build, nodes must form a chain"));
    }
    if (node.token_id < 0 || node.token_id >= vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("node ", i, " has token ", node.token_id, ", outside 0..", vocab_size - 1));
    }
    if (node.mask_id != 0 || !node.class_weights.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("node ", i, ": masks and class tables are not served by this build"));
    }
    wanted += node.want_distribution ? 1 : 0;
  }
  if (wanted > static_cast<size_t>(kWantedNodesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("distributions of ", wanted, " nodes exceed ", kWantedNodesMax));
  }
  return absl::OkStatus();
}

absl::StatusOr<VerifyResult> LocalStream::Verify(const VerifyRequest& request) {
  CHIMERA_RETURN_IF_ERROR(broken_);
  CHIMERA_RETURN_IF_ERROR(Validate(request));
  VerifyResult result;
  const absl::Status status = Run(request, &result);
  if (!status.ok()) {
    broken_ = status;
    return status;
  }
  return result;
}

absl::Status LocalStream::Run(const VerifyRequest& request, VerifyResult* result) {
  transform_ = request.transform;
  hidden_.clear();
  wanted_.clear();
  if (history_.size() > kHistoryMax - kPenaltyWindow) {
    history_.erase(history_.begin(), history_.end() - kPenaltyWindow);
  }
  // A pass much longer than the window still fits: history_ holds all of its nodes.
  for (size_t at = 0; at < request.nodes.size();) {
    const size_t end = std::min<size_t>(at + Stepper::kPrefillMax, request.nodes.size());
    if (!gate_->Enter(&cancelled_, deadline_ns_)) return Stopped();
    const absl::Status status = RunPiece(request, at, end, result);
    gate_->Leave();
    CHIMERA_RETURN_IF_ERROR(status);
    at = end;
  }
  result->position = position_;
  result->tokens_run = static_cast<int>(request.nodes.size());
  result->loops_run = 1;
  if (metrics_ != nullptr) ReportPass(result->tokens_run);
  return absl::OkStatus();
}

void LocalStream::ReportPass(int64_t tokens) {
  metrics_->Count("chimera_knots_total", "plain", static_cast<double>(tokens));
  metrics_->Observe("chimera_loop_depth", "", 1.0);
  if (position_ - reported_position_ < model_->config().diagnostics.report_interval_tokens) return;
  reported_position_ = position_;
  ReportGates();
}

// Every diagnostics.report_interval_tokens tokens of the stream, and at its end.
void LocalStream::ReportGates() {
  const GateMeans means = stepper_.TakeGateMeans();
  if (means.alpha == 0.0) return;  // no gated delta layer
  metrics_->Observe("chimera_gate_value_ratio", "alpha", means.alpha);
  metrics_->Observe("chimera_gate_value_ratio", "beta", means.beta);
}

absl::Status LocalStream::RunPiece(const VerifyRequest& request, size_t begin, size_t end,
                                   VerifyResult* result) {
  piece_.clear();
  for (size_t i = begin; i < end; ++i) piece_.push_back(request.nodes[i].token_id);
  const std::span<const float> rows =
      piece_.size() == 1 ? stepper_.Step(&state_, piece_[0]) : stepper_.Prefill(&state_, piece_);
  const auto d_model = static_cast<size_t>(model_->shape().d_model);
  const size_t first_wanted = wanted_.size();
  for (size_t i = begin; i < end; ++i) {
    history_.push_back(request.nodes[i].token_id);
    ++position_;
    if (!request.nodes[i].want_distribution) continue;
    const std::span<const float> row = rows.subspan((i - begin) * d_model, d_model);
    hidden_.insert(hidden_.end(), row.begin(), row.end());
    wanted_.push_back({static_cast<int32_t>(i), history_.size(), wanted_.size()});
  }
  for (size_t w = first_wanted; w < wanted_.size(); ++w) {
    CHIMERA_ASSIGN_OR_RETURN(NodeDistribution distribution,
                             Distribution(wanted_[w], 0, transform_.rows_max));
    result->distributions.push_back(std::move(distribution));
  }
  return absl::OkStatus();
}

absl::StatusOr<NodeDistribution> LocalStream::Distribution(const Wanted& wanted, int first,
                                                           int count) {
  const auto d_model = static_cast<size_t>(model_->shape().d_model);
  stepper_.Logits(std::span(hidden_).subspan(wanted.hidden * d_model, d_model), 1, logits_);
  const size_t window = std::min<size_t>(kPenaltyWindow, wanted.history_end);
  const std::span<const int32_t> seen =
      std::span(history_).subspan(wanted.history_end - window, window);
  CHIMERA_ASSIGN_OR_RETURN(NodeDistribution distribution,
                           transformer_.Apply(logits_, seen, {}, transform_, first, count));
  distribution.node = wanted.node;
  return distribution;
}

absl::StatusOr<NodeDistribution> LocalStream::MoreRows(int32_t node, int32_t first, int32_t count) {
  CHIMERA_RETURN_IF_ERROR(broken_);
  const auto it = std::find_if(wanted_.begin(), wanted_.end(),
                               [node](const Wanted& wanted) { return wanted.node == node; });
  if (it == wanted_.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("node ", node, " of the last pass has no distribution"));
  }
  const int vocab_size = model_->shape().vocab_size;
  if (first < 0 || first >= vocab_size || count < 1 || count > kRowsMax) {
    return absl::InvalidArgumentError(absl::StrCat("rows ", first, " and ", count,
                                                   " following are outside ", vocab_size,
                                                   " rows or more than ", kRowsMax));
  }
  if (!gate_->Enter(&cancelled_, deadline_ns_)) {
    broken_ = Stopped();
    return broken_;
  }
  absl::StatusOr<NodeDistribution> rows = Distribution(*it, first, count);
  gate_->Leave();
  return rows;
}

}  // namespace chimera
