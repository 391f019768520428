// Deterministic automata over bytes and the algebra of their languages.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace chimera {

inline constexpr int kDfaStatesMax = 20000;

// Immutable. State 0 is dead and every state but it leads to an accepting one; the language is
// empty when start is 0.
class ByteDfa {
 public:
  struct Parts {
    std::array<uint8_t, 256> classes = {};
    int n_classes = 1;
    std::vector<uint32_t> next;  // [n_states][n_classes]
    std::vector<bool> accepts;   // [n_states]
    uint32_t start = 0;
  };

  // Removes what cannot be reached or cannot accept, and merges states that are equal (of automata
  // of up to 512 states; the time grows with their square).
  explicit ByteDfa(Parts parts);
  static ByteDfa Nothing();
  // Exactly one text.
  static ByteDfa Text(std::string_view text);
  // All well-formed UTF-8.
  static const ByteDfa& AnyText();
  // Well-formed UTF-8 of min to max characters.
  static absl::StatusOr<ByteDfa> Characters(uint32_t min, uint32_t max);

  int n_states() const { return static_cast<int>(parts_.accepts.size()); }
  uint32_t start() const { return parts_.start; }
  bool empty() const { return parts_.start == 0; }
  bool Accepts(uint32_t state) const { return parts_.accepts[state]; }
  uint32_t Next(uint32_t state, uint8_t byte) const {
    return parts_.next[state * size_t(parts_.n_classes) + parts_.classes[byte]];
  }
  bool Matches(std::string_view text) const;
  // Of an automaton over well-formed UTF-8: no byte leads on from here that continues a character.
  bool BetweenCharacters(uint32_t state) const;

  // RESOURCE_EXHAUSTED beyond kDfaStatesMax.
  static absl::StatusOr<ByteDfa> And(const ByteDfa& a, const ByteDfa& b);
  static absl::StatusOr<ByteDfa> Or(const ByteDfa& a, const ByteDfa& b);
  static absl::StatusOr<ByteDfa> Minus(const ByteDfa& a, const ByteDfa& b);
  // Equal tables. Equal languages have them where states that are equal were merged.
  bool operator==(const ByteDfa& other) const;

 private:
  enum class Combine { kAnd, kOr, kMinus };
  static absl::StatusOr<ByteDfa> Product(const ByteDfa& a, const ByteDfa& b, Combine combine);
  void Trim();
  void Minimize();

  Parts parts_;
};

}  // namespace chimera
