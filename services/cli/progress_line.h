// One line of progress on standard error: redrawn in place on a terminal, one line at a time in a
// file or a pipe.
#pragma once

#include <cstdint>
#include <string>

namespace chimera {

// Thread-compatible.
class ProgressLine {
 public:
  // quiet draws nothing (--json).
  explicit ProgressLine(bool quiet);
  ~ProgressLine();  // ends the line
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void Show(const std::string& text);
  // Show with a bar in front. On a terminal only: a pipe gets no bars.
  void ShowBar(double fraction, const std::string& text);
  bool terminal() const { return terminal_; }

 private:
  void Draw(const std::string& text);

  bool quiet_;
  bool terminal_;
  bool open_ = false;
  int64_t last_ns_ = 0;
};

// "1:02:03", "4:05"; "-" when unknown.
std::string DurationText(double seconds);
// "12,345".
std::string CountText(int64_t count);

}  // namespace chimera
