// The tokens of a vocabulary as a byte trie in depth-first order: a walk that meets a byte which
// cannot follow skips everything below it with one addition.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace chimera {

struct TokenBytes {
  std::string_view bytes;  // 1..255
  uint32_t id = 0;         // below 2^24 - 1
};

// Immutable, thread-safe.
class TokenTrie {
 public:
  // 8 bytes. Nodes of a subtree stand together behind its root.
  struct Node {
    uint32_t byte : 8;
    uint32_t token : 24;  // 1 + id of the token that ends here; 0: none
    uint32_t depth : 8;   // 1 below the root
    uint32_t size : 24;   // of the subtree, this node among them

    int id() const { return static_cast<int>(token) - 1; }
  };

  TokenTrie() = default;
  // Tokens in any order; their bytes differ.
  explicit TokenTrie(std::vector<TokenBytes> tokens);

  std::span<const Node> nodes() const { return nodes_; }
  int64_t bytes() const { return static_cast<int64_t>(nodes_.size() * sizeof(Node)); }

 private:
  std::vector<Node> nodes_;
};

}  // namespace chimera
