// What the JavaScript mode knows of the language's tokens: the words that decide whether a slash
// divides or opens a regular expression, and the characters that end a line.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "grammar/utf8_steps.h"

namespace chimera {

// What the last token was, as far as the next one depends on it.
enum class JsPrev : uint32_t {
  kStatement,   // a statement may begin: `{` opens a block, `/` a regular expression
  kOperator,    // an operand must follow: `{` opens an object, `/` a regular expression
  kOperand,     // an operand ended: `/` divides
  kUnsafe,      // lexers could disagree about `/` (generated text has none here)
  kUnsafeCall,  // kUnsafe, and so is what follows the parentheses that may come
  kDot,         // a property name follows, whatever the word
  kHead,        // after if, while, with: the parentheses belong to a statement
  kFor,         // the same after `for`
  kAsync,       // after `async` where a statement may begin
  kArrow,       // after `=>`
  kFunction,    // after `function` where the body's end is the end of an operand
  kFunctionName,
  kBody,          // after the parameters of such a function
  kClass,         // after `class` where the body's end is the end of a statement
  kClassOperand,  // after `class` where it is the end of an operand
  kClassName,
  kExtends,
  kHeritage,
  kHeritageDot,
};

enum class JsWord : uint8_t {
  kName,
  kOperator,   // an operand follows
  kDeclare,    // var, let, const: a pattern or a name follows
  kWait,       // await, yield: operators in some functions, names elsewhere
  kStatement,  // a statement or a block follows
  kHead,
  kFor,
  kFunction,
  kClass,
  kAsync,
  kOf,
  kExtends,
};

// The words that are not simply names, letter by letter. Nodes are small numbers: kJsNoWord for
// words that none of them begins like.
inline constexpr uint32_t kJsNoWord = 0;
inline constexpr uint32_t kJsWordRoot = 1;

class JsWords {
 public:
  constexpr JsWords() {
    constexpr std::pair<std::string_view, JsWord> kWords[] = {
        {"return", JsWord::kOperator},
        {"typeof", JsWord::kOperator},
        {"case", JsWord::kOperator},
        {"in", JsWord::kOperator},
        {"instanceof", JsWord::kOperator},
        {"new", JsWord::kOperator},
        {"void", JsWord::kOperator},
        {"delete", JsWord::kOperator},
        {"throw", JsWord::kOperator},
        {"var", JsWord::kDeclare},
        {"let", JsWord::kDeclare},
        {"const", JsWord::kDeclare},
        {"await", JsWord::kWait},
        {"yield", JsWord::kWait},
        {"else", JsWord::kStatement},
        {"do", JsWord::kStatement},
        {"try", JsWord::kStatement},
        {"finally", JsWord::kStatement},
        {"break", JsWord::kStatement},
        {"continue", JsWord::kStatement},
        {"default", JsWord::kStatement},
        {"export", JsWord::kStatement},
        {"if", JsWord::kHead},
        {"while", JsWord::kHead},
        {"with", JsWord::kHead},
        {"for", JsWord::kFor},
        {"function", JsWord::kFunction},
        {"class", JsWord::kClass},
        {"async", JsWord::kAsync},
        {"of", JsWord::kOf},
        {"extends", JsWord::kExtends},
    };
    for (const auto& [text, word] : kWords) Add(text, word);
  }
  constexpr uint32_t Next(uint32_t node, uint8_t byte) const {
    return byte >= 'a' && byte <= 'z' ? next_[node][byte - 'a'] : kJsNoWord;
  }
  constexpr JsWord Of(uint32_t node) const { return words_[node]; }
  // Letters that lead from the node to `extends`, or -1 where none do.
  constexpr int ToExtends(uint32_t node) const { return to_extends_[node]; }

 private:
  constexpr void Add(std::string_view text, JsWord word) {
    uint32_t node = kJsWordRoot;
    int left = static_cast<int>(text.size());
    for (const char c : text) {
      if (word == JsWord::kExtends) to_extends_[node] = static_cast<int8_t>(left--);
      uint8_t& to = next_[node][c - 'a'];
      if (to == 0) {
        to = ++last_;
        to_extends_[to] = -1;
      }
      node = to;
    }
    words_[node] = word;
    if (word == JsWord::kExtends) to_extends_[node] = 0;
  }

  static constexpr int kNodes = 160;
  std::array<std::array<uint8_t, 26>, kNodes> next_ = {};
  std::array<JsWord, kNodes> words_ = {};
  std::array<int8_t, kNodes> to_extends_ = {-1, -1};
  uint8_t last_ = kJsWordRoot;
};
inline constexpr JsWords kJsWords;

// Utf8Step with places of its own for the characters beyond ASCII that are white space or end a
// line: U+00A0, U+FEFF, U+2028 and U+2029.
enum class JsChar { kOpen, kOther, kSpace, kNewline, kBad };
struct JsUtf8 {
  int place;
  JsChar character;
};

constexpr JsUtf8 JsUtf8Step(int place, uint8_t byte) {
  enum { kC2 = kUtf8Places, kE2, kE280, kEF, kEFBB };
  const bool more = byte >= 0x80 && byte <= 0xBF;
  switch (place) {
    case 0:
      if (byte == 0xC2) return {kC2, JsChar::kOpen};
      if (byte == 0xE2) return {kE2, JsChar::kOpen};
      if (byte == 0xEF) return {kEF, JsChar::kOpen};
      break;
    case kC2:
      if (byte == 0xA0) return {0, JsChar::kSpace};
      return {0, more ? JsChar::kOther : JsChar::kBad};
    case kE2:
      if (byte == 0x80) return {kE280, JsChar::kOpen};
      return {1, more ? JsChar::kOpen : JsChar::kBad};
    case kE280:
      if (byte == 0xA8 || byte == 0xA9) return {0, JsChar::kNewline};
      return {0, more ? JsChar::kOther : JsChar::kBad};
    case kEF:
      if (byte == 0xBB) return {kEFBB, JsChar::kOpen};
      return {1, more ? JsChar::kOpen : JsChar::kBad};
    case kEFBB:
      if (byte == 0xBF) return {0, JsChar::kSpace};
      return {0, more ? JsChar::kOther : JsChar::kBad};
    default:
      break;
  }
  const int next = Utf8Step(place, byte);
  if (next == kUtf8Bad) return {0, JsChar::kBad};
  return {next, next == 0 ? JsChar::kOther : JsChar::kOpen};
}

constexpr int JsUtf8Missing(int place) {
  constexpr int kMissing[] = {1, 2, 1, 2, 1};
  return place < kUtf8Places ? Utf8Missing(place) : kMissing[place - kUtf8Places];
}

}  // namespace chimera
