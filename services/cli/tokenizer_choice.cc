#include "services/cli/tokenizer_choice.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "model/model.h"
#include "train/jobs_tokenizer.h"

namespace chimera {
namespace {

constexpr std::string_view kFullName = "o200k_base";

}  // namespace

void AddTokenizerOptions(CLI::App* sub, TokenizerFlags* flags, bool required) {
  CLI::Option_group* which = sub->add_option_group("Which tokenizer");
  which->add_option(
      "--tokenizer", flags->tokenizer,
      "o200k_base, o200k_base:N (its first N ranks), or a tokenizer.model or *.tiktoken file");
  which->add_option("--model", flags->model, "Model folder whose tokenizer to use");
  which->require_option(required ? 1 : 0, 1);
  sub->add_option("--ranks", flags->ranks,
                  "Rank file o200k_base.tiktoken; looked up in .cache/tokenizer by default");
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> ChooseTokenizer(const TokenizerFlags& flags) {
  if (!flags.model.empty()) {
    std::error_code error;
    if (!std::filesystem::is_directory(flags.model, error)) {
      return absl::NotFoundError(absl::StrCat(flags.model, ": no such model folder"));
    }
    return LoadTokenizerFile(absl::StrCat(flags.model, "/", kTokenizerFile), 0);
  }
  const std::string& name = flags.tokenizer;
  if (!name.starts_with(kFullName) || name.ends_with(".tiktoken")) {
    return LoadTokenizerFile(name, 0);
  }
  int n_ranks = 0;
  if (name.size() > kFullName.size()) {
    const bool number = name[kFullName.size()] == ':' &&
                        absl::SimpleAtoi(name.substr(kFullName.size() + 1), &n_ranks);
    if (!number || n_ranks < kRanksMin || n_ranks > kRanksFull) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer \"", name, "\": N must be ", kRanksMin, " to ", kRanksFull));
    }
  }
  if (!flags.ranks.empty()) return LoadTokenizerFile(flags.ranks, n_ranks);
  return FindTokenizer(RankFilePlaces(), n_ranks);
}

}  // namespace chimera
