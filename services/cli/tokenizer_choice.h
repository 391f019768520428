// The tokenizer a command is asked to use: --tokenizer, --ranks or --model.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "text/tokenizer.h"

namespace CLI {
class App;
}  // namespace CLI

namespace chimera {

struct TokenizerFlags {
  std::string tokenizer;  // "o200k_base", "o200k_base:4096", or a file
  std::string ranks;      // the rank file; empty: looked up in .cache/tokenizer
  std::string model;      // a model folder
};

// Adds the three options to a command; the parser sees to it that exactly one of tokenizer and
// model is given, or at most one when the full o200k_base is what a command falls back to.
void AddTokenizerOptions(CLI::App* sub, TokenizerFlags* flags, bool required = true);

// Errors name the file, or what to do when there is none.
absl::StatusOr<std::shared_ptr<const Tokenizer>> ChooseTokenizer(const TokenizerFlags& flags);

}  // namespace chimera
