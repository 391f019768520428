#include "train/expert_balance.h"

#include <algorithm>

#include "model/layout.h"

namespace chimera {
namespace {

constexpr double kRateRatio = 4.0;  // u / learning rate; u = 1e-3 belongs to rates of 2e-4

}  // namespace

ExpertBalance::ExpertBalance(const ModelConfig& config, Network* network, Parameters* parameters)
    : network_(network), parameters_(parameters) {
  for (int i = 0; i < config.n_layers; ++i) {
    if (config.ffn[static_cast<size_t>(i)] != FfnKind::kMoe) continue;
    layers_.push_back(i);
    balancers_.emplace_back(config.moe.n_routed, MoeBalancerOptions{});
    settlers_.emplace_back(config.moe.n_routed);
  }
}

void ExpertBalance::Update(int64_t t, int64_t steps_total, double learning_rate) {
  const double u = MoeBalanceRate(kRateRatio * learning_rate, t, steps_total);
  for (size_t i = 0; i < layers_.size(); ++i) {
    balancers_[i].Update(network_->TakePicks(layers_[i]), u, Bias(layers_[i]));
  }
}

void ExpertBalance::Settle(double gain) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const std::vector<int64_t> picks = network_->TakePicks(layers_[i]);
    balancers_[i].Update(picks, 0, Bias(layers_[i]));
    settlers_[i].Move(picks, gain, Bias(layers_[i]));
  }
}

std::span<float> ExpertBalance::Bias(int layer) {
  const Parameters::Entry& bias = parameters_->entry(LayerTensor(layer, "moe.bias"));
  return parameters_->values().subspan(static_cast<size_t>(bias.offset),
                                       static_cast<size_t>(bias.size));
}

void ExpertBalance::Discard() {
  for (int layer : layers_) network_->TakePicks(layer);
}

double ExpertBalance::Violation() const {
  double worst = 0;
  for (const MoeBalancer& balancer : balancers_) {
    worst = std::max(worst, balancer.global_violation());
  }
  return worst;
}

std::vector<double> ExpertBalance::State() {
  std::vector<double> all;
  for (MoeBalancer& balancer : balancers_) {
    all.insert(all.end(), balancer.state().begin(), balancer.state().end());
  }
  return all;
}

bool ExpertBalance::Restore(std::span<const double> state) {
  if (state.size() != State().size()) return false;
  for (MoeBalancer& balancer : balancers_) {
    const std::span<double> own = balancer.state();
    std::copy_n(state.begin(), own.size(), own.begin());
    state = state.subspan(own.size());
  }
  return true;
}

}  // namespace chimera
