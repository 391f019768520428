#include "grammar/code_points.h"

#include <algorithm>
#include <array>

#include "text/unicode_classes.h"

namespace chimera {
namespace {

constexpr uint32_t kSurrogatesLow = 0xD800, kSurrogatesHigh = 0xDFFF;

CodePointSet OfClasses(std::initializer_list<CharClass> classes) {
  CodePointSet set;
  const CodePointClasses& all = CodePointClasses::Get();
  const auto within = [&](uint32_t c) {
    return std::find(classes.begin(), classes.end(), all.Of(c)) != classes.end();
  };
  for (uint32_t c = 0; c <= kCodePointMax;) {
    if (!within(c)) {
      ++c;
      continue;
    }
    const uint32_t first = c;
    while (c <= kCodePointMax && within(c)) ++c;
    set.Add(first, c - 1);
  }
  return set;
}

// Lt, which the classes of the pre-tokenizer hold together with Lu.
const CodePointSet& TitleCase() {
  static const CodePointSet* set = new CodePointSet{
      {0x1C5, 0x1C5},   {0x1C8, 0x1C8},   {0x1CB, 0x1CB},   {0x1F2, 0x1F2},   {0x1F88, 0x1F8F},
      {0x1F98, 0x1F9F}, {0x1FA8, 0x1FAF}, {0x1FBC, 0x1FBC}, {0x1FCC, 0x1FCC}, {0x1FFC, 0x1FFC}};
  return *set;
}

CodePointSet Without(const CodePointSet& set, const CodePointSet& minus) {
  CodePointSet outside = set.Negated();
  outside.Add(minus);
  return outside.Negated();
}

// The ranges of one length of UTF-8 split until each is a product of byte ranges.
void Split(uint32_t low, uint32_t high, std::vector<Utf8Sequence>* out) {
  for (const uint32_t limit : {0x7Fu, 0x7FFu, 0xFFFFu}) {
    if (low <= limit && high > limit) {
      Split(low, limit, out);
      return Split(limit + 1, high, out);
    }
  }
  const int n = low < 0x80 ? 1 : low < 0x800 ? 2 : low < 0x10000 ? 3 : 4;
  for (int tail = n - 1; tail > 0; --tail) {
    const uint32_t mask = (1u << (6 * tail)) - 1;
    if ((low & ~mask) == (high & ~mask)) continue;
    if ((low & mask) != 0) {
      Split(low, low | mask, out);
      return Split((low | mask) + 1, high, out);
    }
    if ((high & mask) != mask) {
      Split(low, (high & ~mask) - 1, out);
      return Split(high & ~mask, high, out);
    }
  }
  Utf8Sequence row;
  row.size = n;
  constexpr uint32_t kLead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
  for (int i = n - 1; i > 0; --i, low >>= 6, high >>= 6) {
    row.bytes[i] = {static_cast<uint8_t>(0x80 | (low & 0x3F)),
                    static_cast<uint8_t>(0x80 | (high & 0x3F))};
  }
  row.bytes[0] = {static_cast<uint8_t>(kLead[n] | low), static_cast<uint8_t>(kLead[n] | high)};
  out->push_back(row);
}

}  // namespace

CodePointSet::CodePointSet(std::initializer_list<Range> ranges) : ranges_(ranges) { Normalize(); }

std::optional<CodePointSet> CodePointSet::OfEscape(char letter, bool ecma) {
  CodePointSet set;
  switch (letter) {
    case 'd':
    case 'D':
      set = {{'0', '9'}};
      break;
    case 'w':
    case 'W':
      set = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
      break;
    case 's':
    case 'S':
      set = {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}};
      if (ecma) {
        set.Add({{'\v', '\v'},
                 {0xA0, 0xA0},
                 {0x1680, 0x1680},
                 {0x2000, 0x200A},
                 {0x2028, 0x2029},
                 {0x202F, 0x202F},
                 {0x205F, 0x205F},
                 {0x3000, 0x3000},
                 {0xFEFF, 0xFEFF}});
      }
      break;
    default:
      return std::nullopt;
  }
  return letter < 'a' ? set.Negated() : set;
}

std::optional<CodePointSet> CodePointSet::OfProperty(std::string_view name) {
  using C = CharClass;
  if (name == "L" || name == "Letter") {
    return OfClasses({C::kUpper, C::kLower, C::kCaseless});
  }
  if (name == "Lu" || name == "Uppercase_Letter") {
    return Without(OfClasses({C::kUpper}), TitleCase());
  }
  if (name == "Lt" || name == "Titlecase_Letter") return TitleCase();
  if (name == "Ll" || name == "Lowercase_Letter") return OfClasses({C::kLower});
  if (name == "N" || name == "Number") return OfClasses({C::kNumber});
  if (name == "M" || name == "Mark") return OfClasses({C::kMark});
  return std::nullopt;
}

std::optional<CodePointSet> CodePointSet::OfPosix(std::string_view name) {
  if (name == "alpha") return CodePointSet{{'A', 'Z'}, {'a', 'z'}};
  if (name == "alnum") return CodePointSet{{'0', '9'}, {'A', 'Z'}, {'a', 'z'}};
  if (name == "digit") return CodePointSet{{'0', '9'}};
  if (name == "lower") return CodePointSet{{'a', 'z'}};
  if (name == "upper") return CodePointSet{{'A', 'Z'}};
  if (name == "space") return CodePointSet{{'\t', '\r'}, {' ', ' '}};
  if (name == "blank") return CodePointSet{{'\t', '\t'}, {' ', ' '}};
  if (name == "word") return OfEscape('w', false);
  if (name == "xdigit") return CodePointSet{{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
  if (name == "punct") return CodePointSet{{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}};
  if (name == "cntrl") return CodePointSet{{0, 0x1F}, {0x7F, 0x7F}};
  if (name == "print") return CodePointSet{{' ', '~'}};
  if (name == "graph") return CodePointSet{{'!', '~'}};
  if (name == "ascii") return CodePointSet{{0, 0x7F}};
  return std::nullopt;
}

void CodePointSet::Add(uint32_t low, uint32_t high) {
  ranges_.push_back({low, high});
  Normalize();
}

void CodePointSet::Add(const CodePointSet& other) {
  ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
  Normalize();
}

void CodePointSet::Normalize() {
  std::vector<Range> parts;
  for (const Range& range : ranges_) {
    if (range.low < kSurrogatesLow) {
      parts.push_back({range.low, std::min(range.high, kSurrogatesLow - 1)});
    }
    if (range.high > kSurrogatesHigh) {
      parts.push_back({std::max(range.low, kSurrogatesHigh + 1), range.high});
    }
  }
  std::sort(parts.begin(), parts.end(),
            [](const Range& a, const Range& b) { return a.low < b.low; });
  ranges_.clear();
  for (const Range& part : parts) {
    if (!ranges_.empty() && part.low <= ranges_.back().high + 1) {
      ranges_.back().high = std::max(ranges_.back().high, part.high);
    } else {
      ranges_.push_back(part);
    }
  }
}

CodePointSet CodePointSet::Negated() const {
  CodePointSet set;
  uint32_t next = 0;
  for (const Range& range : ranges_) {
    if (range.low > next) set.ranges_.push_back({next, range.low - 1});
    next = range.high + 1;
  }
  if (next <= kCodePointMax) set.ranges_.push_back({next, kCodePointMax});
  set.Normalize();
  return set;
}

CodePointSet CodePointSet::FoldAscii() const {
  CodePointSet set = *this;
  for (uint32_t c = 'a'; c <= 'z'; ++c) {
    const uint32_t upper = c - 'a' + 'A';
    if (Has(c)) set.ranges_.push_back({upper, upper});
    if (Has(upper)) set.ranges_.push_back({c, c});
  }
  set.Normalize();
  return set;
}

bool CodePointSet::Has(uint32_t code_point) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& range) {
    return code_point >= range.low && code_point <= range.high;
  });
}

std::vector<Utf8Sequence> Utf8Sequences(const CodePointSet& set) {
  std::vector<Utf8Sequence> rows;
  for (const CodePointSet::Range& range : set.ranges()) Split(range.low, range.high, &rows);
  return rows;
}

}  // namespace chimera
