#include "decode/stop_scanner.h"

#include <algorithm>

#include "base/check.h"

namespace chimera {

StopScanner::StopScanner(const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    CHIMERA_CHECK(!stop.empty());
    Pattern pattern;
    pattern.text = stop;
    pattern.fallback.assign(stop.size(), 0);
    for (size_t i = 1, border = 0; i < stop.size(); ++i) {
      while (border > 0 && stop[i] != stop[border]) border = pattern.fallback[border - 1];
      if (stop[i] == stop[border]) ++border;
      pattern.fallback[i] = border;
    }
    patterns_.push_back(std::move(pattern));
  }
}

void StopScanner::Advance(Pattern* pattern, char c) {
  size_t& matched = pattern->matched;
  while (matched > 0 && c != pattern->text[matched]) matched = pattern->fallback[matched - 1];
  if (c == pattern->text[matched]) ++matched;
}

bool StopScanner::Push(std::string_view text, std::string* out) {
  if (stop_index_ >= 0) return true;
  for (const char c : text) {
    held_.push_back(c);
    size_t longest = 0;   // end of the text that may become a stop string
    size_t complete = 0;  // length of the stop string that just ended
    for (size_t i = 0; i < patterns_.size(); ++i) {
      Advance(&patterns_[i], c);
      longest = std::max(longest, patterns_[i].matched);
      if (patterns_[i].matched == patterns_[i].text.size() && patterns_[i].matched > complete) {
        complete = patterns_[i].matched;
        stop_index_ = static_cast<int>(i);
      }
    }
    if (stop_index_ >= 0) {
      out->append(held_, 0, held_.size() - complete);
      held_.clear();
      return true;
    }
    const size_t free = held_.size() - longest;
    out->append(held_, 0, free);
    held_.erase(0, free);
  }
  return false;
}

void StopScanner::Finish(std::string* out) {
  out->append(held_);
  held_.clear();
}

}  // namespace chimera
