#include "grammar/grammar_cache.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "grammar/ebnf.h"
#include "grammar/json_schema.h"
#include "grammar/modes.h"
#include "grammar/rule_dfa.h"
#include "grammar/rules.h"

namespace chimera {
namespace {

void Add(const MaskCounts& more, MaskCounts* sum) {
  sum->built += more.built;
  sum->cached += more.cached;
  sum->budgeted += more.budgeted;
}

absl::StatusOr<std::shared_ptr<const Machine>> OfTables(absl::StatusOr<RuleTables> tables) {
  CHIMERA_RETURN_IF_ERROR(tables.status());
  return std::make_shared<const RuleMachine>(*std::move(tables));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Machine>> CompileGrammar(const GrammarSource& source,
                                                              GrammarUse use) {
  switch (source.kind) {
    case GrammarSource::Kind::kNone:
      break;
    case GrammarSource::Kind::kMode: {
      const auto mode = GrammarModeOf(source.text);
      if (!mode) {
        return absl::InvalidArgumentError(
            absl::StrCat("mode ", source.text.substr(0, 64), " is not one of ", GrammarModeList()));
      }
      return ModeMachine(*mode, use);
    }
    case GrammarSource::Kind::kJsonSchema:
      return OfTables(CompileJsonSchema(source.text, {.use = use}));
    case GrammarSource::Kind::kRegex:
      return MakeRegexMachine(source.text);
    case GrammarSource::Kind::kEbnf:
      return OfTables(CompileEbnf(source.text, use));
  }
  return absl::InvalidArgumentError("no grammar was given");
}

std::shared_ptr<const GrammarVocabulary> GrammarCache::Vocabulary() {
  MutexLock lock(&vocabulary_mutex_);
  if (vocabulary_ == nullptr) vocabulary_ = GrammarVocabulary::Create(tokenizer_);
  return vocabulary_;
}

absl::StatusOr<std::shared_ptr<TokenGrammar>> GrammarCache::Get(const GrammarSource& source) {
  {
    MutexLock lock(&mutex_);
    const auto known = std::find_if(recent_.begin(), recent_.end(),
                                    [&](const Entry& entry) { return entry.source == source; });
    if (known != recent_.end()) {
      ++counts_.hits;
      recent_.splice(recent_.begin(), recent_, known);
      return known->grammar;
    }
    ++counts_.misses;
  }
  // Without the lock: a slow grammar costs its sender only. Two at once may compile the same one.
  CHIMERA_ASSIGN_OR_RETURN(std::shared_ptr<const Machine> machine,
                           CompileGrammar(source, GrammarUse::kGenerate));
  auto grammar = std::make_shared<TokenGrammar>(Vocabulary(), std::move(machine), options_.masks);
  MutexLock lock(&mutex_);
  recent_.push_front({source, grammar});
  Trim();
  return grammar;
}

void GrammarCache::Trim() {
  int64_t bytes = 0;
  for (auto entry = recent_.begin(); entry != recent_.end();) {
    bytes += entry->grammar->bytes() + static_cast<int64_t>(entry->source.text.size());
    if (bytes <= options_.bytes_max || entry == recent_.begin()) {
      ++entry;
      continue;
    }
    Add(entry->grammar->counts(), &counts_.masks);
    bytes -= entry->grammar->bytes() + static_cast<int64_t>(entry->source.text.size());
    entry = recent_.erase(entry);
  }
}

GrammarCache::Counts GrammarCache::counts() const {
  MutexLock lock(&mutex_);
  Counts all = counts_;
  for (const Entry& entry : recent_) {
    Add(entry.grammar->counts(), &all.masks);
    all.bytes += entry.grammar->bytes() + static_cast<int64_t>(entry.source.text.size());
    ++all.grammars;
  }
  return all;
}

}  // namespace chimera
