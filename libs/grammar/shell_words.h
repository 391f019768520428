// Reserved words of the shell, and how much of a word decides what it may become.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace chimera::shell {

enum Word : uint32_t {
  kIf,
  kThen,
  kElif,
  kElse,
  kFi,
  kFor,
  kWhile,
  kUntil,
  kSelect,
  kDo,
  kDone,
  kCase,
  kEsac,
  kIn,
  kFunction,
  kTime,
  kCoproc,
  kOpenBrace,
  kCloseBrace,
  kBang,
  kOpenCondition,
  kCloseCondition,
  kWords,  // how many; also: none
};

constexpr uint32_t Bit(Word word) { return 1u << word; }

inline constexpr uint32_t kCompounds = Bit(kIf) | Bit(kFor) | Bit(kWhile) | Bit(kUntil) |
                                       Bit(kSelect) | Bit(kCase) | Bit(kOpenBrace) |
                                       Bit(kOpenCondition);
inline constexpr uint32_t kOpeners =
    kCompounds | Bit(kFunction) | Bit(kTime) | Bit(kCoproc) | Bit(kBang);
inline constexpr uint32_t kClosers = Bit(kThen) | Bit(kElif) | Bit(kElse) | Bit(kFi) | Bit(kDo) |
                                     Bit(kDone) | Bit(kEsac) | Bit(kCloseBrace);

// Reserved where a command may begin.
inline constexpr uint32_t kCommandWords = kOpeners | kClosers | Bit(kIn) | Bit(kCloseCondition);

// What was read of a word: a node of the tree of reserved words (0: nothing yet), or one of these.
inline constexpr uint32_t kNodes = 120;
enum Node : uint32_t {
  kName = kNodes,  // a name that no reserved word begins with
  kNamePlus,       // a name and '+'
  kAssign,         // a name and '=' or '+='
  kAssigned,       // the same and more
  kPlain,          // not a name, nothing quoted
  kQuoted,         // has quotes or expansions, or does not matter
};

struct Tree {
  std::array<std::array<uint8_t, 128>, kNodes> next = {};
  std::array<uint32_t, kNodes> reach = {};  // words that begin with this
  std::array<uint8_t, kNodes> length = {};
  std::array<Word, kNodes> word = {};  // the word that ends here, or kWords
};

extern const Tree kTree;
std::string_view Spelling(Word word);

bool IsNameByte(uint8_t byte);
// The node after one more unquoted byte, among the reserved words of `mask`. kQuoted when none is
// left and `names` is false.
uint32_t NextNode(uint32_t node, uint8_t byte, uint32_t mask, bool names);
// The reserved word of `mask` that is spelled out, or kWords.
Word WordAt(uint32_t node, uint32_t mask);
// Whether a reserved word of `mask` begins with what was read.
inline bool Begins(uint32_t node, uint32_t mask) {
  return node < kNodes && (kTree.reach[node] & mask) != 0;
}
// Whether what was read is a name.
bool IsName(uint32_t node);

}  // namespace chimera::shell
