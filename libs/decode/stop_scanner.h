// Finds stop strings in a text that arrives in pieces. Holds back exactly the longest end of the
// text that may still become a stop string, and nothing more; how the text was cut never matters.
// The first stop string to be complete ends the text; of two complete at the same byte the longer
// one does.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace chimera {

// One text. Thread-compatible.
class StopScanner {
 public:
  // Stop strings are not empty.
  explicit StopScanner(const std::vector<std::string>& stops);

  // Appends to *out what may be shown now. True when a stop string was completed: the text ends
  // before it, later calls add nothing.
  bool Push(std::string_view text, std::string* out);
  // The text ended without a stop string: releases what was held back.
  void Finish(std::string* out);

  int stop_index() const { return stop_index_; }  // -1 while none was found
  size_t held_bytes() const { return held_.size(); }

 private:
  // Knuth-Morris-Pratt: matched bytes of the pattern, and where to fall back to.
  struct Pattern {
    std::string text;
    std::vector<size_t> fallback;  // length of the longest border of text[0..i]
    size_t matched = 0;
  };
  static void Advance(Pattern* pattern, char c);

  std::vector<Pattern> patterns_;
  std::string held_;
  int stop_index_ = -1;
};

}  // namespace chimera
