#include "hdc/words.h"

#include <algorithm>

#include "hdc/word_tables.h"

namespace chimera {
namespace {

constexpr uint32_t kCapitalSigma = 0x3A3;
constexpr uint32_t kFinalSigma = 0x3C2;
constexpr uint32_t kDottedCapitalI = 0x130;

void AppendUtf8(uint32_t c, std::string* out) {
  const auto put = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::string LowerWord(const std::vector<uint32_t>& run) {
  std::string word;
  for (size_t i = 0; i < run.size(); ++i) {
    if (run[i] == kCapitalSigma && i > 0 && i + 1 == run.size()) {
      AppendUtf8(kFinalSigma, &word);
    } else if (run[i] == kDottedCapitalI) {
      AppendUtf8('i', &word);
      AppendUtf8(0x307, &word);
    } else {
      AppendUtf8(LowerCodePoint(run[i]), &word);
    }
  }
  return word;
}

}  // namespace

uint32_t DecodeUtf8(std::string_view text, size_t* at) {
  const auto byte = [text](size_t i) {
    return static_cast<uint32_t>(static_cast<uint8_t>(text[i]));
  };
  const size_t start = (*at)++;
  const uint32_t lead = byte(start);
  if (lead < 0x80) return lead;
  if (lead < 0xC2 || lead > 0xF4) return kInvalidCodePoint;
  const size_t tail = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  if (text.size() - start <= tail) return kInvalidCodePoint;
  uint32_t c = lead & (0x3F >> tail);
  for (size_t i = 1; i <= tail; ++i) {
    if ((byte(start + i) & 0xC0) != 0x80) return kInvalidCodePoint;
    c = c << 6 | (byte(start + i) & 0x3F);
  }
  const bool overlong = (tail == 2 && c < 0x800) || (tail == 3 && c < 0x10000);
  if (overlong || (c >= 0xD800 && c < 0xE000) || c > 0x10FFFF) return kInvalidCodePoint;
  *at = start + 1 + tail;
  return c;
}

bool IsValidUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (DecodeUtf8(text, &at) == kInvalidCodePoint) return false;
  }
  return true;
}

bool IsWordCodePoint(uint32_t code_point) {
  const CodePointRange* end = kWordRanges + kWordRangeCount;
  const CodePointRange* range = std::lower_bound(
      kWordRanges, end, code_point, [](const CodePointRange& r, uint32_t c) { return r.last < c; });
  return range != end && range->first <= code_point;
}

uint32_t LowerCodePoint(uint32_t code_point) {
  const LowerRun* end = kLowerRuns + kLowerRunCount;
  const LowerRun* run = std::lower_bound(kLowerRuns, end, code_point,
                                         [](const LowerRun& r, uint32_t c) { return r.last < c; });
  if (run == end || code_point < run->first || (code_point - run->first) % run->stride != 0) {
    return code_point;
  }
  return static_cast<uint32_t>(static_cast<int32_t>(code_point) + run->delta);
}

std::vector<std::string> SplitWords(std::string_view text) {
  std::vector<std::string> words;
  std::vector<uint32_t> run;
  for (size_t at = 0; at < text.size();) {
    const uint32_t c = DecodeUtf8(text, &at);
    if (c != kInvalidCodePoint && IsWordCodePoint(c)) {
      run.push_back(c);
      if (at < text.size()) continue;
    }
    if (!run.empty()) words.push_back(LowerWord(run));
    run.clear();
  }
  return words;
}

bool IsStopWord(std::string_view word) {
  constexpr std::string_view kStopWords[] = {"a", "an", "and", "in", "is", "of", "the", "to"};
  return std::find(std::begin(kStopWords), std::end(kStopWords), word) != std::end(kStopWords);
}

}  // namespace chimera
