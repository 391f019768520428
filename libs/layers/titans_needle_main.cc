// titans_needle HEADS STEPS DISTANCE [EVAL_DISTANCE ...]: trains the toy task of titans_needle.h
// with the memory writing and with it frozen, and prints the recall of both at every distance.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "absl/strings/numbers.h"
#include "layers/titans_needle.h"

namespace {

using chimera::NeedleModel;
using chimera::TitansUse;

void Run(TitansUse use, int heads, int steps, int distance, const std::vector<int>& far) {
  NeedleModel model({.n_heads = heads, .use = use}, 2);
  const char* name = use == TitansUse::kWrite ? "writing" : "frozen";
  const auto begin = std::chrono::steady_clock::now();
  double mean = 0;
  for (int step = 1; step <= steps; ++step) {
    mean += model.Train(step, steps, distance);
    if (step % (steps / 10) == 0) {
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
      std::printf("%-8s step %5d loss %.3f  %.1f s\n", name, step, mean / (steps / 10),
                  spent.count());
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

// Argument i as a number of at least `least`; `otherwise` when it is missing or none.
int Argument(int argc, char** argv, int i, int least, int otherwise) {
  int value = 0;
  if (i >= argc || !absl::SimpleAtoi(argv[i], &value)) return otherwise;
  return std::max(least, value);
}

}  // namespace

int main(int argc, char** argv) {
  const int heads = Argument(argc, argv, 1, 1, 2), steps = Argument(argc, argv, 2, 10, 360);
  const int distance = Argument(argc, argv, 3, 128, 1200);
  std::vector<int> far = {distance};
  for (int i = 4; i < argc; ++i) far.push_back(Argument(argc, argv, i, 16, distance));
  Run(TitansUse::kWrite, heads, steps, distance, far);
  Run(TitansUse::kFrozen, heads, steps, distance, far);
  return 0;
}
