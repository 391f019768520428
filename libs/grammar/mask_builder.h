// Masks: which tokens may follow in a state.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_set>
#include <vector>

#include "grammar/grammar_vocabulary.h"
#include "grammar/state_table.h"
#include "grammar/utf8_steps.h"

namespace chimera {

// The tokens a state allows. Most have one of two forms: a few ids, or a slice and a few ids
// beside.
struct TokenMask {
  const TokenSlice* slice = nullptr;
  int slice_chars = 0;           // 0: all of the slice
  std::vector<int32_t> ids;      // beside the slice, in the order of their bytes
  std::vector<uint64_t> bits;    // instead of ids, when that is shorter
  int count = 0;                 // of the tokens
  uint32_t close_bytes_max = 0;  // the longest way to an end behind any of the tokens

  // Sets the bits of the tokens and clears all others. bits: as many words as the vocabulary asks.
  void Write(std::span<uint64_t> out) const;
  int64_t bytes() const;
};

// Of one table. Thread-compatible, and so is its use of the table.
class MaskBuilder {
 public:
  // The table must outlive it.
  MaskBuilder(std::shared_ptr<const GrammarVocabulary> vocabulary, StateTable* table);

  // The tokens that may follow in a state and, with close_bytes_max, leave a way to an end of at
  // most that many bytes.
  TokenMask Build(GrammarState state, uint32_t close_bytes_max = kAnyClose);

  static constexpr uint32_t kAnyClose = 0xFFFFFFFFu;

 private:
  // One of the bytes that table and UTF-8 treat alike, and the place within a character behind it.
  struct CharByte {
    uint8_t byte = 0;
    int place = 0;
  };
  // The first bytes of a slice's characters, then those at each place within one.
  using CharBytes = std::array<std::vector<CharByte>, kUtf8Places>;
  // How far the characters of a slice may follow one another.
  struct Run {
    int chars = 0;             // any so many may; kEndless
    bool exact = false;        // and never more
    uint32_t close_bytes = 0;  // the most on the way
  };
  static constexpr int kEndless = 1 << 20;
  // What one more character does.
  struct Layer {
    bool all = true, any = false;      // whether all of the slice's may follow, whether any may
    std::vector<GrammarState> ends;    // each once
    std::unordered_set<uint64_t> met;  // states at places within a character, and ends
  };

  CharBytes BytesOf(const TokenSlice& slice) const;
  Run RunOf(GrammarState state, size_t slice);
  Run FindRun(GrammarState state, const CharBytes& bytes);
  void Follow(const CharBytes& bytes, GrammarState state, int place, Run* run, Layer* layer);
  void Walk(GrammarState state, const TokenTrie& trie, uint32_t close_bytes_max, TokenMask* mask);

  std::shared_ptr<const GrammarVocabulary> vocabulary_;
  StateTable* table_;
  std::vector<CharBytes> slice_bytes_;
};

}  // namespace chimera
