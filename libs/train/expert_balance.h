// Keeps the experts of all layers equally busy while a network trains (math-backbone 6.3): after
// every optimizer step their biases move by what the step picked. The step of a bias is four times
// the learning rate, so it keeps pace with the router whose choices it corrects.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "config/model_config.h"
#include "layers/moe_balancer.h"
#include "model/network.h"

namespace chimera {

// Thread-compatible; network and parameters are borrowed.
class ExpertBalance {
 public:
  ExpertBalance(const ModelConfig& config, Network* network, Parameters* parameters);

  bool empty() const { return layers_.empty(); }

  // After optimizer step t = 1..steps_total, which was taken at this rate.
  void Update(int64_t t, int64_t steps_total, double learning_rate);
  // Without an optimizer step, by what one sequence picked (MoeSettler::Move).
  void Settle(double gain);
  // Forgets picks of passes that are no training, for example validation.
  void Discard();

  // The largest of all layers: max_i c_i / mean(c) - 1, averaged over about a million tokens; 0
  // without experts.
  double Violation() const;

  // What a resumed run needs. Restore returns false, and changes nothing, for another size.
  std::vector<double> State();
  bool Restore(std::span<const double> state);

 private:
  std::span<float> Bias(int layer);

  Network* network_;
  Parameters* parameters_;
  std::vector<int> layers_;
  std::vector<MoeBalancer> balancers_;
  std::vector<MoeSettler> settlers_;
};

}  // namespace chimera
