// Our side of scripts/tokenizer_peer.mjs: tokenizer_peer RANK_FILE [N_RANKS] reads one base64 text
// a line and prints its ids, space-separated, one line each.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "base/file.h"
#include "text/tokenizer.h"

int main(int argc, char** argv) {
  int n_ranks = 0;
  if (argc < 2 || argc > 3 || (argc == 3 && !absl::SimpleAtoi(argv[2], &n_ranks))) {
    std::fprintf(stderr, "usage: tokenizer_peer RANK_FILE [N_RANKS]\n");
    return 2;
  }
  const auto rank_text = chimera::ReadFile(argv[1], size_t{8} << 20);
  if (!rank_text.ok()) {
    std::fprintf(stderr, "%s\n", rank_text.status().ToString().c_str());
    return 1;
  }
  const auto tokenizer = chimera::Tokenizer::FromRankText(*rank_text, n_ranks);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().ToString().c_str());
    return 1;
  }
  std::ios::sync_with_stdio(false);
  for (std::string line, text; std::getline(std::cin, line);) {
    if (!absl::Base64Unescape(line, &text)) {
      std::fprintf(stderr, "a line is not base64\n");
      return 1;
    }
    std::string out;
    for (const int32_t id : (*tokenizer)->Encode(text)) out += std::to_string(id) + " ";
    out += '\n';
    std::fwrite(out.data(), 1, out.size(), stdout);
  }
  return 0;
}
