// Well-formed UTF-8 a byte at a time (Unicode 16, table 3-7), for machines that read text: the
// place within a character as a small number that fits anywhere in an item.
#pragma once

#include <cstdint>

namespace chimera {

inline constexpr int kUtf8Places = 8;  // 0: between characters
inline constexpr int kUtf8Bad = -1;

// The place after one more byte, or kUtf8Bad.
constexpr int Utf8Step(int place, uint8_t byte) {
  const auto within = [byte](int low, int high) { return byte >= low && byte <= high; };
  switch (place) {
    case 0:
      if (byte < 0x80) return 0;
      if (within(0xC2, 0xDF)) return 1;
      if (byte == 0xE0) return 3;
      if (byte == 0xED) return 4;
      if (within(0xE1, 0xEF)) return 2;
      if (byte == 0xF0) return 6;
      if (within(0xF1, 0xF3)) return 5;
      return byte == 0xF4 ? 7 : kUtf8Bad;
    case 1:
      return within(0x80, 0xBF) ? 0 : kUtf8Bad;
    case 2:
      return within(0x80, 0xBF) ? 1 : kUtf8Bad;
    case 3:
      return within(0xA0, 0xBF) ? 1 : kUtf8Bad;
    case 4:
      return within(0x80, 0x9F) ? 1 : kUtf8Bad;
    case 5:
      return within(0x80, 0xBF) ? 2 : kUtf8Bad;
    case 6:
      return within(0x90, 0xBF) ? 2 : kUtf8Bad;
    default:
      return within(0x80, 0x8F) ? 2 : kUtf8Bad;
  }
}

// How many bytes the character still needs.
constexpr int Utf8Missing(int place) {
  constexpr int kMissing[kUtf8Places] = {0, 1, 2, 2, 2, 3, 3, 3};
  return kMissing[place];
}

// Bytes that Utf8Step tells apart: a number for each kind, all of ASCII is 0.
constexpr int Utf8ByteKind(uint8_t byte) {
  if (byte < 0x80) return 0;
  if (byte < 0x90) return 1;
  if (byte < 0xA0) return 2;
  if (byte < 0xC0) return 3;
  if (byte < 0xC2 || byte > 0xF4) return 4;
  if (byte < 0xE0) return 5;
  if (byte == 0xE0) return 6;
  if (byte == 0xED) return 7;
  if (byte < 0xF0) return 8;
  if (byte == 0xF0) return 9;
  return byte == 0xF4 ? 10 : 11;
}

}  // namespace chimera
