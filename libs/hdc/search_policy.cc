#include "hdc/search_policy.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "hdc/lsh.h"

namespace chimera {
namespace {

constexpr int kVotesMax = 3;  // what CheapestPolicy tries

// The probability of at least `votes` successes in independent trials: `plain` of probability p,
// `flipped` of probability q.
double AtLeast(int votes, int plain, double p, int flipped, double q) {
  std::array<double, kLshTables + 1> have{};  // have[v]: exactly v so far; the last one: or more
  have[0] = 1;
  for (int t = 0; t < plain + flipped; ++t) {
    const double hit = t < plain ? p : q;
    have[votes] += have[votes - 1] * hit;
    for (int v = votes - 1; v > 0; --v) have[v] = have[v] * (1 - hit) + have[v - 1] * hit;
    have[0] *= 1 - hit;
  }
  return have[votes];
}

// The probability of becoming a candidate when bits differ with probability d.
double Met(const SearchPolicy& policy, double d) {
  const double same = std::pow(1 - d, kLshBitsPerTable);
  const double one_off = kLshBitsPerTable * d * std::pow(1 - d, kLshBitsPerTable - 1);
  return AtLeast(policy.min_votes, policy.tables - policy.flip_tables, same, policy.flip_tables,
                 same + one_off);
}

}  // namespace

double ExpectedRecall(const SearchPolicy& policy, double distance) {
  return policy.scan() ? 1 : Met(policy, distance);
}

double ExpectedCost(const SearchPolicy& policy, size_t n, const SearchCosts& costs) {
  const auto vectors = static_cast<double>(n);
  if (policy.scan()) return costs.query + vectors * costs.scan_vector;
  const int looks = policy.tables + kLshBitsPerTable * policy.flip_tables;
  return costs.query + looks * costs.look + vectors * looks / kLshBuckets * costs.meet +
         vectors * Met(policy, 0.5) * costs.rank;
}

SearchPolicy CheapestPolicy(size_t n, double distance, double recall, const SearchCosts& costs) {
  SearchPolicy best = kScan;
  if (recall >= 1) return best;  // tables promise nothing with certainty
  double least = ExpectedCost(best, n, costs);
  for (int votes = 1; votes <= kVotesMax; ++votes) {
    for (const int flips : {0, 4, 8, 16, 32, 64}) {
      for (int tables = std::max({1, votes, flips}); tables <= kLshTables; ++tables) {
        const SearchPolicy policy{.tables = tables, .flip_tables = flips, .min_votes = votes};
        if (ExpectedRecall(policy, distance) < recall) continue;
        const double cost = ExpectedCost(policy, n, costs);
        if (cost < least) best = policy, least = cost;
        break;  // more tables cost more
      }
    }
  }
  return best;
}

}  // namespace chimera
