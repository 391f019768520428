#include "grammar/grammar_vocabulary.h"

#include <algorithm>
#include <utility>

#include "text/utf8.h"

namespace chimera {
namespace {

struct SliceClass {
  std::string_view without;  // of ASCII
  bool control;              // has the characters below 32
  bool others;
};

// From large to small. Each is what some grammar lets run on: plain text, a line of Markdown, a
// JSON string, code between its delimiters.
constexpr SliceClass kClasses[] = {
    {"", true, true},
    {"`\n\r", true, true},
    {"\"\\", false, true},
    {"()[]{}\"'`\\#/*$<>-", false, true},
};
// Words: letters and digits of ASCII.
constexpr std::string_view kWords[] = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_",
    "abcdefghijklmnopqrstuvwxyz",
};

void SetBit(std::vector<uint64_t>* bits, uint32_t id) {
  (*bits)[id / 64] |= uint64_t{1} << (id % 64);
}

}  // namespace

TokenSlice::TokenSlice(std::array<bool, 128> ascii, bool others, std::span<const TokenBytes> tokens,
                       int vocab_size)
    : ascii_(ascii),
      others_(others),
      up_to_(kSliceCharsMax, std::vector<uint64_t>((size_t(vocab_size) + 63) / 64, 0)),
      all_((size_t(vocab_size) + 63) / 64, 0) {
  std::vector<TokenBytes> longer, outside;
  for (const TokenBytes& token : tokens) {
    const int chars = Characters(token.bytes);
    if (chars < 0) {
      outside.push_back(token);
      continue;
    }
    SetBit(&all_, token.id);
    ++n_all_;
    if (chars > kSliceCharsMax) longer.push_back(token);
    for (int n = std::max(chars, 1); n <= kSliceCharsMax; ++n) {
      SetBit(&up_to_[size_t(n) - 1], token.id);
      ++n_up_to_[size_t(n) - 1];
    }
  }
  longer_ = TokenTrie(std::move(longer));
  outside_ = TokenTrie(std::move(outside));
}

// How many there are, or -1 when the token has something else.
int TokenSlice::Characters(std::string_view token) const {
  int chars = 0;
  for (size_t at = 0; at < token.size(); ++chars) {
    const Utf8Char c = Utf8At(token, at);
    if (c.kind != Utf8Char::Kind::kValid) return -1;
    if (c.code_point < 128 ? !ascii_[c.code_point] : !others_) return -1;
    at += c.length;
  }
  return chars;
}

int64_t TokenSlice::bytes() const {
  return static_cast<int64_t>((up_to_.size() + 1) * all_.size() * sizeof(uint64_t)) +
         longer_.bytes() + outside_.bytes();
}

std::shared_ptr<const GrammarVocabulary> GrammarVocabulary::Create(
    std::shared_ptr<const Tokenizer> tokenizer) {
  return std::shared_ptr<const GrammarVocabulary>(new GrammarVocabulary(std::move(tokenizer)));
}

GrammarVocabulary::GrammarVocabulary(std::shared_ptr<const Tokenizer> tokenizer)
    : tokenizer_(std::move(tokenizer)) {
  std::vector<TokenBytes> tokens;
  for (int id = 0; id < tokenizer_->n_ranks(); ++id) {
    tokens.push_back({tokenizer_->TokenBytes(id), static_cast<uint32_t>(id)});
  }
  std::sort(tokens.begin(), tokens.end(),
            [](const TokenBytes& a, const TokenBytes& b) { return a.bytes < b.bytes; });
  trie_ = TokenTrie(tokens);
  for (const SliceClass& of : kClasses) {
    std::array<bool, 128> ascii;
    for (size_t c = 0; c < 128; ++c) {
      ascii[c] = (c >= 32 || of.control) &&
                 of.without.find(static_cast<char>(c)) == std::string_view::npos;
    }
    slices_.emplace_back(ascii, of.others, tokens, vocab_size());
  }
  for (const std::string_view word : kWords) {
    std::array<bool, 128> ascii = {};
    for (const char c : word) ascii[static_cast<uint8_t>(c)] = true;
    slices_.emplace_back(ascii, false, tokens, vocab_size());
  }
}

int64_t GrammarVocabulary::bytes() const {
  int64_t total = trie_.bytes();
  for (const TokenSlice& slice : slices_) total += slice.bytes();
  return total;
}

}  // namespace chimera
