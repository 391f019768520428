#include "layers/moe_balancer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "layers/moe.h"

namespace chimera {

namespace {

// Chosen on texts left out of the fit (docs/experiments.md, 2026-11-26). The spread is that over
// kSpreadMoves sequences, for with the first biases it is not yet that of the texts.
constexpr double kHeadroom = 0.4;
constexpr int64_t kSpreadMoves = 200;

// bias += moves, then the mean is taken off.
void MoveAndCentre(std::span<const double> moves, std::span<float> bias) {
  std::vector<double> moved(bias.begin(), bias.end());
  for (size_t i = 0; i < moved.size(); ++i) moved[i] += moves[i];
  const double centre =
      std::accumulate(moved.begin(), moved.end(), 0.0) / static_cast<double>(moved.size());
  for (size_t i = 0; i < moved.size(); ++i) bias[i] = static_cast<float>(moved[i] - centre);
}

}  // namespace

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

MoeSettler::MoeSettler(int n_experts) : squares_(static_cast<size_t>(n_experts)) {
  CHIMERA_CHECK(n_experts >= kMoePicks);
}

void MoeSettler::Move(std::span<const int64_t> picks, double gain, std::span<float> bias) {
  const size_t n = squares_.size();
  CHIMERA_CHECK(picks.size() == n && bias.size() == n);
  const int64_t sum = std::accumulate(picks.begin(), picks.end(), int64_t{0});
  if (sum == 0) return;
  const double mean = static_cast<double>(sum) / static_cast<double>(n);
  const auto seen = static_cast<double>(std::min(++n_moves_, kSpreadMoves));
  for (size_t i = 0; i < n; ++i) {
    const double over = static_cast<double>(picks[i]) / mean - 1.0;
    squares_[i] += (over * over - squares_[i]) / seen;
  }
  std::vector<double> moves = Targets();
  for (size_t i = 0; i < n; ++i) {
    moves[i] = gain * (moves[i] - static_cast<double>(picks[i]) / mean);
  }
  MoveAndCentre(moves, bias);
}

std::vector<double> MoeSettler::Targets() const {
  std::vector<double> targets;
  for (double square : squares_) targets.push_back(std::sqrt(square));
  const double mean =
      std::accumulate(targets.begin(), targets.end(), 0.0) / static_cast<double>(targets.size());
  for (double& target : targets) target = 1.0 - kHeadroom * (target - mean);
  return targets;
}

}  // namespace chimera
