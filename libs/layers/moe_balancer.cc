#include "layers/moe_balancer.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "layers/moe.h"

namespace chimera {

namespace {

// bias += moves, then the mean is taken off.
void MoveAndCentre(std::span<const double> moves, std::span<float> bias) {
  std::vector<double> moved(bias.begin(), bias.end());
  for (size_t i = 0; i < moved.size(); ++i) moved[i] += moves[i];
  const double centre =
      std::accumulate(moved.begin(), moved.end(), 0.0) / static_cast<double>(moved.size());
  for (size_t i = 0; i < moved.size(); ++i) bias[i] = static_cast<float>(moved[i] - centre);
}

}  // namespace

void MoveBiasesToMean(std::span<const int64_t> picks, double gain, std::span<float> bias) {
  CHIMERA_CHECK(picks.size() == bias.size());
  const int64_t sum = std::accumulate(picks.begin(), picks.end(), int64_t{0});
  if (sum == 0) return;
  const double mean = static_cast<double>(sum) / static_cast<double>(picks.size());
  std::vector<double> moves;
  for (int64_t c : picks) moves.push_back(gain * (1.0 - static_cast<double>(c) / mean));
  MoveAndCentre(moves, bias);
}

double MoeBalanceRate(double u, int64_t t, int64_t steps_total) {
  return 20 * t > 19 * steps_total ? 0.0 : u;
}

double MaxViolation(std::span<const double> counts) {
  const double sum = std::accumulate(counts.begin(), counts.end(), 0.0);
  if (!(sum > 0)) return 0.0;
  const double top = *std::max_element(counts.begin(), counts.end());
  return top * static_cast<double>(counts.size()) / sum - 1;
}

MoeBalancer::MoeBalancer(int n_experts, const MoeBalancerOptions& options)
    : options_(options), n_(static_cast<size_t>(n_experts)), state_(1 + n_) {
  CHIMERA_CHECK(n_experts >= kMoePicks && options.global_tokens > 0);
}

void MoeBalancer::Update(std::span<const int64_t> picks, double u, std::span<float> bias) {
  CHIMERA_CHECK(picks.size() == n_ && bias.size() == n_);
  const int64_t sum = std::accumulate(picks.begin(), picks.end(), int64_t{0});
  if (sum == 0) return;
  const std::vector<double> counts(picks.begin(), picks.end());
  batch_violation_ = MaxViolation(counts);

  const double tokens = static_cast<double>(sum) / kMoePicks;
  const double keep = std::max(0.0, 1.0 - tokens / options_.global_tokens);
  for (size_t i = 0; i < n_; ++i) global()[i] = keep * global()[i] + counts[i];
  state_[0] += tokens;
  if (u == 0) return;

  const double mean = static_cast<double>(sum) / static_cast<double>(n_);
  std::vector<double> moves;
  for (double c : counts) moves.push_back(c < mean ? u : c > mean ? -u : 0.0);
  MoveAndCentre(moves, bias);
}

double MoeBalancer::global_violation() const {
  return MaxViolation(std::span(state_).subspan(1, n_));
}

}  // namespace chimera
