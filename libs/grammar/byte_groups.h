// Byte classes from groups of ASCII characters, for machines that tell most of ASCII apart.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "grammar/utf8_steps.h"

namespace chimera {

// One class for each group, one for NUL, one for each kind of byte beyond ASCII, and one for what
// is left.
constexpr std::array<uint8_t, 256> ByteGroups(std::initializer_list<std::string_view> groups) {
  std::array<uint8_t, 256> classes = {};
  classes[0] = 1;
  for (int byte = 128; byte < 256; ++byte) {
    classes[size_t(byte)] = static_cast<uint8_t>(1 + Utf8ByteKind(static_cast<uint8_t>(byte)));
  }
  uint8_t next = 13;
  for (const std::string_view group : groups) {
    for (const char c : group) classes[static_cast<uint8_t>(c)] = next;
    ++next;
  }
  return classes;
}

}  // namespace chimera
