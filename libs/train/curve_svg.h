// The loss curve as a picture: training loss and held-out bits per byte over steps.
#pragma once

#include <string>
#include <vector>

#include "train/checkpoint.h"

namespace chimera {

// A self-contained SVG, 720 x 400. Fewer than two points give axes without lines.
std::string CurveSvg(const std::string& title, const std::vector<CurvePoint>& points);

}  // namespace chimera
