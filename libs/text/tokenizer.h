// The tokenizer: o200k_base, or its first N ranks, as a byte-level BPE (math-inference-training F).
//
// Ids of the full vocabulary (199,998 ranks): 0..199997 ranks, 199999 end of text, 200018 end of
// prompt, 200019.. the 54 agent specials; 199998 and 200000..200017 are unassigned; vocab_size
// 200073. Ids of a truncated vocabulary (N ranks, DESIGN D7): 0..N-1 ranks, N end of text, N+1 end
// of prompt, N+2.. the agent specials; vocab_size N + 56.
//
// Encoding is "ordinary": spellings such as <|system|> stay plain bytes, so text can never forge a
// special; only the caller inserts one, by id. Any bytes are accepted: a byte that is no part of
// well-formed UTF-8 counts as a symbol of its own, and Decode(Encode(x)) == x always.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace chimera {

class Vocabulary;
class CodePointClasses;

inline constexpr int kRanksMin = 256;
inline constexpr int kRanksFull = 199998;
inline constexpr int kAgentSpecials = 54;

// Immutable, thread-safe.
class Tokenizer {
 public:
  // From the lines "base64 rank" of an o200k_base rank file, in rank order. n_ranks takes the first
  // lines only; 0 takes all. INVALID_ARGUMENT names the line: malformed, out of order, a token
  // twice, a token no merge can reach, first 256 not the 256 bytes, n_ranks outside [256, 199998].
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> FromRankText(std::string_view rank_text,
                                                                       int n_ranks);
  // The model folder's tokenizer.model (docs/formats/tokenizer.md). DATA_LOSS names the fault of a
  // damaged file; nothing in it is trusted.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> FromFile(const std::string& path);
  // Atomic and durable; equal tokenizers write equal bytes.
  absl::Status WriteFile(const std::string& path) const;

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  int vocab_size() const { return first_agent_ + kAgentSpecials; }
  int n_ranks() const { return n_ranks_; }
  int eot() const { return eot_; }
  int end_of_prompt() const { return end_of_prompt_; }

  // By bare name: "system", "/think", "pad", "endoftext", "endofprompt".
  std::optional<int> SpecialId(std::string_view name) const;
  // True for end of text, end of prompt and the agent specials; false for ranks, unassigned ids and
  // ids outside the vocabulary.
  bool IsSpecial(int id) const;
  // The bare name of a special, empty for every other id. "<|" + name + "|>" is the usual spelling.
  std::string_view SpecialName(int id) const;
  // The bytes of a rank; empty for specials, unassigned ids and ids outside the vocabulary. Valid
  // as long as the tokenizer lives.
  std::string_view TokenBytes(int id) const;
  // XXH3-64 of the ranks and their bytes: two tokenizers with one hash encode alike.
  uint64_t Hash() const;

  // Only ids below n_ranks() come out.
  std::vector<int32_t> Encode(std::string_view bytes) const;
  void EncodeAppend(std::string_view bytes, std::vector<int32_t>* ids) const;
  // Appends the ids of the leading pieces that stay the same whatever text follows, and returns how
  // many bytes they hold: the rest belongs in front of the next chunk.
  size_t EncodeStable(std::string_view bytes, std::vector<int32_t>* ids) const;
  // The raw bytes; everything but ranks decodes to nothing.
  std::string Decode(std::span<const int32_t> ids) const;

 private:
  explicit Tokenizer(std::unique_ptr<const Vocabulary> vocabulary);
  size_t EncodePieces(std::string_view bytes, bool whole, std::vector<int32_t>* ids) const;

  std::unique_ptr<const Vocabulary> vocabulary_;
  const CodePointClasses* classes_;  // lives forever
  uint64_t serial_;                  // which tokenizer a thread's piece cache belongs to
  int n_ranks_;
  int eot_;
  int end_of_prompt_;
  int first_agent_;
};

}  // namespace chimera
