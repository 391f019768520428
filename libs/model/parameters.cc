#include <cmath>

#include "base/check.h"
#include "base/philox.h"
#include "model/network.h"
#include "model/ternary_switches.h"

namespace chimera {
namespace {

bool EndsWith(const std::string& text, const char* tail) {
  const std::string_view t(tail);
  return text.size() >= t.size() && text.compare(text.size() - t.size(), t.size(), t) == 0;
}

// Value i of a freshly initialised tensor; u is uniform in [0, 1).
float InitialValue(const ModelConfig& c, const TensorSpec& spec, int64_t i, float u) {
  const float centered = 2.0f * u - 1.0f;
  if (EndsWith(spec.name, "norm")) return 1.0f;
  if (EndsWith(spec.name, kHgfB)) return 0.0f;
  if (EndsWith(spec.name, kHgfGate)) return 0.1f;
  if (EndsWith(spec.name, kHgfA)) {  // A x of a normalised x has deviation 1
    return std::sqrt(3.0f / static_cast<float>(spec.cols)) * centered;
  }
  if (EndsWith(spec.name, "gd.a_log")) return std::log(0.1f + 15.9f * u);  // A in [0.1, 16)
  if (EndsWith(spec.name, "gd.dt_bias")) {
    const float dt = 1e-3f * std::pow(100.0f, u);  // log-uniform in [1e-3, 0.1]
    return dt + std::log(-std::expm1(-dt));        // inverse of softplus
  }
  if (EndsWith(spec.name, "gd.conv")) return 0.5f * centered;  // Kaiming-uniform for four taps
  if (EndsWith(spec.name, "xm.w_gates")) return 0.0f;
  if (EndsWith(spec.name, "xm.gate_bias")) {
    if (i < c.n_heads) return 0.1f * 1.7320508f * centered;  // input gates
    const float span = c.n_heads > 1 ? static_cast<float>(i - c.n_heads) / (c.n_heads - 1) : 0.0f;
    return 3.0f + 3.0f * span;  // forget gates from 3 to 6 over the heads
  }
  return c.init_std * 1.7320508f * centered;  // uniform with deviation init_std
}

}  // namespace

Parameters::Parameters(const ModelConfig& config) : progress_(std::make_unique<QuantProgress>()) {
  int64_t offset = 0;
  for (TensorSpec& spec : ModelLayout(config)) {
    const int64_t size = int64_t{spec.rows} * spec.cols;
    entries_.push_back({std::move(spec), offset, size});
    offset += size;
  }
  values_.resize(static_cast<size_t>(offset));
  grads_.resize(static_cast<size_t>(offset));
}

void Parameters::Initialize(const ModelConfig& config, uint64_t seed) {
  for (size_t e = 0; e < entries_.size(); ++e) {
    const PhiloxStream rng(seed, RngPurpose::kWeightInit, static_cast<uint32_t>(e));
    float* out = values_.data() + entries_[e].offset;
    for (int64_t i = 0; i < entries_[e].size; ++i) {
      out[i] = InitialValue(config, entries_[e].spec, i, rng.Uniform(static_cast<uint64_t>(i)));
    }
  }
}

const Parameters::Entry* Parameters::Find(const std::string& name) const {
  for (const Entry& entry : entries_) {
    if (entry.spec.name == name) return &entry;
  }
  return nullptr;
}

const Parameters::Entry& Parameters::entry(const std::string& name) const {
  const Entry* found = Find(name);
  CHIMERA_CHECK(found != nullptr && "no such parameter");
  return *found;
}

void Parameters::SetProgress(double progress) {
  *progress_ = QuantProgressAt(progress);
  for (Entry& entry : entries_) {
    if (EndsWith(entry.spec.name, kHgfGate)) entry.frozen = !progress_->gate_learns;
  }
}

std::span<const float> Parameters::value(const std::string& name) const {
  const Entry& e = entry(name);
  return {values_.data() + e.offset, static_cast<size_t>(e.size)};
}

}  // namespace chimera
