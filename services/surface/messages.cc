#include "services/surface/messages.h"

#include <string>

namespace chimera {

namespace pb = surface::v1;

CompletionRequest ReadRequest(const pb::CompleteRequest& in) {
  CompletionRequest out;
  out.prompt = in.prompt();
  if (in.has_temperature()) out.temperature = in.temperature();
  if (in.has_top_p()) out.top_p = in.top_p();
  if (in.has_repetition_penalty()) out.repetition_penalty = in.repetition_penalty();
  if (in.has_max_tokens()) out.max_tokens = in.max_tokens();
  if (in.has_seed()) out.seed = in.seed();
  out.stop.assign(in.stop().begin(), in.stop().end());
  out.logprobs = in.logprobs();
  using Kind = GrammarSource::Kind;
  switch (in.grammar_case()) {
    case pb::CompleteRequest::kMode:
      out.grammar = {Kind::kMode, in.mode()};
      break;
    case pb::CompleteRequest::kJsonSchema:
      out.grammar = {Kind::kJsonSchema, in.json_schema()};
      break;
    case pb::CompleteRequest::kRegex:
      out.grammar = {Kind::kRegex, in.regex()};
      break;
    case pb::CompleteRequest::kEbnf:
      out.grammar = {Kind::kEbnf, in.ebnf()};
      break;
    case pb::CompleteRequest::GRAMMAR_NOT_SET:
      break;
  }
  out.user = in.user();
  if (in.has_learn()) out.learn = in.learn();
  out.model_id = in.model_id();
  out.request_id = in.request_id();
  return out;
}

pb::CompleteResponse StartedMessage(const std::string& request_id, const CompletionStart& start) {
  pb::CompleteResponse message;
  pb::Started* started = message.mutable_started();
  started->set_request_id(request_id);
  started->set_model_id(start.model_id);
  started->set_temperature(start.params.temperature);
  started->set_top_p(start.params.top_p);
  started->set_repetition_penalty(start.params.repetition_penalty);
  started->set_max_tokens(start.params.max_tokens);
  started->set_seed(start.params.seed);
  started->set_logprobs(start.params.logprobs);
  for (const std::string& stop : start.params.stop) started->add_stop(stop);
  started->set_prompt_tokens(start.prompt_tokens);
  if (start.memory.has_value()) {
    pb::MemoryContext* memory = started->mutable_memory();
    memory->set_fault(start.memory->fault);
    for (const RecalledText& from : start.memory->facts) {
      pb::RecalledFact* fact = memory->add_facts();
      fact->set_fact_id(from.fact_id);
      fact->set_similarity(from.similarity);
      fact->set_uncertain(from.uncertain);
    }
  }
  return message;
}

bool DeltaMessage(const SessionEvent& event, const Tokenizer& tokenizer,
                  pb::CompleteResponse* out) {
  if (event.text.empty() && event.token_ids.empty() && event.memory_reads.empty()) return false;
  pb::Delta* delta = out->mutable_delta();
  delta->set_text(event.text);
  delta->mutable_token_ids()->Add(event.token_ids.begin(), event.token_ids.end());
  for (const MemoryRead& from : event.memory_reads) {
    pb::MemoryRead* read = delta->add_memory_reads();
    read->set_position(from.position);
    read->mutable_fact_ids()->Add(from.fact_ids.begin(), from.fact_ids.end());
    read->set_missed(from.missed);
  }
  for (size_t i = 0; i < event.logprobs.size(); ++i) {
    const TokenLogprobs& from = event.logprobs[i];
    pb::TokenLogprob* to = delta->add_logprobs();
    to->set_logprob(from.logprob);
    to->set_token(std::string(tokenizer.TokenBytes(event.token_ids[i])));
    for (const RankedToken& ranked : from.top) {
      pb::TopToken* top = to->add_top();
      top->set_token_id(ranked.token_id);
      top->set_logprob(ranked.logprob);
      top->set_token(std::string(tokenizer.TokenBytes(ranked.token_id)));
    }
  }
  return true;
}

pb::CompleteResponse FinishedMessage(const CompletionEnd& end) {
  pb::CompleteResponse message;
  pb::Finished* finished = message.mutable_finished();
  switch (end.reason) {
    case FinishReason::kEndOfText:
      finished->set_reason(pb::FINISH_REASON_END_OF_TEXT);
      break;
    case FinishReason::kStop:
      finished->set_reason(pb::FINISH_REASON_STOP);
      finished->set_stop_index(end.stop_index);
      break;
    case FinishReason::kMaxTokens:
      finished->set_reason(pb::FINISH_REASON_MAX_TOKENS);
      break;
    case FinishReason::kNone:
      break;
  }
  pb::Usage* usage = finished->mutable_usage();
  usage->set_prompt_tokens(end.prompt_tokens);
  usage->set_completion_tokens(end.completion_tokens);
  usage->set_queue_seconds(end.queue_seconds);
  usage->set_first_token_seconds(end.first_token_seconds);
  usage->set_total_seconds(end.total_seconds);
  if (end.grammar.has_value()) {
    pb::GrammarReport* report = finished->mutable_grammar();
    report->set_complete(end.grammar->complete);
    report->set_open_bytes(end.grammar->open_bytes);
    report->set_masked_steps(end.grammar->masked_steps);
    report->set_withheld_ends(end.grammar->withheld_ends);
    report->set_budget_steps(end.grammar->budget_steps);
    report->set_forced_tokens(end.grammar->forced_tokens);
  }
  for (const DebtOutcome& from : end.debts) {
    pb::Debt* debt = finished->add_debts();
    debt->set_type(std::string(DebtName(from.type)));
    debt->set_outstanding(from.counts.outstanding);
    debt->set_opened(from.counts.opened);
    debt->set_discharged(from.counts.discharged);
    debt->set_overdue(from.counts.overdue);
  }
  if (end.memory.has_value()) {
    finished->mutable_memory()->set_reads_used(end.memory->used);
    finished->mutable_memory()->set_reads_missed(end.memory->missed);
  }
  return message;
}

}  // namespace chimera
