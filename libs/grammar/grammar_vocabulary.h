// What masks need of a vocabulary, made once for each tokenizer: its trie, and *slices*.
//
// A slice is a class of characters and the tokens that hold nothing else. Where a grammar lets any
// of these characters follow one another (within a string, a comment, a word), all of the slice's
// tokens are allowed at once, and only the tokens outside it have to be tried (B.2, B.3). Of
// o200k_base 194,032 of 199,998 tokens are content of a JSON string, and 11,631 trie nodes are
// left.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "grammar/token_trie.h"
#include "text/tokenizer.h"

namespace chimera {

inline constexpr int kSliceCharsMax = 32;  // longer tokens are tried one by one where length counts

// Immutable, thread-safe.
class TokenSlice {
 public:
  // ascii: the characters below 128 of the class. others: all characters beyond are of it.
  TokenSlice(std::array<bool, 128> ascii, bool others, std::span<const TokenBytes> tokens,
             int vocab_size);

  bool Has(uint8_t ascii) const { return ascii_[ascii]; }
  bool others() const { return others_; }
  // The tokens of at most `chars` characters, 1 to kSliceCharsMax: one bit an id.
  std::span<const uint64_t> UpTo(int chars) const { return up_to_[size_t(chars) - 1]; }
  int n_up_to(int chars) const { return n_up_to_[size_t(chars) - 1]; }
  // All of its tokens.
  std::span<const uint64_t> all() const { return all_; }
  int n_all() const { return n_all_; }
  const TokenTrie& longer() const { return longer_; }    // its tokens beyond kSliceCharsMax
  const TokenTrie& outside() const { return outside_; }  // all tokens it does not have
  int64_t bytes() const;

 private:
  int Characters(std::string_view token) const;

  std::array<bool, 128> ascii_;
  bool others_;
  std::vector<std::vector<uint64_t>> up_to_;
  std::array<int, kSliceCharsMax> n_up_to_ = {};
  std::vector<uint64_t> all_;
  int n_all_ = 0;
  TokenTrie longer_, outside_;
};

// Immutable, thread-safe.
class GrammarVocabulary {
 public:
  // Keeps the tokenizer.
  static std::shared_ptr<const GrammarVocabulary> Create(
      std::shared_ptr<const Tokenizer> tokenizer);

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  int vocab_size() const { return tokenizer_->vocab_size(); }
  size_t mask_words() const { return (size_t(vocab_size()) + 63) / 64; }
  const TokenTrie& trie() const { return trie_; }
  // Larger classes first.
  std::span<const TokenSlice> slices() const { return slices_; }
  // The one that is the content of JSON strings.
  static constexpr size_t kStringSlice = 2;
  int64_t bytes() const;

 private:
  explicit GrammarVocabulary(std::shared_ptr<const Tokenizer> tokenizer);

  std::shared_ptr<const Tokenizer> tokenizer_;
  TokenTrie trie_;
  std::vector<TokenSlice> slices_;
};

}  // namespace chimera
