#include "cluster/session_learning.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cluster/contrast.h"
#include "cluster/memory_reader.h"
#include "text/utf8.h"

namespace chimera {
namespace {

constexpr int64_t kEvaluationNs = 60'000'000'000;  // that both prefills may take
// Behind nothing any front of the same kind helps a text, whatever it says: this one is there with
// the fact and without it.
constexpr char kLead[] = "It was a fine day, and they went on as they had before. ";

}  // namespace

std::vector<ReadToken> ReadTokensOf(const FinishedSession& session) {
  std::vector<ReadToken> tokens;
  size_t bytes = 0, at = 0;
  for (const RanToken& ran : session.ran) {
    const std::string text = session.tokenizer->Decode(std::span(&ran.token_id, 1));
    bytes += text.size();
    if (tokens.size() == kReadTokensMax || bytes > kReadBytesMax) break;
    const bool offered = !ran.generated && at >= session.context_bytes;
    at += text.size();
    tokens.push_back({.text = text, .surprise = ran.surprise, .offered = offered});
  }
  return tokens;
}

SessionLearning::SessionLearning(Knot* knot, Memory* memory, MetricsSink* metrics)
    : knot_(knot),
      memory_(memory),
      metrics_(metrics),
      executor_("session to learn from", 1, kSessionsWaitingMax) {}

void SessionLearning::Learn(FinishedSession session) {
  const auto posted = executor_.Post([this, session = std::move(session)] { LearnNow(session); });
  if (!posted.ok()) Count("let_go");
}

size_t SessionLearning::waiting() const {
  const size_t waiting = executor_.waiting();  // first: a session moves from here to there
  return waiting + executor_.running();
}

void SessionLearning::LearnNow(const FinishedSession& session) {
  if (stopping_) return Count("let_go");
  LearnBatch batch = {.tokens = ReadTokensOf(session), .evaluations = {}};
  absl::Status status;
  for (const RecalledText& fact : session.facts) {
    if (!fact.evaluate || batch.evaluations.size() == size_t{kEvaluatedFacts}) continue;
    absl::StatusOr<FactEvaluation> evaluation = Evaluate(session, fact);
    if (evaluation.ok()) {
      batch.evaluations.push_back(*std::move(evaluation));
    } else {
      status = evaluation.status();  // the knot is busy; the fact will be recalled again
    }
  }
  if (batch.tokens.empty() && batch.evaluations.empty()) return;
  const absl::StatusOr<LearnReport> report = memory_->Learn(session.user, batch);
  if (!report.ok()) status = report.status();
  Count(status.ok() ? "learned" : "failed");
  if (!status.ok()) {
    LogWarning(absl::StrCat("learning from a session of user ", session.user, ": ",
                            std::string(status.message())));
  }
  if (report.ok() && report->rollbacks > 0) {
    LogWarning(absl::StrCat("the learning of user ", session.user, " went back to its last good ",
                            "state (", FreezeReasonName(report->reason), ") and is ",
                            EvolutionStateName(report->state)));
  }
}

absl::StatusOr<FactEvaluation> SessionLearning::Evaluate(const FinishedSession& session,
                                                         const RecalledText& fact) const {
  std::string others;  // nearest last, as PromptWithFacts has them
  for (const RecalledText& other : session.facts) {
    if (&other != &fact) others.insert(0, other.text + " ");
  }
  const std::vector<int32_t> with = session.tokenizer->Encode(kLead + others + fact.text + " ");
  const std::vector<int32_t> without = session.tokenizer->Encode(kLead + others);
  const std::vector<int32_t> prompt = session.tokenizer->Encode(session.prompt);
  const std::span<const int32_t> text =
      std::span(prompt).last(std::min(prompt.size(), kEvaluatedTokens));
  CHIMERA_ASSIGN_OR_RETURN(
      const Contrast contrast,
      MeasureContrast(knot_, session.model_id, session.tokenizer->eot(), with, without, text,
                      kContrastWindowMax, Clock::Real().NowNs() + kEvaluationNs));
  return FactEvaluation{.fact_id = fact.fact_id,
                        .nll_with = contrast.nll_with,
                        .nll_without = contrast.nll_without,
                        .tokens = contrast.tokens,
                        .context = std::string(Utf8Tail(session.prompt, kContextQueryBytes))};
}

void SessionLearning::Count(const char* outcome) const {
  if (metrics_ != nullptr) metrics_->Count("chimera_sessions_learned_total", outcome, 1);
}

}  // namespace chimera
