#include "cluster/local_stream.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cluster/memory_plan.h"

namespace chimera {
namespace {

static_assert(kHeadTile == kRowTile);

// A mask that leaves more than this part of the head's rows is applied behind the whole head, whose
// product the rows of a pass share.
constexpr int64_t kMaskFirstShare = 2;

bool SameField(const SketchField& a, const SketchField& b) {
  if (a.weight != b.weight) return false;
  return a.weight == 0.0f || a.sketch == b.sketch || *a.sketch == *b.sketch;
}

}  // namespace

LocalStream::LocalStream(std::shared_ptr<const Model> model, int loops, PassScheduler* scheduler,
                         MetricsSink* metrics, int64_t deadline_ns, std::function<void()> on_close)
    : model_(std::move(model)),
      scheduler_(scheduler),
      engine_(scheduler->EngineOf(model_)),
      metrics_(metrics),
      deadline_ns_(deadline_ns),
      on_close_(std::move(on_close)),
      state_(model_->shape(), loops),
      window_(*model_),
      transformer_(model_->shape().vocab_size,
                   {model_->config().tokens.n_ranks, model_->config().tokens.eot}),
      logits_(static_cast<size_t>(model_->shape().vocab_size)) {
  state_.Reset();
  history_.reserve(2 * RecentMax() + kVerifyNodesMax);
  rows_.reserve(Stepper::kPrefillMax);
  piece_wanted_.reserve(kHeadRowsMax);
  hidden_.reserve(static_cast<size_t>(model_->shape().d_model));
}

LocalStream::~LocalStream() {
  if (metrics_ != nullptr) ReportGates();
  on_close_();
}

void LocalStream::Cancel() {
  cancelled_.store(true, std::memory_order_relaxed);
  scheduler_->Wake();
}

absl::Status LocalStream::Stopped() const {
  if (cancelled_.load(std::memory_order_relaxed)) {
    return absl::CancelledError("the stream was cancelled");
  }
  return absl::DeadlineExceededError("the request's deadline passed");
}

size_t LocalStream::RecentMax() const { return static_cast<size_t>(model_->shape().recent_tokens); }

absl::Status LocalStream::Validate(const VerifyRequest& request) const {
  const size_t n = request.nodes.size();
  if (n < 1 || n > static_cast<size_t>(kVerifyNodesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a pass of ", n, " nodes is outside 1..", kVerifyNodesMax));
  }
  if (request.loops < 0 || request.loops > state_.loops()) {
    return absl::InvalidArgumentError(absl::StrCat("loops ", request.loops, " exceeds the ",
                                                   state_.loops(), " this stream was opened for"));
  }
  if (request.exit_early && (n != 1 || !request.commit_all)) {
    return absl::InvalidArgumentError("exit_early takes a pass of one committed node");
  }
  if (request.want_surprise && !request.commit_all) {
    return absl::InvalidArgumentError(
        "want_surprise takes a pass whose nodes are all committed (commit_all)");
  }
  const int in_window = window_.open() ? window_.tree().n_nodes() : 0;
  if (request.commit_node < -1 || request.commit_node >= in_window) {
    return absl::InvalidArgumentError(absl::StrCat("commit_node ", request.commit_node,
                                                   " is outside the last window of ", in_window,
                                                   " nodes"));
  }
  CHIMERA_RETURN_IF_ERROR(ValidateTransform(request.transform));
  const ClassTable* const table = request.transform.class_table.get();
  if (table != nullptr && table != transform_.class_table.get()) {
    CHIMERA_RETURN_IF_ERROR(CheckClassTable(*table, model_->shape().vocab_size));
  }
  CHIMERA_RETURN_IF_ERROR(ValidateNodes(request));
  CHIMERA_RETURN_IF_ERROR(ValidateFields(request));
  return request.commit_all ? absl::OkStatus() : ValidateWindow(request);
}

absl::Status LocalStream::ValidateNodes(const VerifyRequest& request) const {
  const int vocab_size = model_->shape().vocab_size;
  size_t wanted = 0;
  for (size_t i = 0; i < request.nodes.size(); ++i) {
    const VerifyNode& node = request.nodes[i];
    if (request.commit_all && node.parent != static_cast<int32_t>(i) - 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("node ", i, " has parent ", node.parent,
                       ": nodes that are all committed must form a chain"));
    }
    if (node.token_id < 0 || node.token_id >= vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("node ", i, " has token ", node.token_id, ", outside 0..", vocab_size - 1));
    }
    const absl::Status weights = CheckWeights(
        {request.transform.class_table.get(), node.class_weights, node.token_weights}, vocab_size);
    if (!weights.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("node ", i, ": ", weights.message()));
    }
    if (node.mask != nullptr) {
      const absl::Status status = transformer_.CheckMask(*node.mask);
      if (!status.ok()) {
        return absl::InvalidArgumentError(absl::StrCat("node ", i, ": ", status.message()));
      }
    }
    wanted += node.want_distribution ? 1 : 0;
  }
  if (wanted > static_cast<size_t>(kWantedNodesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("distributions of ", wanted, " nodes exceed ", kWantedNodesMax));
  }
  return absl::OkStatus();
}

int64_t LocalStream::StartOf(const VerifyRequest& request) const {
  if (request.commit_node < 0) return position_;
  return window_.position(request.commit_node) + 1;
}

absl::Status LocalStream::ValidateFields(const VerifyRequest& request) const {
  struct {
    const char* name;
    const SketchField &now, &before;
  } const fields[] = {{"memory", request.fields.memory, fields_.memory},
                      {"grammar", request.fields.grammar, fields_.grammar},
                      {"debt", request.fields.debt, fields_.debt}};
  for (const auto& [name, now, before] : fields) {
    if (!(now.weight >= 0.0f && now.weight <= 1.0f)) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " field: weight ", now.weight, " is outside 0..1"));
    }
    if (now.weight > 0.0f && now.sketch == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " field: weight ", now.weight, " and no sketch"));
    }
    if (!fields_may_change_ && StartOf(request) % kWindowTokens != 0 && !SameField(now, before)) {
      return absl::InvalidArgumentError(absl::StrCat(name, " field changes at position ",
                                                     StartOf(request), ", which ", kWindowTokens,
                                                     " does not divide"));
    }
  }
  return absl::OkStatus();
}

void LocalStream::TakeFields(const SketchFieldSet& fields) {
  fields_ = fields;
  fields_may_change_ = false;
  const auto of = [](const SketchField& field) {
    return field.weight > 0.0f ? SpanField{field.sketch->words.data(), field.weight} : SpanField{};
  };
  span_fields_ = {of(fields_.memory), of(fields_.grammar), of(fields_.debt)};
}

// A window of nodes of which a path may be committed later.
absl::Status LocalStream::ValidateWindow(const VerifyRequest& request) const {
  const size_t n = request.nodes.size();
  if (n > static_cast<size_t>(kTreeNodesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a window of ", n, " nodes exceeds ", kTreeNodesMax));
  }
  int32_t parents[kTreeNodesMax];
  for (size_t i = 0; i < n; ++i) parents[i] = request.nodes[i].parent;
  const char* problem = TokenTree::Problem(parents, static_cast<int>(n));
  if (problem != nullptr) return absl::InvalidArgumentError(absl::StrCat("window: ", problem));
  const TokenTree tree(parents, static_cast<int>(n));
  const int64_t position = StartOf(request);
  for (int i = 0; i < tree.n_nodes(); ++i) {
    if (position % kWindowTokens + tree.depth(i) >= kWindowTokens) {
      return absl::InvalidArgumentError(absl::StrCat(
          "node ", i, " stands at position ", position + tree.depth(i), ": a window from ",
          position, " ends before the next multiple of ", kWindowTokens));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<VerifyResult> LocalStream::Verify(const VerifyRequest& request) {
  CHIMERA_RETURN_IF_ERROR(broken_);
  CHIMERA_RETURN_IF_ERROR(Validate(request));
  CHIMERA_RETURN_IF_ERROR(HoldBuffers(request));
  VerifyResult result;
  const absl::Status status = Run(request, &result);
  if (!status.ok()) {
    broken_ = status;
    return status;
  }
  return result;
}

// What a stream needs beyond StreamScratchBytes is counted when it is first asked for; the most of
// either kind stays.
absl::Status LocalStream::HoldBuffers(const VerifyRequest& request) {
  const ModelConfig& shape = model_->shape();
  const auto rows = std::count_if(request.nodes.begin(), request.nodes.end(),
                                  [](const VerifyNode& node) { return node.want_distribution; });
  const int64_t logits = LogitsBytes(shape, static_cast<int>(rows));
  int64_t window = 0;
  if (!request.commit_all) {
    const int loops = request.loops == 0 ? state_.loops() : request.loops;
    window = Window::Bytes(shape, static_cast<int>(request.nodes.size()), loops);
  }
  const int64_t more_logits = std::max<int64_t>(0, logits - logits_hold_.bytes());
  const int64_t more_window = std::max<int64_t>(0, window - window_hold_.bytes());
  if (more_logits + more_window == 0) return absl::OkStatus();
  MemoryBudget* const memory = host_->memory();
  CHIMERA_ASSIGN_OR_RETURN(  // both or none
      MemoryHold for_logits,
      memory->Hold(MemoryPart::kScratch, more_logits, "the distributions of a pass"));
  CHIMERA_ASSIGN_OR_RETURN(MemoryHold for_window, memory->Hold(MemoryPart::kScratch, more_window,
                                                               "the records of a window"));
  logits_hold_.Add(std::move(for_logits));
  window_hold_.Add(std::move(for_window));
  return absl::OkStatus();
}

absl::Status LocalStream::Run(const VerifyRequest& request, VerifyResult* result) {
  transform_ = request.transform;
  hidden_.clear();
  wanted_.clear();
  if (request.commit_node >= 0) CommitWindow(request.commit_node);
  TakeFields(request.fields);
  window_.Close();
  if (history_.size() > 2 * RecentMax()) {
    history_.erase(history_.begin(), history_.end() - static_cast<int64_t>(RecentMax()));
  }
  CHIMERA_RETURN_IF_ERROR(request.commit_all ? RunChain(request, result)
                                             : RunWindow(request, result));
  result->position = position_;
  result->tokens_run = static_cast<int>(request.nodes.size());
  if (metrics_ != nullptr) ReportPass(*result, request.commit_all ? "plain" : "tree");
  return absl::OkStatus();
}

// A pass much longer than the window still fits: history_ holds all of its nodes.
absl::Status LocalStream::RunChain(const VerifyRequest& request, VerifyResult* result) {
  const std::vector<LayerKind>& layers = model_->shape().layers;
  if (request.want_surprise &&
      std::find(layers.begin(), layers.end(), LayerKind::kTitans) != layers.end()) {
    result->surprises.resize(request.nodes.size());
  }
  for (size_t at = 0; at < request.nodes.size();) {
    const size_t end = PieceEnd(request, at);
    CHIMERA_RETURN_IF_ERROR(RunPiece(request, at, end, result));
    at = end;
  }
  for (const float surprise : result->surprises) {
    if (!std::isfinite(surprise)) {
      return absl::InternalError("the model produced a surprise that is not finite");
    }
  }
  return absl::OkStatus();
}

// As many nodes as one job takes.
size_t LocalStream::PieceEnd(const VerifyRequest& request, size_t begin) const {
  size_t end = begin;
  int wanted = 0;
  while (end < request.nodes.size() && end - begin < size_t{Stepper::kPrefillMax}) {
    const bool asks = request.nodes[end].want_distribution;
    if (asks && wanted == kHeadRowsMax) break;
    wanted += asks;
    ++end;
  }
  return end;
}

absl::Status LocalStream::RunPiece(const VerifyRequest& request, size_t begin, size_t end,
                                   VerifyResult* result) {
  rows_.clear();
  piece_wanted_.clear();
  const size_t first_wanted = wanted_.size();
  for (size_t i = begin; i < end; ++i) {
    const VerifyNode& node = request.nodes[i];
    rows_.push_back({&state_, node.token_id, request.loops, request.exit_early, &span_fields_});
    history_.push_back(node.token_id);
    if (!node.want_distribution) continue;
    piece_wanted_.push_back(static_cast<int>(i - begin));
    Want(static_cast<int32_t>(i), {}, node);
  }
  float* const surprises = result->surprises.empty() ? nullptr : &result->surprises[begin];
  CHIMERA_RETURN_IF_ERROR(RunJob(first_wanted, surprises, result));
  position_ += static_cast<int64_t>(end - begin);
  return absl::OkStatus();
}

absl::Status LocalStream::RunWindow(const VerifyRequest& request, VerifyResult* result) {
  int32_t parents[kTreeNodesMax];
  for (size_t i = 0; i < request.nodes.size(); ++i) parents[i] = request.nodes[i].parent;
  window_.Begin(state_, TokenTree(parents, static_cast<int>(request.nodes.size())), request.loops);
  rows_.clear();
  piece_wanted_.clear();
  window_tokens_.clear();
  for (const VerifyNode& node : request.nodes) {
    const auto i = static_cast<int>(rows_.size());
    window_tokens_.push_back(node.token_id);
    rows_.push_back(
        {.state = &state_, .token = node.token_id, .fields = &span_fields_, .window = &window_});
    if (!node.want_distribution) continue;
    piece_wanted_.push_back(i);
    Want(i, WindowPath(i), node);
  }
  CHIMERA_RETURN_IF_ERROR(RunJob(0, nullptr, result));
  for (size_t begin = kHeadRowsMax; begin < wanted_.size(); begin += kHeadRowsMax) {
    const size_t n = std::min<size_t>(kHeadRowsMax, wanted_.size() - begin);
    const auto head = [&](ExecContext*) {
      engine_->Head(HiddenOf(begin), static_cast<int>(n), logits_.data());
    };
    if (!scheduler_->RunAlone(head, Limits())) return Stopped();
    CHIMERA_RETURN_IF_ERROR(AddDistributions(begin, n, {}, result));
  }
  return absl::OkStatus();
}

// Tokens from the window's root to a node.
std::vector<int32_t> LocalStream::WindowPath(int node) const {
  int8_t path[kTreeNodesMax];
  const int length = window_.tree().Path(node, path);
  std::vector<int32_t> tokens;
  for (int i = 0; i < length; ++i) tokens.push_back(window_tokens_[static_cast<size_t>(path[i])]);
  return tokens;
}

// Runs rows_, of which piece_wanted_ have distributions, those of wanted_ from first_wanted on: as
// many as a pass gives.
absl::Status LocalStream::RunJob(size_t first_wanted, float* surprises, VerifyResult* result) {
  const size_t n = std::min<size_t>(kHeadRowsMax, piece_wanted_.size());
  ReserveLogits(n);
  std::span<const int32_t> tiles;
  if (n == 1) {
    CHIMERA_ASSIGN_OR_RETURN(tiles, TilesFor(wanted_[first_wanted]));
  }
  PassJob job = {.rows = rows_,
                 .wanted = piece_wanted_,
                 .tiles = tiles,
                 .hidden = HiddenOf(first_wanted),
                 .logits = logits_.data(),
                 .surprises = surprises,
                 .gates = gates_};
  if (!scheduler_->Run(engine_.get(), &job, Limits())) return Stopped();
  gates_ = job.gates;
  result->loops_run = job.loops_run;
  result->residual = job.residual;
  return AddDistributions(first_wanted, n, tiles, result);
}

// From logits_: n rows, or the tiles of one.
absl::Status LocalStream::AddDistributions(size_t first_wanted, size_t n,
                                           std::span<const int32_t> tiles, VerifyResult* result) {
  const auto vocab_size = static_cast<size_t>(model_->shape().vocab_size);
  const size_t floats = tiles.empty() ? vocab_size : tiles.size() * kHeadTile;
  for (size_t i = 0; i < n; ++i) {
    CHIMERA_ASSIGN_OR_RETURN(
        NodeDistribution distribution,
        Distribution(wanted_[first_wanted + i], {logits_.data() + i * vocab_size, floats}, 0,
                     transform_.rows_max));
    result->distributions.push_back(std::move(distribution));
  }
  return absl::OkStatus();
}

void LocalStream::CommitWindow(int32_t node) {
  const std::vector<int32_t> tokens = WindowPath(node);
  window_.Commit(&state_, node);
  history_.insert(history_.end(), tokens.begin(), tokens.end());
  position_ = state_.position();
}

void LocalStream::ReportPass(const VerifyResult& result, const char* kind) {
  metrics_->Count("chimera_knots_total", kind, static_cast<double>(result.tokens_run));
  metrics_->Observe("chimera_loop_depth", "", static_cast<double>(result.loops_run));
  if (position_ - reported_position_ < model_->config().diagnostics.report_interval_tokens) return;
  reported_position_ = position_;
  ReportGates();
}

// Every diagnostics.report_interval_tokens tokens of the stream, and at its end.
void LocalStream::ReportGates() {
  if (gates_.count > 0) {
    metrics_->Observe("chimera_gate_value_ratio", "alpha", gates_.alpha);
    metrics_->Observe("chimera_gate_value_ratio", "beta", gates_.beta);
  }
  gates_ = {};
}

void LocalStream::Want(int32_t node, std::vector<int32_t> path, const VerifyNode& from) {
  wanted_.push_back(
      {node, history_.size(), std::move(path), from.mask, from.class_weights, from.token_weights});
  hidden_.resize(wanted_.size() * static_cast<size_t>(model_->shape().d_model));
}

absl::StatusOr<std::span<const int32_t>> LocalStream::TilesFor(const Wanted& wanted) {
  if (wanted.mask == nullptr || !transform_.omit_raw_mass) return std::span<const int32_t>();
  CHIMERA_ASSIGN_OR_RETURN(const std::span<const int32_t> tiles, transformer_.Tiles(*wanted.mask));
  const auto rows = static_cast<int64_t>(tiles.size()) * kHeadTile;
  if (rows * kMaskFirstShare > model_->shape().vocab_size) return std::span<const int32_t>();
  return tiles;
}

void LocalStream::ReserveLogits(size_t rows) {
  const size_t floats = rows * static_cast<size_t>(model_->shape().vocab_size);
  if (logits_.size() >= floats) return;
  BufferVector<float>().swap(logits_);  // the old ones go first
  logits_.resize(floats);
}

float* LocalStream::HiddenOf(size_t wanted) {
  return hidden_.data() + wanted * static_cast<size_t>(model_->shape().d_model);
}

absl::StatusOr<NodeDistribution> LocalStream::Distribution(const Wanted& wanted,
                                                           std::span<const float> logits, int first,
                                                           int count) {
  const size_t window = std::min<size_t>(kPenaltyWindow - wanted.path.size(), wanted.history_end);
  std::span<const int32_t> seen = std::span(history_).subspan(wanted.history_end - window, window);
  if (!wanted.path.empty()) {
    seen_.assign(seen.begin(), seen.end());
    seen_.insert(seen_.end(), wanted.path.begin(), wanted.path.end());
    seen = seen_;
  }
  const bool whole = logits.size() == static_cast<size_t>(model_->shape().vocab_size);
  const std::span<const uint64_t> mask =
      wanted.mask == nullptr ? std::span<const uint64_t>() : std::span(*wanted.mask);
  const LogitWeights weights = {transform_.class_table.get(), wanted.class_weights,
                                wanted.token_weights};
  CHIMERA_ASSIGN_OR_RETURN(
      NodeDistribution distribution,
      whole ? transformer_.Apply(logits, seen, mask, transform_, first, count, weights)
            : transformer_.ApplyTiles(logits, seen, transform_, first, count, weights));
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
  CHIMERA_ASSIGN_OR_RETURN(const std::span<const int32_t> tiles, TilesFor(*it));
  const auto head = [&](ExecContext*) {
    const float* const hidden = HiddenOf(static_cast<size_t>(it - wanted_.begin()));
    if (tiles.empty()) {
      engine_->Head(hidden, 1, logits_.data());
    } else {
      engine_->HeadOfTiles(hidden, tiles, logits_.data());
    }
  };
  if (!scheduler_->RunAlone(head, Limits())) {
    broken_ = Stopped();
    return broken_;
  }
  const size_t n = tiles.empty() ? static_cast<size_t>(vocab_size) : tiles.size() * kHeadTile;
  return Distribution(*it, std::span(logits_).first(n), first, count);
}

}  // namespace chimera
