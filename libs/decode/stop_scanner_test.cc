#include "decode/stop_scanner.h"

#include <gtest/gtest.h>

#include "base/philox.h"

namespace chimera {
namespace {

struct Outcome {
  std::string text;
  int stop_index = -1;
  bool operator==(const Outcome&) const = default;
};

// The definition: the stop string that is complete first ends the text; the longer one on a tie.
Outcome Reference(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    Outcome best{text, -1};
    size_t longest = 0;
    for (size_t i = 0; i < stops.size(); ++i) {
      const std::string& stop = stops[i];
      if (stop.size() <= end && stop.size() > longest &&
          text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = stop.size();
        best = {text.substr(0, end - stop.size()), static_cast<int>(i)};
      }
    }
    if (longest > 0) return best;
  }
  return {text, -1};
}

// Everything shown so far must be a prefix of the final text, and nothing may be held that cannot
// become a stop string any more.
Outcome Scan(const std::string& text, const std::vector<std::string>& stops, uint64_t cut_bits) {
  StopScanner scanner(stops);
  const Outcome expected = Reference(text, stops);
  Outcome got;
  std::string piece;
  for (size_t i = 0; i < text.size(); ++i) {
    piece += text[i];
    if (((cut_bits >> (i % 64)) & 1) == 0 && i + 1 < text.size()) continue;
    const bool stopped = scanner.Push(piece, &got.text);
    piece.clear();
    EXPECT_EQ(expected.text.compare(0, got.text.size(), got.text), 0);
    if (stopped) break;
    const std::string held = text.substr(got.text.size(), i + 1 - got.text.size());
    bool may_become = held.empty();
    for (const std::string& stop : stops) may_become |= stop.compare(0, held.size(), held) == 0;
    EXPECT_TRUE(may_become) << "held \"" << held << "\" of \"" << text << "\"";
  }
  if (scanner.stop_index() < 0) scanner.Finish(&got.text);
  got.stop_index = scanner.stop_index();
  return got;
}

TEST(StopScanner, EverySplit) {
  const std::vector<std::vector<std::string>> stop_lists = {
      {"END"}, {"abab"}, {"a", "ab"}, {"abc", "b"}, {"aab", "ab", "b!"}, {"\n\n", "\n- "}, {}};
  const std::vector<std::string> texts = {"xxENDyy",  "abaabab!", "aabc",     "ab",
                                          "a\n-\n\n", "EENDEND",  "no match", "aaab!"};
  for (const auto& stops : stop_lists) {
    for (const std::string& text : texts) {
      const Outcome expected = Reference(text, stops);
      for (uint64_t bits = 0; bits < (uint64_t{1} << (text.size() - 1)); ++bits) {
        ASSERT_EQ(Scan(text, stops, bits), expected) << text << " cut " << bits;
      }
    }
  }
}

TEST(StopScanner, RandomTextsOverASmallAlphabet) {
  const PhiloxStream stream(3, RngPurpose::kDataShuffle, 0);
  uint64_t at = 0;
  const auto random_string = [&](size_t bytes_max) {
    std::string out;
    for (size_t n = 1 + stream.Word(at++) % bytes_max; n > 0; --n) {
      out += static_cast<char>('a' + stream.Word(at++) % 2);
    }
    return out;
  };
  int stopped = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> stops;
    for (size_t n = stream.Word(at++) % 4; n > 0; --n) stops.push_back(random_string(6));
    const std::string text = random_string(24);
    const Outcome expected = Reference(text, stops);
    stopped += expected.stop_index >= 0;
    ASSERT_EQ(Scan(text, stops, stream.Word(at++)), expected) << text;
  }
  EXPECT_GT(stopped, 500);
}

}  // namespace
}  // namespace chimera
