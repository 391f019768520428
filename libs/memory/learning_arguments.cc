#include "memory/learning_arguments.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "hdc/words.h"
#include "memory/episodic_cases.h"
#include "memory/memory_arguments.h"
#include "memory/write_gate.h"

namespace chimera {
namespace {

absl::Status CheckText(std::string_view text, size_t least, size_t most, std::string_view what) {
  if (text.size() < least || text.size() > most) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(what), " of ", text.size(),
                                                   " bytes; it has ", least, " to ", most));
  }
  if (IsValidUtf8(text)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(what), " of ", text.size(), " bytes is not valid UTF-8"));
}

absl::Status CheckCount(size_t count, size_t most, const char* what) {
  if (count >= 1 && count <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(count, " ", what, " in one call; it takes 1 to ", most));
}

absl::Status CheckUnit(double value, const char* what) {
  if (value >= 0 && value <= 1) return absl::OkStatus();  // not for NaN
  return absl::InvalidArgumentError(absl::StrCat(what, " ", value, " is outside 0..1"));
}

absl::Status CheckId(const std::string& id, const char* what) {
  if (ValidateFactId(id).ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " id of ", id.size(), " bytes; it is ",
                                                 kFactIdDigits, " lower-case hex digits"));
}

}  // namespace

absl::Status ValidateNewCases(std::span<const NewCase> cases) {
  CHIMERA_RETURN_IF_ERROR(CheckCount(cases.size(), kCasesPerCallMax, "cases"));
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string what = absl::StrCat("case ", i);
    CHIMERA_RETURN_IF_ERROR(ValidateFactText(cases[i].situation, what + ": situation"));
    CHIMERA_RETURN_IF_ERROR(CheckText(cases[i].plan, 1, kCasePlanBytesMax, what + ": plan"));
    CHIMERA_RETURN_IF_ERROR(CheckText(cases[i].tags, 0, kCaseTagsBytesMax, what + ": tags"));
    CHIMERA_RETURN_IF_ERROR(ValidateOutcome(cases[i].outcome));
  }
  return absl::OkStatus();
}

absl::Status ValidateSituations(std::span<const std::string> situations, int k) {
  CHIMERA_RETURN_IF_ERROR(CheckCount(situations.size(), kCasesPerCallMax, "situations"));
  for (const std::string& situation : situations) {
    CHIMERA_RETURN_IF_ERROR(ValidateFactText(situation, "situation"));
  }
  return ValidateLimit(k, kFoundCasesMax, "cases");
}

absl::Status ValidateCaseOutcomes(std::span<const CaseOutcome> outcomes) {
  CHIMERA_RETURN_IF_ERROR(CheckCount(outcomes.size(), kCasesPerCallMax, "outcomes"));
  for (const CaseOutcome& one : outcomes) {
    CHIMERA_RETURN_IF_ERROR(CheckId(one.case_id, "case"));
    CHIMERA_RETURN_IF_ERROR(ValidateOutcome(one.outcome));
    CHIMERA_RETURN_IF_ERROR(CheckUnit(one.share, "share"));
  }
  return absl::OkStatus();
}

absl::Status ValidateNewGuideline(const NewGuideline& guideline) {
  CHIMERA_RETURN_IF_ERROR(ValidateFactText(guideline.context, "context"));
  CHIMERA_RETURN_IF_ERROR(CheckText(guideline.text, 1, kGuidelineTextBytesMax, "guideline text"));
  const int action = static_cast<int>(guideline.action);
  if (action >= kGuidelineActions) {
    return absl::InvalidArgumentError(
        absl::StrCat("guideline action ", action, " is not below ", kGuidelineActions));
  }
  if (std::isfinite(guideline.delta)) return absl::OkStatus();
  return absl::InvalidArgumentError("delta is not a finite number");
}

absl::Status ValidateOutcome(double outcome) { return CheckUnit(outcome, "outcome"); }

absl::Status ValidateVoters(std::span<const std::string> guideline_ids) {
  CHIMERA_RETURN_IF_ERROR(CheckCount(guideline_ids.size(), kVotersMax, "guideline ids"));
  for (const std::string& id : guideline_ids) {
    CHIMERA_RETURN_IF_ERROR(CheckId(id, "guideline"));
  }
  return absl::OkStatus();
}

absl::Status ValidateStatements(std::span<const EntityStatement> statements) {
  CHIMERA_RETURN_IF_ERROR(CheckCount(statements.size(), kEntitiesPerCallMax, "statements"));
  for (size_t i = 0; i < statements.size(); ++i) {
    const EntityStatement& one = statements[i];
    const std::string what = absl::StrCat("statement ", i);
    CHIMERA_RETURN_IF_ERROR(ValidateEntityText(one.name, what + ": name"));
    CHIMERA_RETURN_IF_ERROR(ValidateEntityText(one.filler, what + ": filler"));
    const int role = static_cast<int>(one.role);
    if (role < 1 || role >= kEntityRoles) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, ": role ", role, " is outside 1..", kEntityRoles - 1,
                       "; role 0, the name, is what the entity is called by"));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateEntityText(std::string_view text, std::string_view what) {
  return CheckText(text, 1, kEntityTextBytesMax, what);
}

absl::Status ValidateLearnBatch(const LearnBatch& batch) {
  if (batch.tokens.empty() && batch.evaluations.empty()) {
    return absl::InvalidArgumentError("nothing to learn from: no tokens and no evaluations");
  }
  if (batch.tokens.size() > kReadTokensMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        batch.tokens.size(), " tokens in one call; it takes at most ", kReadTokensMax));
  }
  size_t bytes = 0;
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    const ReadToken& token = batch.tokens[i];
    bytes += token.text.size();
    if (token.text.size() > kReadTokenBytesMax || bytes > kReadBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat(
          "token ", i, " has ", token.text.size(), " bytes, ", bytes, " with those before it; at ",
          "most ", kReadTokenBytesMax, " and ", kReadBytesMax));
    }
    if (!(std::isfinite(token.surprise) && token.surprise >= 0)) {
      return absl::InvalidArgumentError(absl::StrCat("token ", i, ": surprise ", token.surprise,
                                                     " is not a number of 0 or more"));
    }
  }
  if (batch.evaluations.empty()) return absl::OkStatus();
  CHIMERA_RETURN_IF_ERROR(CheckCount(batch.evaluations.size(), kFactEvaluationsMax, "evaluations"));
  for (const FactEvaluation& one : batch.evaluations) {
    CHIMERA_RETURN_IF_ERROR(CheckId(one.fact_id, "fact"));
    CHIMERA_RETURN_IF_ERROR(ValidateFactText(one.context, "context"));
    CHIMERA_RETURN_IF_ERROR(
        ContrastiveDelta(ContrastiveOptions(), one.nll_with, one.nll_without, one.tokens).status());
  }
  return absl::OkStatus();
}

absl::Status ValidateEntityFilter(const EntityFilter& filter) {
  if (filter.number) CHIMERA_RETURN_IF_ERROR(ValidateEntityText(*filter.number, "number"));
  if (filter.gender) CHIMERA_RETURN_IF_ERROR(ValidateEntityText(*filter.gender, "gender"));
  return absl::OkStatus();
}

}  // namespace chimera
