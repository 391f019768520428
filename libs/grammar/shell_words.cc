#include "grammar/shell_words.h"

namespace chimera::shell {
namespace {

constexpr std::array<std::string_view, kWords> kSpellings = {
    "if",   "then", "elif", "else",     "fi",   "for",    "while", "until", "select", "do", "done",
    "case", "esac", "in",   "function", "time", "coproc", "{",     "}",     "!",      "[[", "]]"};

constexpr Tree MakeTree() {
  Tree tree;
  tree.word.fill(kWords);
  uint8_t nodes = 1;
  for (uint32_t word = 0; word < kWords; ++word) {
    uint8_t node = 0;
    tree.reach[0] |= 1u << word;
    for (const char c : kSpellings[word]) {
      uint8_t& next = tree.next[node][static_cast<uint8_t>(c)];
      if (next == 0) {
        next = nodes++;
        tree.length[next] = static_cast<uint8_t>(tree.length[node] + 1);
      }
      node = next;
      tree.reach[node] |= 1u << word;
    }
    tree.word[node] = static_cast<Word>(word);
  }
  return tree;
}

bool IsDigit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

}  // namespace

constinit const Tree kTree = MakeTree();

std::string_view Spelling(Word word) { return kSpellings[word]; }

bool IsNameByte(uint8_t byte) {
  return IsDigit(byte) || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
         byte == '_';
}

bool IsName(uint32_t node) {
  if (node == kName) return true;
  if (node == 0 || node >= kNodes) return false;
  constexpr uint32_t kSigns =
      Bit(kOpenBrace) | Bit(kCloseBrace) | Bit(kBang) | Bit(kOpenCondition) | Bit(kCloseCondition);
  return (kTree.reach[node] & kSigns) == 0;
}

uint32_t NextNode(uint32_t node, uint8_t byte, uint32_t mask, bool names) {
  if (node < kNodes && byte < 128) {
    const uint32_t next = kTree.next[node][byte];
    if (next != 0 && (kTree.reach[next] & mask) != 0) return next;
  }
  if (!names) return kQuoted;
  if (byte == '=' && (IsName(node) || node == kNamePlus)) return kAssign;
  if (byte == '+' && IsName(node)) return kNamePlus;
  if (node == kAssign || node == kAssigned) return kAssigned;
  if (node == kQuoted) return kQuoted;
  const bool name = node == 0 ? IsNameByte(byte) && !IsDigit(byte) : IsName(node);
  return name && IsNameByte(byte) ? uint32_t{kName} : uint32_t{kPlain};
}

Word WordAt(uint32_t node, uint32_t mask) {
  const Word word = node < kNodes ? kTree.word[node] : kWords;
  return word != kWords && (Bit(word) & mask) != 0 ? word : kWords;
}

}  // namespace chimera::shell
