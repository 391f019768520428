// Balancing experts without an auxiliary loss (arXiv 2408.15664; math-backbone 6.3): after every
// optimizer step each expert's bias moves by u towards the mean load. No gradient is involved.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace chimera {

struct MoeBalancerOptions {
  // Tokens over which the global imbalance forgets, as the time constant of an average.
  double global_tokens = 1 << 20;
};

// u of step t = 1..steps_total: zero in the last 5 %, so that the model ends with a fixed router.
double MoeBalanceRate(double u, int64_t t, int64_t steps_total);

// max_i c_i / mean(c) - 1; 0 when nothing was picked.
double MaxViolation(std::span<const double> counts);

// Where the last act of a training aims (expert_settle.h): how much the load of each expert differs
// from text to text decides how far below the mean it is held, for the busiest expert of a few
// texts is one whose load they move most. Thread-compatible.
class MoeSettler {
 public:
  explicit MoeSettler(int n_experts);

  // picks [n_experts] of one sequence: bias += gain (target - c / mean(c)), then re-centred to mean
  // 0; nothing when nothing was picked. Where the sign of MoeBalancer evens the load of the typical
  // batch, this evens the load of all sequences together.
  void Move(std::span<const int64_t> picks, double gain, std::span<float> bias);

  // [n_experts], mean 1: 1 - kHeadroom (spread - mean spread), the spread being the root mean
  // square of c / mean(c) - 1 over the last sequences.
  std::vector<double> Targets() const;

 private:
  int64_t n_moves_ = 0;
  std::vector<double> squares_;  // running means of (c / mean(c) - 1)^2
};

// One layer's. Thread-compatible.
class MoeBalancer {
 public:
  MoeBalancer(int n_experts, const MoeBalancerOptions& options);

  // picks [n_experts]: how often each expert was picked over all tokens and all executed loops of
  // one step. bias += u sign(mean - c), sign(0) = 0, then re-centred to mean 0; u = 0 leaves the
  // bias alone and only measures. A step without picks changes nothing.
  void Update(std::span<const int64_t> picks, double u, std::span<float> bias);

  // Of the last step, and of the average over global_tokens (over all tokens so far when fewer).
  double batch_violation() const { return batch_violation_; }
  double global_violation() const;
  // Tokens the global figure rests on; below global_tokens it is not yet an average of that length.
  double tokens_seen() const { return state_[0]; }

  // Everything that a resumed run needs, to be written and overwritten as numbers.
  std::span<double> state() { return state_; }

 private:
  std::span<double> global() { return std::span(state_).subspan(1, n_); }

  MoeBalancerOptions options_;
  size_t n_;
  double batch_violation_ = 0.0;
  std::vector<double> state_;  // tokens seen, global counts
};

}  // namespace chimera
