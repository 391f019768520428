// chimera tokenize: token ids of standard input, as one text or as JSON strings line by line.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "cluster/signals.h"
#include "services/cli/commands.h"
#include "services/cli/tokenizer_choice.h"

namespace chimera {
namespace {

constexpr size_t kLineBytesMax = 64 << 20;
constexpr size_t kTextBytesMax = size_t{1} << 30;
constexpr size_t kReadBytes = 1 << 16;

struct TokenizeFlags {
  TokenizerFlags tokenizer;
  bool json = false;
};

// Standard input by lines or as a whole, bounded. Thread-compatible.
class Input {
 public:
  // The next line without its end; nothing at the end of the input.
  absl::StatusOr<std::optional<std::string>> Line() {
    while (true) {
      const size_t end = buffer_.find('\n', scanned_);
      if (end != std::string::npos) {
        std::string line = buffer_.substr(begin_, end - begin_);
        begin_ = scanned_ = end + 1;
        return line;
      }
      scanned_ = buffer_.size();
      if (buffer_.size() - begin_ > kLineBytesMax) {
        return absl::InvalidArgumentError(
            absl::StrCat("a line of standard input is longer than ", kLineBytesMax, " bytes"));
      }
      CHIMERA_ASSIGN_OR_RETURN(const bool more, Fill());
      if (more) continue;
      if (begin_ == buffer_.size()) return std::nullopt;
      std::string line = buffer_.substr(begin_);
      begin_ = scanned_ = buffer_.size();
      return line;
    }
  }
  // False when the next Line may have to wait for whoever writes.
  bool HasLine() const { return buffer_.find('\n', begin_) != std::string::npos; }

  absl::StatusOr<std::string> All() {
    while (true) {
      if (buffer_.size() > kTextBytesMax) {
        return absl::InvalidArgumentError(
            absl::StrCat("standard input is longer than ", kTextBytesMax, " bytes"));
      }
      CHIMERA_ASSIGN_OR_RETURN(const bool more, Fill());
      if (!more) return std::move(buffer_);
    }
  }

 private:
  absl::StatusOr<bool> Fill() {
    if (begin_ > 0) {
      buffer_.erase(0, begin_);
      scanned_ -= begin_;
      begin_ = 0;
    }
    const size_t old = buffer_.size();
    buffer_.resize(old + kReadBytes);
    ssize_t n;
    do {
      n = ::read(STDIN_FILENO, buffer_.data() + old, kReadBytes);
    } while (n < 0 && errno == EINTR);
    buffer_.resize(old + (n > 0 ? static_cast<size_t>(n) : 0));
    if (n < 0) return absl::UnavailableError("standard input cannot be read");
    return n > 0;
  }

  std::string buffer_;
  size_t begin_ = 0;    // of the next line
  size_t scanned_ = 0;  // no line ends before
};

absl::Status Put(const std::string& text, bool flush) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
      (flush && std::fflush(stdout) != 0)) {
    return absl::CancelledError("standard output was closed");
  }
  return absl::OkStatus();
}

absl::Status TokenizeLines(const Tokenizer& tokenizer) {
  Input input;
  std::vector<int32_t> ids;
  for (int64_t number = 1;; ++number) {
    CHIMERA_ASSIGN_OR_RETURN(const std::optional<std::string> line, input.Line());
    if (!line) return Put("", true);
    const nlohmann::json text = nlohmann::json::parse(*line, nullptr, false);
    if (!text.is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, " of standard input is not a JSON string"));
    }
    ids.clear();
    tokenizer.EncodeAppend(text.get_ref<const std::string&>(), &ids);
    // A program that waits for its answer gets it; a long file is written in blocks.
    CHIMERA_RETURN_IF_ERROR(
        Put(absl::StrCat("[", absl::StrJoin(ids, ","), "]\n"), !input.HasLine()));
  }
}

absl::Status TokenizeAll(const Tokenizer& tokenizer) {
  CHIMERA_ASSIGN_OR_RETURN(const std::string text, Input().All());
  const std::vector<int32_t> ids = tokenizer.Encode(text);
  CHIMERA_RETURN_IF_ERROR(Put(absl::StrCat(absl::StrJoin(ids, " "), "\n"), true));
  std::fprintf(stderr, "%zu tokens, %zu bytes\n", ids.size(), text.size());
  return absl::OkStatus();
}

absl::Status RunTokenize(const TokenizeFlags& flags) {
  const SignalWatch interrupted([] { ::_exit(130); });
  CHIMERA_ASSIGN_OR_RETURN(const auto tokenizer, ChooseTokenizer(flags.tokenizer));
  return flags.json ? TokenizeLines(*tokenizer) : TokenizeAll(*tokenizer);
}

}  // namespace

void AddTokenize(CLI::App& app, Command* run) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* sub = app.add_subcommand("tokenize", "Token ids of standard input");
  AddTokenizerOptions(sub, &flags->tokenizer);
  sub->add_flag("--json", flags->json,
                "Read one JSON string a line, print one JSON array of ids a line");
  sub->footer(
      "Text never becomes a special token: <|endoftext|> in it is encoded as its bytes. Without\n"
      "--json the ids go to standard output and their count to standard error.\n\n"
      "Examples:\n"
      "  echo -n 'Once upon a time' | chimera tokenize --model models/nano\n"
      "  echo '\"a\\nb\"' | chimera tokenize --tokenizer o200k_base:4096 --json");
  sub->callback([flags, run] { *run = [flags] { return RunTokenize(*flags); }; });
}

}  // namespace chimera
