// A grammar over a vocabulary: states behind tokens, masks, and both kept for everyone who uses the
// grammar.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "grammar/mask_builder.h"
#include "grammar/state_table.h"

namespace chimera {

// When a grammar's tables have grown this large they are begun anew.
inline constexpr int64_t kGrammarTableBytesMax = 16 << 20;
inline constexpr int64_t kGrammarMaskBytesMax = 16 << 20;

struct MaskOptions {
  bool keep = true;    // masks for the next time their state comes up
  bool ahead = false;  // build those of the first kAheadStates states at once
};
inline constexpr int kAheadStates = 256;

struct MaskCounts {
  int64_t built = 0, cached = 0, budgeted = 0;
};

// Thread-safe.
class TokenGrammar {
 public:
  TokenGrammar(std::shared_ptr<const GrammarVocabulary> vocabulary,
               std::shared_ptr<const Machine> machine, const MaskOptions& options = {});
  TokenGrammar(const TokenGrammar&) = delete;
  TokenGrammar& operator=(const TokenGrammar&) = delete;

  const GrammarVocabulary& vocabulary() const { return *vocabulary_; }
  MaskCounts counts() const;
  int64_t bytes() const;

 private:
  friend class GrammarMatcher;
  // Belong together: a state is a number in this table only.
  struct Tables {
    Tables(std::shared_ptr<const GrammarVocabulary> vocabulary,
           std::shared_ptr<const Machine> machine)
        : table(std::move(machine)), builder(std::move(vocabulary), &table) {}
    StateTable table;
    MaskBuilder builder;
    std::unordered_map<GrammarState, TokenMask> masks;
    int64_t mask_bytes = 0;

    const TokenMask& Mask(GrammarState state, const MaskOptions& options, MaskCounts* counts);
    bool full() const { return table.bytes() > kGrammarTableBytesMax; }
  };

  void BuildAhead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The tables in use; new ones when those are full.
  std::shared_ptr<Tables> Current() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<const GrammarVocabulary> vocabulary_;
  const std::shared_ptr<const Machine> machine_;
  const MaskOptions options_;
  mutable Mutex mutex_;  // of the tables' contents too
  std::shared_ptr<Tables> current_ ABSL_GUARDED_BY(mutex_);
  MaskCounts counts_ ABSL_GUARDED_BY(mutex_);
};

// How a mask came about.
struct MaskResult {
  bool can_end = false;   // end-of-text is among the tokens
  bool budgeted = false;  // the tokens left ruled some out
  bool closable = true;   // false: no end fits into the tokens left
  int allowed = 0;        // tokens, end-of-text among them
};

// One text under a grammar. A copy is a fork. Thread-compatible; matchers of one grammar may be
// used at once.
class GrammarMatcher {
 public:
  explicit GrammarMatcher(std::shared_ptr<TokenGrammar> grammar);

  // The tokens that may follow, one bit an id (GrammarVocabulary::mask_words()). tokens_left: how
  // many may still come, the next one among them; as soon as they are needed to bring the text to
  // an end, only tokens that leave enough of them are allowed. RESOURCE_EXHAUSTED when the grammar
  // is too ambiguous (StateTable::status).
  absl::StatusOr<MaskResult> Mask(int tokens_left, std::span<uint64_t> bits);
  // Takes one more token. INVALID_ARGUMENT, and nothing has changed, when it may not follow.
  absl::Status Advance(int32_t token);
  // Takes back the last n tokens; at most kRollbackMax, and those since the text began.
  void Rollback(int n);

  bool CanEnd() const;
  // The text may end and nothing may follow.
  bool MustEnd() const;
  // Bytes that certainly come next.
  std::string ForcedText() const;
  // A short text that brings this one to an end.
  std::string ClosingText() const;
  int tokens() const { return tokens_; }

  static constexpr int kRollbackMax = 128;

 private:
  // Moves to the grammar's current tables. Holds the grammar's mutex.
  void Settle();
  // Whether a closing text fits into the tokens left; plan_ is one then.
  bool Plan(int tokens_left);

  std::shared_ptr<TokenGrammar> grammar_;
  std::shared_ptr<TokenGrammar::Tables> tables_;
  std::vector<GrammarState> states_;  // behind each of the last tokens, the present one at the end
  int tokens_ = 0;
  std::vector<int32_t> plan_;  // tokens of a closing text that was begun, the next one at the end
};

}  // namespace chimera
