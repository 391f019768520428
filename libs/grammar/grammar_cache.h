// The grammars of requests: compiled once, kept while they are used, within a budget of bytes.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "grammar/grammar_vocabulary.h"
#include "grammar/machine.h"
#include "grammar/token_grammar.h"
#include "text/tokenizer.h"

namespace chimera {

// What a text has to be. Plain data.
struct GrammarSource {
  enum class Kind { kNone, kMode, kJsonSchema, kRegex, kEbnf };
  Kind kind = Kind::kNone;
  std::string text;  // the name of the mode, the schema, the expression, the grammar
  bool operator==(const GrammarSource&) const = default;
};

// INVALID_ARGUMENT says what is wrong or not supported and where; RESOURCE_EXHAUSTED which limit
// was passed. kind is not kNone.
absl::StatusOr<std::shared_ptr<const Machine>> CompileGrammar(const GrammarSource& source,
                                                              GrammarUse use);

struct GrammarCacheOptions {
  int64_t bytes_max = 64 << 20;
  MaskOptions masks;
};

// Of one tokenizer. Thread-safe.
class GrammarCache {
 public:
  explicit GrammarCache(std::shared_ptr<const Tokenizer> tokenizer,
                        const GrammarCacheOptions& options = {})
      : tokenizer_(std::move(tokenizer)), options_(options) {}

  // Errors as of CompileGrammar. What was returned stays valid whatever leaves the cache. The first
  // call makes the tries of the vocabulary (a tenth of a second for 200,000 tokens).
  absl::StatusOr<std::shared_ptr<TokenGrammar>> Get(const GrammarSource& source);

  struct Counts {
    int64_t hits = 0, misses = 0, bytes = 0, grammars = 0;
    MaskCounts masks;  // of all grammars that were ever held
  };
  Counts counts() const;

 private:
  struct Entry {
    GrammarSource source;
    std::shared_ptr<TokenGrammar> grammar;
  };
  std::shared_ptr<const GrammarVocabulary> Vocabulary();
  void Trim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<const Tokenizer> tokenizer_;
  const GrammarCacheOptions options_;
  Mutex vocabulary_mutex_;
  std::shared_ptr<const GrammarVocabulary> vocabulary_ ABSL_GUARDED_BY(vocabulary_mutex_);
  mutable Mutex mutex_;
  std::list<Entry> recent_ ABSL_GUARDED_BY(mutex_);  // last used first
  Counts counts_ ABSL_GUARDED_BY(mutex_);            // masks: of those that left
};

}  // namespace chimera
