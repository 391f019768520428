#include "decode/session.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace chimera {
namespace {

// Rows asked for at first; a flatter distribution asks for more (decode/sampler.h).
constexpr int kFirstRows = 64;

// What a node takes off a token at most: no less than this, and no more than 0, is added.
float LeastWeight(const VerifyNode& node) {
  float of_class = 0.0f, of_token = 0.0f;
  for (const float weight : node.class_weights) of_class = std::min(of_class, weight);
  for (const TokenWeight& weight : node.token_weights) {
    of_token = std::min(of_token, weight.weight);
  }
  return of_class + of_token;
}

// An upper limit for the raw logit of every row behind the last one held: undoes temperature,
// weights and penalty, whichever way the penalty may have moved a row (math-inference-training
// A.5).
float RawLimit(float last_logit, const LogitTransform& transform, float least_weight) {
  const float scale = transform.temperature == 0.0f ? 1.0f : transform.temperature;
  const float unscaled = last_logit * scale - least_weight;
  const float p = transform.repetition_penalty;
  const float undone = unscaled > 0.0f ? unscaled * p : unscaled / p;
  const float limit = std::max(unscaled, undone);
  // Rounding in the transform may have lost an ulp or two.
  return limit + std::max(1.0f, std::abs(limit)) * 1e-5f;
}

}  // namespace

const char* FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kEndOfText:
      return "end_of_text";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kMaxTokens:
      return "max_tokens";
  }
  return "none";
}

Session::Session(std::unique_ptr<KnotStream> stream, std::shared_ptr<const Tokenizer> tokenizer,
                 const SamplingParams& params, std::optional<GrammarMatcher> grammar,
                 std::unique_ptr<TextGuide> guide, std::unique_ptr<MemoryTrack> memory)
    : stream_(std::move(stream)),
      tokenizer_(std::move(tokenizer)),
      params_(params),
      sampler_{params.temperature, params.top_p, params.seed, 0},
      decoder_(tokenizer_),
      stops_(params.stop),
      grammar_(std::move(grammar)),
      guide_(std::move(guide)),
      memory_(std::move(memory)) {
  CHIMERA_CHECK(stream_ != nullptr && tokenizer_ != nullptr);
  transform_.temperature = params.temperature;
  transform_.repetition_penalty = params.repetition_penalty;
  // What only log-probabilities read: rows beyond the cut, and the mass of every row.
  transform_.top_p = params.logprobs == 0 ? params.top_p : 1.0f;
  transform_.omit_raw_mass = params.logprobs == 0;
  if (guide_ != nullptr) transform_.class_table = guide_->table();
  transform_.rows_max = params.temperature == 0.0f && params.logprobs == 0 ? 1 : kFirstRows;
}

void Session::KeepRan() {
  CHIMERA_CHECK(prompt_tokens_ == 0);
  keep_ran_ = true;
}

absl::Status Session::Start(std::span<const int32_t> prompt) {
  CHIMERA_CHECK(prompt_tokens_ == 0);
  if (prompt.empty())
    return absl::InvalidArgumentError("prompt has no tokens, at least 1 is needed");
  if (prompt.size() > static_cast<size_t>(std::numeric_limits<int>::max() - 1)) {
    return absl::InvalidArgumentError(absl::StrCat("prompt has ", prompt.size(), " tokens"));
  }
  std::vector<int32_t> tokens;
  tokens.reserve(prompt.size() + 1);
  tokens.push_back(tokenizer_->eot());
  for (const int32_t id : prompt) {
    if (id < 0 || id >= tokenizer_->n_ranks()) {
      return absl::InvalidArgumentError(
          absl::StrCat("prompt token ", id, " is outside 0..", tokenizer_->n_ranks() - 1));
    }
    tokens.push_back(id);
  }
  prompt_tokens_ = static_cast<int>(prompt.size());
  if (keep_ran_) ran_.reserve(prompt.size() + static_cast<size_t>(params_.max_tokens));
  if (guide_ != nullptr) guide_->Begin(static_cast<int64_t>(tokens.size()));
  return RunAll(tokens);
}

absl::Status Session::RunAll(std::span<const int32_t> tokens) {
  for (size_t at = 0; at < tokens.size();) {
    size_t n = std::min<size_t>(kPrefillNodes, tokens.size() - at);
    if (memory_ != nullptr && position_ > prompt_tokens_) {
      memory_->Turn(position_, &reads_);
      n = std::min(n, static_cast<size_t>(MemoryTrack::Room(position_)));
    }
    CHIMERA_RETURN_IF_ERROR(Run(tokens.subspan(at, n), at + n == tokens.size()));
    at += n;
  }
  return absl::OkStatus();
}

absl::Status Session::Run(std::span<const int32_t> tokens, bool want_distribution) {
  VerifyRequest request;
  request.want_surprise = keep_ran_;
  request.transform = transform_;
  request.nodes.resize(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    request.nodes[i].parent = static_cast<int32_t>(i) - 1;
    request.nodes[i].token_id = tokens[i];
  }
  request.nodes.back().want_distribution = want_distribution;
  if (want_distribution && grammar_.has_value()) {
    CHIMERA_ASSIGN_OR_RETURN(request.nodes.back().mask, NextMask());
  }
  if (want_distribution && guide_ != nullptr) {
    guide_->Weigh(&request.nodes.back());
    least_weight_ = LeastWeight(request.nodes.back());
  }
  if (memory_ != nullptr) {
    request.fields = memory_->fields();
    if (want_distribution) memory_->Weigh(tokens, &request.nodes.back());
  }
  CHIMERA_ASSIGN_OR_RETURN(VerifyResult result, stream_->Verify(request));
  loops_run_ = result.loops_run;
  if (keep_ran_) CHIMERA_RETURN_IF_ERROR(Keep(tokens, result.surprises));
  position_ += static_cast<int64_t>(tokens.size());
  if (memory_ != nullptr) memory_->Ran(tokens);
  if (!want_distribution) return absl::OkStatus();
  if (result.distributions.size() != 1) {
    return absl::InternalError(
        absl::StrCat("the knot sent ", result.distributions.size(), " distributions, wanted 1"));
  }
  next_ = std::move(result.distributions.front());
  return absl::OkStatus();
}

absl::Status Session::Keep(std::span<const int32_t> tokens, std::span<const float> surprises) {
  if (!surprises.empty() && surprises.size() != tokens.size()) {
    return absl::InternalError(absl::StrCat("the knot sent ", surprises.size(), " surprises for ",
                                            tokens.size(), " tokens"));
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int64_t at = position_ + static_cast<int64_t>(i);
    if (at == 0) continue;  // the end-of-text in front
    ran_.push_back({tokens[i], surprises.empty() ? 0.0f : surprises[i], at > prompt_tokens_});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const NodeMask>> Session::NextMask() {
  const int vocab_size = tokenizer_->vocab_size();
  auto mask = std::make_shared<NodeMask>((static_cast<size_t>(vocab_size) + 63) / 64);
  CHIMERA_ASSIGN_OR_RETURN(const MaskResult result, grammar_->Mask(tokens_left(), *mask));
  bool can_end = result.can_end;
  int allowed = result.allowed;
  if (can_end && allowed > 1 && guide_ != nullptr && guide_->WithholdsEnd()) {
    const auto eot = static_cast<size_t>(tokenizer_->eot());
    (*mask)[eot / 64] &= ~(uint64_t{1} << (eot % 64));
    can_end = false;
    --allowed;
  }
  outcome_.masked_steps += allowed <= tokenizer_->n_ranks() ? 1 : 0;
  outcome_.withheld_ends += can_end ? 0 : 1;
  outcome_.budget_steps += result.budgeted ? 1 : 0;
  return mask;
}

// Up to the last place where more text could not change how it is split into tokens.
std::vector<int32_t> Session::ForcedTokens() const {
  std::vector<int32_t> ids;
  const std::string text = grammar_->ForcedText();
  if (text.empty()) return ids;
  GrammarMatcher behind = *grammar_;
  const std::vector<int32_t> all = tokenizer_->Encode(text);
  bool whole = true;
  for (const int32_t id : all) whole = whole && behind.Advance(id).ok();
  if (whole && behind.MustEnd()) {
    ids = all;
  } else {
    tokenizer_->EncodeStable(text, &ids);
  }
  ids.resize(std::min(ids.size(), static_cast<size_t>(std::max(tokens_left(), 0))));
  return ids;
}

GrammarOutcome Session::grammar_outcome() const {
  GrammarOutcome outcome = outcome_;
  if (grammar_.has_value() && !grammar_->CanEnd()) {
    outcome.complete = false;
    outcome.open_bytes = static_cast<int>(grammar_->ClosingText().size());
  }
  return outcome;
}

std::vector<DebtOutcome> Session::debt_outcomes() const {
  std::vector<DebtOutcome> outcomes;
  if (guide_ == nullptr || guide_->ledger() == nullptr) return outcomes;
  for (int i = 0; i < kDebtTypes; ++i) {
    const auto type = static_cast<DebtType>(i);
    const DebtCounts counts = guide_->ledger()->counts(type);
    if (counts.opened > 0) outcomes.push_back({type, counts});
  }
  return outcomes;
}

absl::Status Session::FetchRows(int first, int count, NodeDistribution* rows) {
  CHIMERA_ASSIGN_OR_RETURN(const NodeDistribution more,
                           stream_->MoreRows(next_.node, first, count));
  rows->token_ids.insert(rows->token_ids.end(), more.token_ids.begin(), more.token_ids.end());
  rows->logits.insert(rows->logits.end(), more.logits.begin(), more.logits.end());
  rows->raw_logits.insert(rows->raw_logits.end(), more.raw_logits.begin(), more.raw_logits.end());
  return absl::OkStatus();
}

absl::StatusOr<TokenLogprobs> Session::Logprobs(const DrawnToken& drawn) {
  TokenLogprobs out;
  out.logprob = drawn.raw_logit - next_.raw_log_sum_exp;
  const size_t n = std::min<size_t>(static_cast<size_t>(params_.logprobs),
                                    static_cast<size_t>(next_.allowed_rows));
  // The penalty reorders rows: fetch until no row left behind can belong to the n likeliest.
  while (true) {
    out.top.clear();
    for (size_t i = 0; i < next_.token_ids.size(); ++i) {
      out.top.push_back({next_.token_ids[i], next_.raw_logits[i]});
    }
    const size_t held = out.top.size();
    const size_t kept = std::min(n, held);
    std::partial_sort(out.top.begin(), out.top.begin() + static_cast<std::ptrdiff_t>(kept),
                      out.top.end(), [](const RankedToken& a, const RankedToken& b) {
                        return a.logprob != b.logprob ? a.logprob > b.logprob
                                                      : a.token_id < b.token_id;
                      });
    out.top.resize(kept);
    const size_t left = static_cast<size_t>(next_.allowed_rows) - held;
    if (left == 0) break;
    if (kept == n &&
        out.top.back().logprob > RawLimit(next_.logits.back(), transform_, least_weight_))
      break;
    const size_t count = std::min({left, std::max<size_t>(held, kFirstRows), size_t{kRowsMax}});
    CHIMERA_RETURN_IF_ERROR(FetchRows(static_cast<int>(held), static_cast<int>(count), &next_));
    if (next_.token_ids.size() <= held || next_.token_ids.size() > held + left ||
        next_.logits.size() != next_.token_ids.size() ||
        next_.raw_logits.size() != next_.token_ids.size()) {
      return absl::InternalError("the knot sent rows whose lists do not agree");
    }
  }
  for (RankedToken& token : out.top) token.logprob -= next_.raw_log_sum_exp;
  return out;
}

void Session::EndText(SessionEvent* event, FinishReason reason) {
  over_ = true;
  std::string rest;
  if (stops_.stop_index() < 0) stops_.Push(decoder_.Finish(), &rest);
  if (stops_.stop_index() < 0) stops_.Finish(&rest);
  event->text += rest;
  event->reason = stops_.stop_index() >= 0 ? FinishReason::kStop : reason;
  event->stop_index = stops_.stop_index();
}

absl::StatusOr<SessionEvent> Session::Step() {
  if (over_ || prompt_tokens_ == 0) {
    return absl::FailedPreconditionError(over_ ? "the completion is over" : "no prompt was run");
  }
  over_ = true;  // until this step has succeeded
  SessionEvent event;
  if (grammar_.has_value()) {
    if (grammar_->MustEnd()) {
      EndText(&event, FinishReason::kEndOfText);
      return event;
    }
    // Log-probabilities are of draws, so with them every token is one.
    if (params_.logprobs == 0) {
      for (const int32_t token : ForcedTokens()) {
        ++outcome_.forced_tokens;
        CHIMERA_ASSIGN_OR_RETURN(const bool goes_on, Emit(token, &event));
        if (!goes_on) return event;
      }
      if (!event.token_ids.empty()) {
        over_ = false;
        return event;
      }
    }
  }
  if (!pending_.empty()) {
    CHIMERA_RETURN_IF_ERROR(RunAll(pending_));
    pending_.clear();
    event.memory_reads = std::exchange(reads_, {});
  }
  const auto fetch = [this](int first, int count, NodeDistribution* rows) {
    return FetchRows(first, count, rows);
  };
  const int64_t position = int64_t{prompt_tokens_} + completion_tokens_;
  CHIMERA_ASSIGN_OR_RETURN(const DrawnToken drawn, DrawToken(&next_, sampler_, position, fetch));
  if (drawn.token_id == tokenizer_->eot()) {
    if (grammar_.has_value() && !grammar_->CanEnd()) {
      return absl::InternalError("the knot ended a text that the grammar does not let end");
    }
    EndText(&event, FinishReason::kEndOfText);
    return event;
  }
  if (params_.logprobs > 0) {
    CHIMERA_ASSIGN_OR_RETURN(TokenLogprobs logprobs, Logprobs(drawn));
    event.logprobs.push_back(std::move(logprobs));
  }
  CHIMERA_ASSIGN_OR_RETURN(const bool goes_on, Emit(drawn.token_id, &event));
  over_ = !goes_on;
  return event;
}

absl::StatusOr<bool> Session::Emit(int32_t token, SessionEvent* event) {
  if (token < 0 || token >= tokenizer_->n_ranks()) {
    return absl::InternalError(
        absl::StrCat("the knot offered token ", token, ", which is not text"));
  }
  if (grammar_.has_value()) CHIMERA_RETURN_IF_ERROR(grammar_->Advance(token));
  if (guide_ != nullptr) guide_->Take(token);
  ++completion_tokens_;
  pending_.push_back(token);
  event->token_ids.push_back(token);
  if (stops_.Push(decoder_.Push(token), &event->text)) {
    EndText(event, FinishReason::kStop);
  } else if (tokens_left() <= 0) {
    EndText(event, FinishReason::kMaxTokens);
  } else {
    return true;
  }
  return false;
}

}  // namespace chimera
