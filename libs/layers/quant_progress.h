// What training does to linear maps on top of what serves, as a function of how far the run is, so
// that a resumed run goes on as if it had never stopped. At the end all of it is gone: the last
// step trains the model that is exported.
#pragma once

#include <cmath>
#include <numbers>

namespace chimera {

// Share of the run in which both schedules warm up, and share after which the gates of the low-rank
// correction stay as they are. The papers name the phases, not their lengths.
inline constexpr double kQuantWarmup = 0.1;
inline constexpr double kGateFreeze = 0.8;
// Weight of Sherry's residual when it has warmed up (docs/experiments.md).
inline constexpr double kResidualPeak = 0.3;

// A value type; the default is the end of the run, which is what serves.
struct QuantProgress {
  float residual = 0.0f;    // lambda of Sherry's residual: the map is (mu t + lambda W)
  float gate_ramp = 1.0f;   // factor on the gates of the low-rank correction
  bool gate_learns = true;  // false: gates are frozen
};

// progress: 0 at the first step of a run, 1 at its last and wherever the model is measured. lambda
// rises linearly and falls as a cosine to exactly 0 (arXiv 2601.07892, Arenas); the ramp rises
// linearly to exactly 1 (arXiv 2602.05269: warm-up, then freeze).
inline QuantProgress QuantProgressAt(double progress) {
  QuantProgress q;
  if (progress >= 1.0) {
    q.gate_learns = false;
    return q;
  }
  const double warm = progress < kQuantWarmup ? progress / kQuantWarmup : 1.0;
  const double fall =
      progress <= kQuantWarmup ? 0.0 : (progress - kQuantWarmup) / (1.0 - kQuantWarmup);
  q.residual =
      static_cast<float>(kResidualPeak * warm * 0.5 * (1.0 + std::cos(std::numbers::pi * fall)));
  q.gate_ramp = static_cast<float>(warm);
  q.gate_learns = progress < kGateFreeze;
  return q;
}

}  // namespace chimera
