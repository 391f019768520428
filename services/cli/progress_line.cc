#include "services/cli/progress_line.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"

namespace chimera {
namespace {

constexpr int kBarCells = 24;
constexpr int64_t kRedrawNs = 100'000'000;

}  // namespace

ProgressLine::ProgressLine(bool quiet) : quiet_(quiet), terminal_(::isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() {
  if (open_) std::fputc('\n', stderr);
}

void ProgressLine::Show(const std::string& text) {
  if (quiet_) return;
  Draw(text);
}

void ProgressLine::ShowBar(double fraction, const std::string& text) {
  if (quiet_ || !terminal_) return;
  const int64_t now_ns = Clock::Real().NowNs();
  if (fraction < 1.0 && now_ns - last_ns_ < kRedrawNs) return;
  last_ns_ = now_ns;
  const int full = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * kBarCells);
  Draw(absl::StrCat("[", std::string(static_cast<size_t>(full), '#'),
                    std::string(static_cast<size_t>(kBarCells - full), '.'), "] ",
                    absl::StrFormat("%3.0f%% ", fraction * 100.0), text));
}

void ProgressLine::Draw(const std::string& text) {
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", text.c_str());
    open_ = true;
  } else {
    std::fprintf(stderr, "%s\n", text.c_str());
  }
  std::fflush(stderr);
}

std::string DurationText(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "-";
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole >= 3600) {
    return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
}

std::string CountText(int64_t count) {
  const std::string digits = absl::StrCat(count);
  const size_t sign = count < 0 ? 1 : 0;
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > sign && (digits.size() - i) % 3 == 0) text.push_back(',');
    text.push_back(digits[i]);
  }
  return text;
}

}  // namespace chimera
