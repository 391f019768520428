// titans_needle STEPS DISTANCE [EVAL_DISTANCE ...]: trains the toy task of titans_needle.h with the
// memory writing and with it frozen, and prints the recall of both at every distance.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "layers/titans_needle.h"

namespace {

using chimera::NeedleModel;
using chimera::TitansUse;

void Run(TitansUse use, int steps, int distance, const std::vector<int>& far) {
  NeedleModel model({.use = use}, 2);
  const char* name = use == TitansUse::kWrite ? "writing" : "frozen";
  const auto begin = std::chrono::steady_clock::now();
  double mean = 0;
  for (int step = 1; step <= steps; ++step) {
    // The distance grows over the first half of the run.
    const int now = std::min(distance, 32 + distance * 2 * step / steps);
    mean += model.Train(8, now);
    if (step % (steps / 10) == 0) {
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
      std::printf("%-8s step %5d distance %5d loss %.3f  %.1f s\n", name, step, now,
                  mean / (steps / 10), spent.count());
      std::fflush(stdout);
      mean = 0;
    }
  }
  for (const int d : far) {
    std::printf("%-8s recall at %5d tokens: %.3f", name, d, model.Recall(50, d, use));
    if (use == TitansUse::kWrite) {
      std::printf("   with its memory frozen: %.3f", model.Recall(50, d, TitansUse::kFrozen));
    }
    std::printf("\n");
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int steps = argc > 1 ? std::max(10, std::atoi(argv[1])) : 400;
  const int distance = argc > 2 ? std::max(16, std::atoi(argv[2])) : 128;
  std::vector<int> far = {distance};
  for (int i = 3; i < argc; ++i) far.push_back(std::max(16, std::atoi(argv[i])));
  Run(TitansUse::kWrite, steps, distance, far);
  Run(TitansUse::kFrozen, steps, distance, far);
  return 0;
}
