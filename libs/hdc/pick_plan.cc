#include "hdc/pick_plan.h"

#include <algorithm>
#include <vector>

namespace chimera {
namespace {

constexpr int kWindows = 32, kWindowBits = 32, kWindowWords = 32, kVectorWords = 512;

uint16_t Lane(int word, int bit) { return static_cast<uint16_t>(word | (15 - bit) << 12); }

}  // namespace

PickPlan MakePickPlan(const uint16_t* positions) {
  PickPlan plan = {};
  std::copy_n(positions, PickPlan::kPositions, plan.positions);
  std::vector<int> order(positions, positions + PickPlan::kPositions);
  std::sort(order.begin(), order.end());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  std::vector<int> place_of(16 * kVectorWords);  // of a position, among the windows' bits
  int windows = 0, bits = kWindowBits, first = 0;
  for (const int position : order) {
    const int word = position / 16;
    if (bits == kWindowBits || word >= first + kWindowWords) {
      if (windows == kWindows) return plan;
      bits = 0;
      first = std::min(word, kVectorWords - kWindowWords);
      plan.first[windows++] = static_cast<uint16_t>(first);
    }
    const int place = kWindowBits * (windows - 1) + bits++;
    place_of[position] = place;
    plan.window_lanes[place] = Lane(word - first, position % 16);
  }
  for (int i = 0; i < PickPlan::kPositions; ++i) {
    const int place = place_of[positions[i]];
    plan.result_lanes[i] = Lane(place / 16, place % 16);
  }
  plan.windows = windows;
  return plan;
}

}  // namespace chimera
