// Prints the table of docs/layers/state-storage.md: errors of the outputs of one head over 10,000
// random tokens when its state is kept in bf16, in percent of the outputs' root mean square.
#include <cstdio>

#include "layers/state_storage_study.h"

namespace chimera {
namespace {

void Print(const char* name, const Drift& d) {
  std::printf("  %s mean %8.3f max %9.2f state %8.3f", name, 100 * d.mean, 100 * d.max,
              100 * d.state);
}

template <typename Run>
void Row(const char* name, const Run& run, bool frames) {
  std::printf("%-34s", name);
  Print("each token", run({}));
  Print("| every 16", run({.every = 16}));
  Print("| every 64", run({.every = 64}));
  Print("| stochastic", run({.rounding = StateRounding::kStochastic}));
  if (frames) Print("| with m", run({.round_frame = true}));
  std::printf("\n");
}

void Delta(float g, float beta) {
  char name[64];
  std::snprintf(name, sizeof(name), "gated delta g %g beta %g", static_cast<double>(g),
                static_cast<double>(beta));
  Row(
      name, [&](const DriftSetup& s) { return GatedDeltaDrift(s, g, beta); }, false);
}

void Xm(float i, float f) {
  char name[64];
  std::snprintf(name, sizeof(name), "mlstm i %g f %g", static_cast<double>(i),
                static_cast<double>(f));
  Row(
      name, [&](const DriftSetup& s) { return MlstmDrift(s, i, f); }, true);
}

}  // namespace
}  // namespace chimera

int main() {
  for (const float beta : {0.5f, 0.05f, 0.005f}) {
    for (const float g : {-1.0f, -0.1f, -0.01f, -0.001f, -0.0001f}) chimera::Delta(g, beta);
  }
  for (const float f : {0.0f, 3.0f, 4.5f, 6.0f, 9.0f}) {
    for (const float i : {0.0f, -10.0f}) chimera::Xm(i, f);
  }
  return 0;
}
