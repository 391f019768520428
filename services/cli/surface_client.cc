#include "services/cli/surface_client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "chimera/surface/v1/surface.grpc.pb.h"
#include "cluster/channel.h"
#include "cluster/status_map.h"

namespace chimera {
namespace {

namespace pb = surface::v1;

constexpr int kConnectTimeoutMs = 5000;

pb::CompleteRequest ToProto(const CompletionRequest& from) {
  pb::CompleteRequest out;
  out.set_prompt(from.prompt);
  if (from.temperature) out.set_temperature(*from.temperature);
  if (from.top_p) out.set_top_p(*from.top_p);
  if (from.repetition_penalty) out.set_repetition_penalty(*from.repetition_penalty);
  if (from.max_tokens) out.set_max_tokens(*from.max_tokens);
  if (from.seed) out.set_seed(*from.seed);
  for (const std::string& stop : from.stop) out.add_stop(stop);
  using Kind = GrammarSource::Kind;
  const GrammarSource& grammar = from.grammar;
  if (grammar.kind == Kind::kMode) out.set_mode(grammar.text);
  if (grammar.kind == Kind::kJsonSchema) out.set_json_schema(grammar.text);
  if (grammar.kind == Kind::kRegex) out.set_regex(grammar.text);
  if (grammar.kind == Kind::kEbnf) out.set_ebnf(grammar.text);
  out.set_user(from.user);
  if (!from.learn) out.set_learn(false);
  out.set_logprobs(from.logprobs);
  out.set_model_id(from.model_id);
  out.set_request_id(from.request_id);
  return out;
}

CompletionStart FromProto(const pb::Started& from) {
  CompletionStart out;
  out.model_id = from.model_id();
  out.params.temperature = from.temperature();
  out.params.top_p = from.top_p();
  out.params.repetition_penalty = from.repetition_penalty();
  out.params.max_tokens = from.max_tokens();
  out.params.seed = from.seed();
  out.params.logprobs = from.logprobs();
  out.params.stop.assign(from.stop().begin(), from.stop().end());
  out.prompt_tokens = from.prompt_tokens();
  if (from.has_memory()) {
    MemoryContext& memory = out.memory.emplace();
    memory.fault = from.memory().fault();
    for (const pb::RecalledFact& fact : from.memory().facts()) {
      memory.facts.push_back({.fact_id = fact.fact_id(),
                              .similarity = fact.similarity(),
                              .uncertain = fact.uncertain()});
    }
  }
  return out;
}

SessionEvent FromProto(const pb::Delta& from) {
  SessionEvent out;
  out.text = from.text();
  out.token_ids.assign(from.token_ids().begin(), from.token_ids().end());
  for (const pb::TokenLogprob& token : from.logprobs()) {
    TokenLogprobs& to = out.logprobs.emplace_back();
    to.logprob = token.logprob();
    for (const pb::TopToken& top : token.top()) to.top.push_back({top.token_id(), top.logprob()});
  }
  for (const pb::MemoryRead& read : from.memory_reads()) {
    out.memory_reads.push_back({.position = read.position(),
                                .fact_ids = {read.fact_ids().begin(), read.fact_ids().end()},
                                .missed = read.missed()});
  }
  return out;
}

CompletionEnd FromProto(const pb::Finished& from) {
  CompletionEnd out;
  switch (from.reason()) {
    case pb::FINISH_REASON_END_OF_TEXT:
      out.reason = FinishReason::kEndOfText;
      break;
    case pb::FINISH_REASON_STOP:
      out.reason = FinishReason::kStop;
      out.stop_index = from.stop_index();
      break;
    case pb::FINISH_REASON_MAX_TOKENS:
      out.reason = FinishReason::kMaxTokens;
      break;
    default:
      break;
  }
  out.prompt_tokens = from.usage().prompt_tokens();
  out.completion_tokens = from.usage().completion_tokens();
  out.queue_seconds = from.usage().queue_seconds();
  out.first_token_seconds = from.usage().first_token_seconds();
  out.total_seconds = from.usage().total_seconds();
  if (from.has_grammar()) {
    const pb::GrammarReport& report = from.grammar();
    out.grammar =
        GrammarOutcome{report.complete(),      report.open_bytes(),   report.masked_steps(),
                       report.withheld_ends(), report.budget_steps(), report.forced_tokens()};
  }
  if (from.has_memory()) {
    out.memory = {.used = from.memory().reads_used(), .missed = from.memory().reads_missed()};
  }
  for (const pb::Debt& debt : from.debts()) {
    const auto type = DebtOf(debt.type());
    if (!type.has_value()) continue;  // of a newer server
    out.debts.push_back({*type,
                         {.opened = debt.opened(),
                          .discharged = debt.discharged(),
                          .outstanding = debt.outstanding(),
                          .overdue = debt.overdue()}});
  }
  return out;
}

}  // namespace

SurfaceClient::SurfaceClient(std::string address, int timeout_ms)
    : address_(std::move(address)), timeout_ms_(timeout_ms) {}

absl::StatusOr<CompletionEnd> SurfaceClient::Complete(const CompletionRequest& request,
                                                      CompletionSink* sink, CancelToken* cancel) {
  const std::string what = absl::StrCat("surface at ", address_);
  const std::shared_ptr<grpc::Channel> channel = MakeChannel(address_);
  CHIMERA_RETURN_IF_ERROR(WaitConnected(channel.get(), what, kConnectTimeoutMs));
  const auto stub = pb::SurfaceService::NewStub(channel);
  grpc::ClientContext context;
  SetDeadline(&context, request.deadline_ns, timeout_ms_);
  const auto reader = stub->Complete(&context, ToProto(request));
  CancelScope scope(cancel, [&context] { context.TryCancel(); });
  pb::CompleteResponse response;
  CompletionEnd end;
  absl::Status refused;
  while (reader->Read(&response)) {
    if (response.has_started()) refused = sink->OnStart(FromProto(response.started()));
    if (response.has_delta()) refused = sink->OnEvent(FromProto(response.delta()));
    if (response.has_finished()) end = FromProto(response.finished());
    if (!refused.ok()) {
      context.TryCancel();
      break;
    }
  }
  const grpc::Status status = reader->Finish();
  CHIMERA_RETURN_IF_ERROR(refused);
  CHIMERA_RETURN_IF_ERROR(FromGrpc(status, what));
  if (end.reason == FinishReason::kNone) {
    return absl::UnavailableError(absl::StrCat(what, " ended the stream early"));
  }
  return end;
}

}  // namespace chimera
