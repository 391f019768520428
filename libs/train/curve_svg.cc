#include "train/curve_svg.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace chimera {
namespace {

constexpr double kLeft = 64, kRight = 656, kTop = 48, kBottom = 340;

// Maps values to the vertical axis of one series.
struct Axis {
  double low = 0, high = 1;
  double Y(double value) const { return kBottom - (value - low) / (high - low) * (kBottom - kTop); }
};

template <typename Get>
Axis FitAxis(const std::vector<CurvePoint>& points, const Get& get) {
  Axis axis{1e300, -1e300};
  for (const CurvePoint& p : points) {
    if (get(p) <= 0) continue;
    axis.low = std::min(axis.low, get(p));
    axis.high = std::max(axis.high, get(p));
  }
  if (axis.low > axis.high) return {0, 1};
  const double margin = std::max(1e-3, 0.05 * (axis.high - axis.low));
  return {axis.low - margin, axis.high + margin};
}

template <typename Get>
std::string Line(const std::vector<CurvePoint>& points, double steps, const Axis& axis,
                 const char* color, const Get& get) {
  std::string path;
  for (const CurvePoint& p : points) {
    if (get(p) <= 0) continue;
    const double x = kLeft + static_cast<double>(p.step) / steps * (kRight - kLeft);
    absl::StrAppendFormat(&path, "%s%.1f,%.1f", path.empty() ? "" : " ", x, axis.Y(get(p)));
  }
  return absl::StrFormat("<polyline fill='none' stroke='%s' stroke-width='1.8' points='%s'/>\n",
                         color, path);
}

std::string Ticks(const Axis& axis, double x, const char* anchor, const char* color) {
  std::string out;
  for (int i = 0; i <= 4; ++i) {
    const double value = axis.low + (axis.high - axis.low) * i / 4;
    absl::StrAppendFormat(&out, "<text x='%.0f' y='%.1f' text-anchor='%s' fill='%s'>%.2f</text>\n",
                          x, axis.Y(value) + 4, anchor, color, value);
  }
  return out;
}

std::string Escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string CurveSvg(const std::string& title, const std::vector<CurvePoint>& points) {
  auto loss = [](const CurvePoint& p) { return p.train_loss_nats; };
  auto bpb = [](const CurvePoint& p) { return p.valid_bpb; };
  const double steps = points.empty() ? 1.0 : std::max<double>(1.0, points.back().step);
  const Axis left = FitAxis(points, loss), right = FitAxis(points, bpb);
  std::string svg = absl::StrFormat(
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 720 400' font-family='sans-serif' "
      "font-size='12'>\n<rect width='720' height='400' fill='white'/>\n"
      "<text x='360' y='24' text-anchor='middle' font-size='15'>%s</text>\n",
      Escaped(title));
  for (int i = 0; i <= 4; ++i) {
    const double y = kTop + (kBottom - kTop) * i / 4, x = kLeft + (kRight - kLeft) * i / 4;
    absl::StrAppendFormat(&svg, "<line x1='%.0f' x2='%.0f' y1='%.1f' y2='%.1f' stroke='#ddd'/>\n",
                          kLeft, kRight, y, y);
    absl::StrAppendFormat(&svg,
                          "<text x='%.1f' y='358' text-anchor='middle' fill='#555'>%.0f</text>\n",
                          x, steps * i / 4);
  }
  absl::StrAppend(
      &svg, Ticks(left, kLeft - 8, "end", "#1565c0"), Ticks(right, kRight + 8, "start", "#c62828"),
      Line(points, steps, left, "#1565c0", loss), Line(points, steps, right, "#c62828", bpb),
      "<text x='360' y='386' text-anchor='middle' fill='#555'>step</text>\n"
      "<text x='64' y='40' fill='#1565c0'>training loss, nats a token</text>\n"
      "<text x='656' y='40' text-anchor='end' fill='#c62828'>held-out bits per byte</text>\n"
      "</svg>\n");
  return svg;
}

}  // namespace chimera
