#include "decode/debt_scanner.h"

#include <algorithm>
#include <iterator>

namespace chimera {
namespace {

constexpr std::string_view kNames[kDebtTypes] = {
    "close_bracket", "close_string",   "close_fence",       "resolve_pronoun",
    "finish_list",   "maintain_tense", "complete_sentence", "end_json_object"};

}  // namespace

std::string_view DebtName(DebtType type) { return kNames[static_cast<size_t>(type)]; }

std::optional<DebtType> DebtOf(std::string_view name) {
  const auto at = std::find(std::begin(kNames), std::end(kNames), name);
  if (at == std::end(kNames)) return std::nullopt;
  return static_cast<DebtType>(at - std::begin(kNames));
}

bool IsProse(GrammarMode mode) {
  return mode == GrammarMode::kPlainText || mode == GrammarMode::kDialogue ||
         mode == GrammarMode::kMarkdown;
}

std::unique_ptr<DebtScanner> MakeDebtScanner(GrammarMode mode) {
  return IsProse(mode) ? MakeProseScanner() : MakeCodeScanner(mode);
}

}  // namespace chimera
