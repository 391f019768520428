// The words and names that the LaTeX mode knows.
#pragma once

#include <cstdint>
#include <iterator>
#include <string_view>
#include <utility>

namespace chimera::math_latex {

enum Word : uint8_t { kOther, kBeginWord, kEndWord, kLeftWord, kRightWord, kVerbWord, kTextual };

inline constexpr std::pair<std::string_view, Word> kSpecialWords[] = {
    {"begin", kBeginWord}, {"end", kEndWord},    {"left", kLeftWord},  {"right", kRightWord},
    {"verb", kVerbWord},   {"text", kTextual},   {"mbox", kTextual},   {"hbox", kTextual},
    {"textrm", kTextual},  {"textbf", kTextual}, {"textit", kTextual}, {"intertext", kTextual},
};

inline constexpr std::string_view kMathEnvironments[] = {
    "math",    "displaymath", "equation", "equation*", "align",    "align*",
    "gather",  "gather*",     "multline", "multline*", "eqnarray", "eqnarray*",
    "alignat", "alignat*",    "flalign",  "flalign*"};
inline constexpr std::string_view kVerbatims[] = {"verbatim", "verbatim*", "Verbatim", "lstlisting",
                                                  "comment"};
inline constexpr size_t kLongName = 16;  // longer than all of these

// A node of the words after a backslash: which of the special ones, and how many letters of it;
// of words that begin alike the first one that has the letters. 0: like none.
inline constexpr uint32_t kWordRoot = 1;

constexpr std::string_view LettersOf(uint32_t node) {
  if (node == 0) return {};
  return kSpecialWords[(node - 1) & 15].first.substr(0, (node - 1) >> 4);
}

constexpr uint32_t NextNode(uint32_t node, uint8_t letter) {
  if (node == 0) return 0;
  const std::string_view so_far = LettersOf(node);
  for (uint32_t i = 0; i < std::size(kSpecialWords); ++i) {
    const std::string_view word = kSpecialWords[i].first;
    if (word.size() > so_far.size() && word.starts_with(so_far) &&
        static_cast<uint8_t>(word[so_far.size()]) == letter) {
      return 1 + (i | static_cast<uint32_t>(so_far.size() + 1) << 4);
    }
  }
  return 0;
}

constexpr Word WordOf(uint32_t node) {
  const std::string_view so_far = LettersOf(node);
  for (const auto& [text, word] : kSpecialWords) {
    if (text == so_far) return word;
  }
  return kOther;
}

template <size_t kCount>
constexpr bool IsOneOf(const std::string_view (&names)[kCount], std::string_view name) {
  for (const std::string_view one : names) {
    if (one == name) return true;
  }
  return false;
}

}  // namespace chimera::math_latex
