#include "memory/sentence.h"

#include <algorithm>
#include <string_view>

#include "text/utf8.h"

namespace chimera {
namespace {

constexpr char kWhiteSpace[] = " \t\r\n\v\f";

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kWhiteSpace);
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(kWhiteSpace) - begin + 1);
}

bool EndsSentence(const ReadToken& token) {
  if (token.text.find('\n') != std::string::npos) return true;
  const std::string_view text = Trimmed(token.text);
  return !text.empty() && std::string_view(".!?").find(text.back()) != std::string_view::npos;
}

}  // namespace

std::string SentenceAround(std::span<const ReadToken> tokens, size_t at) {
  size_t begin = at, end = at;
  const size_t first = at < kSentenceTokens ? 0 : at - kSentenceTokens;
  while (begin > first && tokens[begin - 1].offered && !EndsSentence(tokens[begin - 1])) --begin;
  const size_t last = std::min(tokens.size(), at + kSentenceTokens);
  while (end < last && tokens[end].offered && !EndsSentence(tokens[end])) ++end;
  if (end < last && tokens[end].offered) ++end;  // the one that ends it
  std::string text;
  for (size_t i = begin; i < end; ++i) text += tokens[i].text;
  // A cut by kSentenceTokens may fall between the bytes of a character.
  std::string_view whole = text;
  while (!whole.empty() && (static_cast<unsigned char>(whole.front()) & 0xC0) == 0x80) {
    whole.remove_prefix(1);
  }
  whole.remove_suffix(TruncatedUtf8Suffix(whole));
  whole = Trimmed(whole);
  const bool fits = whole.size() >= kSentenceBytesMin && whole.size() <= kSentenceBytesMax;
  return fits && ValidUtf8Prefix(whole) == whole.size() ? std::string(whole) : std::string();
}

}  // namespace chimera
