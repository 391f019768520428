#include "text/utf8.h"

#include <algorithm>
#include <cstring>

namespace chimera {
namespace {

struct Lead {
  uint8_t length;                // bytes of the whole character, 0 for a byte that leads none
  uint8_t second_lo, second_hi;  // what the second byte may be
};

// Table 3-7: the second byte alone excludes overlong forms, surrogates and values above U+10FFFF.
Lead LeadOf(uint8_t byte) {
  if (byte < 0xC2 || byte > 0xF4) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {4, 0x80, 0xBF};
}

}  // namespace

Utf8Char Utf8At(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1, Utf8Char::Kind::kValid};
  const Lead lead = LeadOf(first);
  if (lead.length == 0) return {kReplacementCodePoint, 1, Utf8Char::Kind::kInvalid};
  uint32_t code_point = first & (0x7Fu >> lead.length);
  for (uint8_t i = 1; i < lead.length; ++i) {
    if (at + i >= text.size()) return {kReplacementCodePoint, i, Utf8Char::Kind::kTruncated};
    const uint8_t lo = i == 1 ? lead.second_lo : 0x80;
    const uint8_t hi = i == 1 ? lead.second_hi : 0xBF;
    if (byte(i) < lo || byte(i) > hi) return {kReplacementCodePoint, i, Utf8Char::Kind::kInvalid};
    code_point = code_point << 6 | (byte(i) & 0x3F);
  }
  return {code_point, lead.length, Utf8Char::Kind::kValid};
}

size_t ValidUtf8Prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    if (at + 8 <= text.size()) {
      uint64_t word;
      std::memcpy(&word, text.data() + at, 8);
      if ((word & 0x8080808080808080u) == 0) {
        at += 8;
        continue;
      }
    }
    const Utf8Char c = Utf8At(text, at);
    if (c.kind != Utf8Char::Kind::kValid) return at;
    at += c.length;
  }
  return at;
}

std::string_view Utf8Tail(std::string_view text, size_t bytes) {
  if (text.size() > bytes) text.remove_prefix(text.size() - bytes);
  while (!text.empty() && (static_cast<uint8_t>(text.front()) & 0xC0) == 0x80) {
    text.remove_prefix(1);
  }
  return text.substr(0, ValidUtf8Prefix(text));
}

size_t TruncatedUtf8Suffix(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const size_t at = text.size() - back;
    const uint8_t byte = static_cast<uint8_t>(text[at]);
    if (byte >= 0x80 && byte < 0xC0) continue;  // inside a character: look for its lead
    const Utf8Char c = Utf8At(text, at);
    return c.kind == Utf8Char::Kind::kTruncated && c.length == back ? back : 0;
  }
  return 0;
}

void AppendUtf8Replaced(std::string_view text, std::string* out) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t good = ValidUtf8Prefix(text.substr(at));
    out->append(text.substr(at, good));
    at += good;
    if (at == text.size()) return;
    out->append(kReplacementUtf8);
    at += Utf8At(text, at).length;
  }
}

}  // namespace chimera
