// Sets of code points, and the bytes that UTF-8 writes them in.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace chimera {

inline constexpr uint32_t kCodePointMax = 0x10FFFF;

// Ranges that are sorted and do not touch. Surrogates are never in a set.
class CodePointSet {
 public:
  struct Range {
    uint32_t low = 0, high = 0;
    bool operator==(const Range&) const = default;
  };

  CodePointSet() = default;
  CodePointSet(std::initializer_list<Range> ranges);
  static CodePointSet All() { return {{0, kCodePointMax}}; }
  // \d \D \w \W \s \S, ASCII; ecma: \s has the white space of Unicode. nullopt for other letters.
  static std::optional<CodePointSet> OfEscape(char letter, bool ecma);
  // "L", "Lu", "Ll", "Lt", "N", "M" and their long names; nullopt for others.
  static std::optional<CodePointSet> OfProperty(std::string_view name);
  // [:alpha:] and its kind, ASCII.
  static std::optional<CodePointSet> OfPosix(std::string_view name);

  void Add(uint32_t low, uint32_t high);
  void Add(const CodePointSet& other);
  CodePointSet Negated() const;
  // With both cases of ASCII letters.
  CodePointSet FoldAscii() const;
  bool Has(uint32_t code_point) const;
  bool empty() const { return ranges_.empty(); }
  const std::vector<Range>& ranges() const { return ranges_; }
  bool operator==(const CodePointSet&) const = default;

 private:
  void Normalize();

  std::vector<Range> ranges_;
};

struct ByteRange {
  uint8_t low = 0, high = 0;
};

// One row of byte ranges: every choice of a byte from each is a character of the set, once.
struct Utf8Sequence {
  ByteRange bytes[4];
  int size = 0;
};

// All of a set.
std::vector<Utf8Sequence> Utf8Sequences(const CodePointSet& set);

}  // namespace chimera
