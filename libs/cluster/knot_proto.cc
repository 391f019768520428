#include "cluster/knot_proto.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "chimera/knot/v1/knot.pb.h"

namespace chimera {
namespace {

constexpr size_t kCostPointsMax = 64;

static_assert(static_cast<int>(WeightsCheck::kRunning) == knot::v1::WEIGHTS_CHECK_RUNNING);
static_assert(static_cast<int>(WeightsCheck::kGood) == knot::v1::WEIGHTS_CHECK_GOOD);
static_assert(static_cast<int>(WeightsCheck::kDamaged) == knot::v1::WEIGHTS_CHECK_DAMAGED);

absl::Status RowListsDisagree(int ids, int logits, int raw) {
  return absl::InternalError(absl::StrCat("the knot sent ", ids, " token ids, ", logits,
                                          " logits and ", raw, " raw logits"));
}

void WriteField(const SketchField& field, knot::v1::SketchField* out) {
  if (field.sketch != nullptr) out->set_sketch_id(SketchId(*field.sketch));
  out->set_weight(field.weight);
}

// An id that is not in the cache goes to *unknown.
SketchField ReadField(const knot::v1::SketchField& in, SketchCache* sketches, uint64_t* unknown) {
  SketchField out;
  out.weight = in.weight();
  if (in.weight() == 0.0f || in.sketch_id() == 0) return out;
  out.sketch = sketches->Find(in.sketch_id());
  if (out.sketch == nullptr) *unknown = in.sketch_id();
  return out;
}

NodeDistribution ReadDistribution(const knot::v1::NodeDistribution& in) {
  NodeDistribution out;
  out.node = in.node();
  out.token_ids.assign(in.token_ids().begin(), in.token_ids().end());
  out.logits.assign(in.logits().begin(), in.logits().end());
  out.raw_logits.assign(in.raw_logits().begin(), in.raw_logits().end());
  out.log_sum_exp = in.log_sum_exp();
  out.raw_log_sum_exp = in.raw_log_sum_exp();
  out.entropy_bits = in.entropy_bits();
  out.allowed_rows = in.allowed_rows();
  return out;
}

// A list that is too long is not read at all.
absl::Status ReadWeights(const knot::v1::Node& in, size_t index, VerifyNode* out) {
  if (in.class_weights_size() > kClassesMax) {
    return absl::InvalidArgumentError(absl::StrCat("node ", index, " has ", in.class_weights_size(),
                                                   " class weights, the limit is ", kClassesMax));
  }
  if (in.token_weights_size() > kTokenWeightsMax) {
    return absl::InvalidArgumentError(absl::StrCat("node ", index, " has ", in.token_weights_size(),
                                                   " token weights, the limit is ",
                                                   kTokenWeightsMax));
  }
  out->class_weights.assign(in.class_weights().begin(), in.class_weights().end());
  for (const knot::v1::TokenWeight& weight : in.token_weights()) {
    out->token_weights.push_back({weight.token_id(), weight.weight()});
  }
  return absl::OkStatus();
}

// One of each node when it was asked for, or none at all.
absl::Status CheckSurprises(const VerifyRequest& request, const knot::v1::Verified& in) {
  const size_t n = static_cast<size_t>(in.surprises_size());
  const size_t wanted = request.want_surprise ? request.nodes.size() : 0;
  if (n != 0 && n != wanted) {
    return absl::InternalError(
        absl::StrCat("the knot sent ", n, " surprises, ", wanted, " were asked for"));
  }
  for (const float surprise : in.surprises()) {
    if (!(surprise >= 0.0f && std::isfinite(surprise))) {
      return absl::InternalError(
          absl::StrCat("the knot sent a surprise of ", surprise, ", which is no norm"));
    }
  }
  return absl::OkStatus();
}

// A curve that does not ascend is none.
CostCurve ReadCost(const knot::v1::GetModelResponse& in) {
  CostCurve curve;
  for (const knot::v1::CostPoint& point : in.cost_curve()) {
    const CostPoint last = curve.points.empty() ? CostPoint{} : curve.points.back();
    const bool ascends = point.positions() > last.positions && point.pass_ns() >= last.pass_ns;
    if (!ascends || curve.points.size() == kCostPointsMax) return {};
    curve.points.push_back({point.positions(), point.pass_ns()});
  }
  curve.head_ns = in.head_ns() > 0 ? in.head_ns() : 0;
  return curve;
}

}  // namespace

void WriteVerify(const VerifyRequest& request, uint64_t class_table_id, knot::v1::Verify* out) {
  for (const VerifyNode& node : request.nodes) {
    knot::v1::Node* to = out->add_nodes();
    to->set_parent(node.parent);
    to->set_token_id(node.token_id);
    to->set_want_distribution(node.want_distribution);
    if (node.mask != nullptr) to->set_mask_id(MaskId(*node.mask));
    to->mutable_class_weights()->Add(node.class_weights.begin(), node.class_weights.end());
    for (const TokenWeight& weight : node.token_weights) {
      knot::v1::TokenWeight* const added = to->add_token_weights();
      added->set_token_id(weight.token_id);
      added->set_weight(weight.weight);
    }
  }
  out->set_commit_node(request.commit_node);
  out->set_commit_all(request.commit_all);
  out->set_loops(request.loops);
  out->set_exit_early(request.exit_early);
  out->set_want_surprise(request.want_surprise);
  knot::v1::Transform* transform = out->mutable_transform();
  transform->set_temperature(request.transform.temperature);
  transform->set_repetition_penalty(request.transform.repetition_penalty);
  transform->set_class_table_id(class_table_id);
  transform->set_rows_max(request.transform.rows_max);
  transform->set_top_p(request.transform.top_p);
  transform->set_omit_raw_mass(request.transform.omit_raw_mass);
  const SketchFieldSet& fields = request.fields;
  if (fields.memory.weight != 0) WriteField(fields.memory, out->mutable_memory_field());
  if (fields.grammar.weight != 0) WriteField(fields.grammar, out->mutable_grammar_field());
  if (fields.debt.weight != 0) WriteField(fields.debt, out->mutable_debt_field());
}

absl::StatusOr<VerifyRequest> ReadVerify(const knot::v1::Verify& in, KnotCaches* caches,
                                         UnknownContent* unknown) {
  *unknown = {};
  if (in.nodes_size() < 1 || in.nodes_size() > kVerifyNodesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a pass of ", in.nodes_size(), " nodes is outside 1..", kVerifyNodesMax));
  }
  VerifyRequest out;
  out.nodes.reserve(static_cast<size_t>(in.nodes_size()));
  for (const knot::v1::Node& node : in.nodes()) {
    VerifyNode& to = out.nodes.emplace_back();
    CHIMERA_RETURN_IF_ERROR(ReadWeights(node, out.nodes.size() - 1, &to));
    to.parent = node.parent();
    to.token_id = node.token_id();
    to.want_distribution = node.want_distribution();
    if (node.mask_id() != 0) {
      to.mask = caches->masks.Find(node.mask_id());
      if (to.mask == nullptr) unknown->mask_id = node.mask_id();
    }
  }
  out.commit_node = in.commit_node();
  out.commit_all = in.commit_all();
  out.loops = in.loops();
  out.exit_early = in.exit_early();
  out.want_surprise = in.want_surprise();
  if (in.has_transform()) {
    out.transform.temperature = in.transform().temperature();
    out.transform.repetition_penalty = in.transform().repetition_penalty();
    if (const uint64_t id = in.transform().class_table_id(); id != 0) {
      out.transform.class_table = caches->class_tables.Find(id);
      if (out.transform.class_table == nullptr) unknown->class_table_id = id;
    }
    out.transform.rows_max = in.transform().rows_max();
    out.transform.top_p = in.transform().top_p();
    out.transform.omit_raw_mass = in.transform().omit_raw_mass();
  }
  SketchCache* const sketches = &caches->sketches;
  out.fields.memory = ReadField(in.memory_field(), sketches, &unknown->sketch_id);
  out.fields.grammar = ReadField(in.grammar_field(), sketches, &unknown->sketch_id);
  out.fields.debt = ReadField(in.debt_field(), sketches, &unknown->sketch_id);
  return out;
}

void WriteVerified(const VerifyResult& result, knot::v1::Verified* out) {
  for (const NodeDistribution& from : result.distributions) {
    knot::v1::NodeDistribution* to = out->add_distributions();
    to->set_node(from.node);
    to->mutable_token_ids()->Add(from.token_ids.begin(), from.token_ids.end());
    to->mutable_logits()->Add(from.logits.begin(), from.logits.end());
    to->mutable_raw_logits()->Add(from.raw_logits.begin(), from.raw_logits.end());
    to->set_log_sum_exp(from.log_sum_exp);
    to->set_raw_log_sum_exp(from.raw_log_sum_exp);
    to->set_entropy_bits(from.entropy_bits);
    to->set_allowed_rows(from.allowed_rows);
  }
  out->set_position(result.position);
  out->set_tokens_run(result.tokens_run);
  out->set_loops_run(result.loops_run);
  out->set_residual(result.residual);
  out->mutable_surprises()->Add(result.surprises.begin(), result.surprises.end());
}

absl::StatusOr<VerifyResult> ReadVerified(const VerifyRequest& request,
                                          const knot::v1::Verified& in) {
  CHIMERA_RETURN_IF_ERROR(CheckSurprises(request, in));
  VerifyResult out;
  for (const knot::v1::NodeDistribution& from : in.distributions()) {
    if (from.token_ids_size() != from.logits_size() ||
        from.token_ids_size() != from.raw_logits_size()) {
      return RowListsDisagree(from.token_ids_size(), from.logits_size(), from.raw_logits_size());
    }
    out.distributions.push_back(ReadDistribution(from));
  }
  out.position = in.position();
  out.tokens_run = in.tokens_run();
  out.loops_run = in.loops_run();
  out.residual = in.residual();
  out.surprises.assign(in.surprises().begin(), in.surprises().end());
  return out;
}

void WriteRows(const NodeDistribution& rows, int first, knot::v1::Rows* out) {
  out->set_node(rows.node);
  out->set_first(first);
  out->mutable_token_ids()->Add(rows.token_ids.begin(), rows.token_ids.end());
  out->mutable_logits()->Add(rows.logits.begin(), rows.logits.end());
  out->mutable_raw_logits()->Add(rows.raw_logits.begin(), rows.raw_logits.end());
}

absl::StatusOr<NodeDistribution> ReadRows(const knot::v1::Rows& in) {
  if (in.token_ids_size() != in.logits_size() || in.token_ids_size() != in.raw_logits_size()) {
    return RowListsDisagree(in.token_ids_size(), in.logits_size(), in.raw_logits_size());
  }
  NodeDistribution out;
  out.node = in.node();
  out.token_ids.assign(in.token_ids().begin(), in.token_ids().end());
  out.logits.assign(in.logits().begin(), in.logits().end());
  out.raw_logits.assign(in.raw_logits().begin(), in.raw_logits().end());
  return out;
}

void WriteModelInfo(const KnotModelInfo& info, knot::v1::GetModelResponse* out) {
  out->set_model_id(info.model_id);
  out->set_name(info.name);
  out->set_vocab_size(info.vocab_size);
  out->set_weight_bytes(info.weight_bytes);
  out->set_state_bytes(info.state_bytes);
  out->set_streams_running(info.streams_running);
  out->set_streams_max(info.streams_max);
  for (const CostPoint& point : info.cost.points) {
    knot::v1::CostPoint* to = out->add_cost_curve();
    to->set_positions(point.positions);
    to->set_pass_ns(point.pass_ns);
  }
  out->set_head_ns(info.cost.head_ns);
  out->set_memory_bytes(info.memory_bytes);
  out->set_memory_limit_bytes(info.memory_limit_bytes);
  out->set_weights_check(static_cast<knot::v1::WeightsCheck>(info.weights_check));
}

KnotModelInfo ReadModelInfo(const knot::v1::GetModelResponse& in) {
  KnotModelInfo info;
  info.model_id = in.model_id();
  info.name = in.name();
  info.vocab_size = in.vocab_size();
  info.weight_bytes = in.weight_bytes();
  info.state_bytes = in.state_bytes();
  info.streams_running = in.streams_running();
  info.streams_max = in.streams_max();
  info.cost = ReadCost(in);
  info.memory_bytes = in.memory_bytes();
  info.memory_limit_bytes = in.memory_limit_bytes();
  if (knot::v1::WeightsCheck_IsValid(in.weights_check())) {
    info.weights_check = static_cast<WeightsCheck>(in.weights_check());
  }
  return info;
}

void WriteRefused(const absl::Status& status, knot::v1::Refused* out) {
  out->set_code(static_cast<int>(status.code()));
  out->set_message(std::string(status.message()));
}

absl::Status ReadRefused(const knot::v1::Refused& in) {
  const bool known = in.code() > 0 && in.code() <= 16;
  return {known ? static_cast<absl::StatusCode>(in.code()) : absl::StatusCode::kInternal,
          in.message()};
}

void WriteChunk(ModelChunk* chunk, knot::v1::FileChunk* out) {
  out->set_name(chunk->name);
  out->set_file_bytes(chunk->file_bytes);
  out->set_data(std::move(chunk->data));
  out->set_sha256(chunk->sha256);
  out->set_final_model_id(chunk->final_model_id);
}

ModelChunk ReadChunk(const knot::v1::FileChunk& in) {
  return {in.name(), in.file_bytes(), in.data(), in.sha256(), in.final_model_id()};
}

}  // namespace chimera
