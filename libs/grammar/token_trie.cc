#include "grammar/token_trie.h"

#include <algorithm>

namespace chimera {

TokenTrie::TokenTrie(std::vector<TokenBytes> tokens) {
  const auto before = [](const TokenBytes& a, const TokenBytes& b) { return a.bytes < b.bytes; };
  if (!std::is_sorted(tokens.begin(), tokens.end(), before)) {
    std::sort(tokens.begin(), tokens.end(), before);
  }
  std::vector<size_t> path;  // nodes from the root to the last token's end
  std::string_view last;
  const auto leave = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) {
      nodes_[path.back()].size = static_cast<uint32_t>(nodes_.size() - path.back());
    }
  };
  for (const TokenBytes& token : tokens) {
    const auto [end, ignored] =
        std::mismatch(last.begin(), last.end(), token.bytes.begin(), token.bytes.end());
    leave(static_cast<size_t>(end - last.begin()));
    for (size_t i = path.size(); i < token.bytes.size(); ++i) {
      path.push_back(nodes_.size());
      Node node = {};
      node.byte = static_cast<uint8_t>(token.bytes[i]);
      node.depth = static_cast<uint8_t>(i + 1);
      nodes_.push_back(node);
    }
    nodes_[path.back()].token = token.id + 1;
    last = token.bytes;
  }
  leave(0);
}

}  // namespace chimera
