#include "train/mezo.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/philox.h"

namespace chimera {
namespace {

constexpr int64_t kSignsPerBlock = 128;  // of one Philox block
constexpr int64_t kParametersPerTask = 1 << 16;
static_assert(kParametersPerTask % kSignsPerBlock == 0);

// The signs of one block as +1 and -1, without a branch: they are as random as can be.
void SignsOf(const PhiloxBlock& words, float* z) {
  for (uint32_t word : words) {
    for (int bit = 0; bit < 32; ++bit) {
      *z++ = static_cast<float>(static_cast<int>((word >> bit) & 1) * 2 - 1);
    }
  }
}

// Calls body(n, sign of parameter n) for n in range, in order.
template <typename Body>
void ForSigns(uint64_t seed, int64_t t, ParameterRange range, const Body& body) {
  const PhiloxStream rng(seed, RngPurpose::kZerothOrderNoise, static_cast<uint32_t>(t));
  for (int64_t block = range.begin / kSignsPerBlock; block * kSignsPerBlock < range.end; ++block) {
    float z[kSignsPerBlock];
    SignsOf(rng.Block(static_cast<uint64_t>(block)), z);
    const int64_t base = block * kSignsPerBlock, begin = std::max(range.begin, base);
    const int64_t end = std::min(range.end, base + kSignsPerBlock);
    for (int64_t n = begin; n < end; ++n) body(n, z[n - base]);
  }
}

// Cuts a range into tasks that do not depend on the number of threads.
template <typename Body>
void ForTasks(ExecContext* exec, ParameterRange range, const Body& body) {
  const int64_t first = range.begin / kParametersPerTask;
  const int64_t last = (range.end + kParametersPerTask - 1) / kParametersPerTask;
  exec->ParallelFor(last - first, [&](int64_t i) {
    const int64_t begin = (first + i) * kParametersPerTask;
    body(ParameterRange{std::max(range.begin, begin),
                        std::min(range.end, begin + kParametersPerTask)});
  });
}

}  // namespace

std::vector<ParameterRange> DecayedRanges(const Parameters& parameters) {
  std::vector<ParameterRange> ranges;
  for (const Parameters::Entry& e : parameters.entries()) {
    if (e.spec.decay) ranges.push_back({e.offset, e.offset + e.size});
  }
  return ranges;
}

Mezo::Mezo(const MezoOptions& options, std::span<float> theta, std::vector<ParameterRange> decayed)
    : options_(options),
      theta_(theta),
      decayed_(std::move(decayed)),
      stored_(theta.begin(), theta.end()) {}

void Mezo::Perturb(ExecContext* exec, int64_t t, float scale) {
  ForTasks(exec, {0, static_cast<int64_t>(theta_.size())}, [&](ParameterRange range) {
    ForSigns(options_.seed, t, range, [&](int64_t n, float z) {
      theta_[static_cast<size_t>(n)] = stored_[static_cast<size_t>(n)] + scale * z;
    });
  });
}

MezoProbe Mezo::Probe(ExecContext* exec, int64_t t, absl::FunctionRef<double()> loss) {
  CHIMERA_CHECK(t >= 1 && t <= kMezoStepsMax);
  const auto eps = static_cast<float>(options_.eps);
  std::copy(theta_.begin(), theta_.end(), stored_.begin());
  MezoProbe probe;
  Perturb(exec, t, eps);
  probe.loss_plus = loss();
  Perturb(exec, t, -eps);
  probe.loss_minus = loss();
  std::copy(stored_.begin(), stored_.end(), theta_.begin());
  probe.projected_gradient =
      (probe.loss_plus - probe.loss_minus) / (2.0 * static_cast<double>(eps));
  return probe;
}

void Mezo::UpdateRange(ExecContext* exec, int64_t t, ParameterRange range, double lr, double g,
                       double decay) {
  ForTasks(exec, range, [&](ParameterRange part) {
    ForSigns(options_.seed, t, part, [&](int64_t n, float z) {
      float& theta = theta_[static_cast<size_t>(n)];
      const auto at = static_cast<double>(theta);
      theta = static_cast<float>(at - lr * (g * static_cast<double>(z) + decay * at));
    });
  });
}

void Mezo::Update(ExecContext* exec, int64_t t, double projected_gradient) {
  const double lr = LearningRate(options_.schedule, t);
  int64_t at = 0;
  for (const ParameterRange& range : decayed_) {
    UpdateRange(exec, t, {at, range.begin}, lr, projected_gradient, 0.0);
    UpdateRange(exec, t, range, lr, projected_gradient, options_.weight_decay);
    at = range.end;
  }
  UpdateRange(exec, t, {at, static_cast<int64_t>(theta_.size())}, lr, projected_gradient, 0.0);
}

StepResult Mezo::Step(ExecContext* exec, int64_t t, BatchLoss* loss) {
  const MezoProbe probe = Probe(exec, t, [loss] { return loss->Evaluate(false); });
  StepResult result;
  result.loss = 0.5 * (probe.loss_plus + probe.loss_minus);
  result.projected_gradient = probe.projected_gradient;
  result.gradient_norm = std::abs(probe.projected_gradient);
  if (std::isfinite(result.loss)) Update(exec, t, probe.projected_gradient);
  return result;
}

void Mezo::Save(Checkpoint* checkpoint) const {
  checkpoint->m.clear();
  checkpoint->v.clear();
}

bool Mezo::Restore(const Checkpoint& checkpoint) {
  return checkpoint.m.empty() && checkpoint.v.empty();
}

}  // namespace chimera
