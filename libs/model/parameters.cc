#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/philox.h"
#include "layers/loop.h"
#include "model/network.h"
#include "model/ternary_switches.h"

namespace chimera {
namespace {

constexpr float kSketchGateStart = 0.1f;  // the sketch branch begins small

// What a rule may use: the shape, the place of the value, and u uniform in [0, 1).
struct Draw {
  const ModelConfig& c;
  const TensorSpec& spec;
  int64_t i;
  float u;

  float Centered() const { return 2.0f * u - 1.0f; }
  float Unit() const { return 1.7320508f * Centered(); }  // deviation 1
};
using Rule = float (*)(const Draw&);

float DtBias(const Draw& d) {
  const float dt = 1e-3f * std::pow(100.0f, d.u);  // log-uniform in [1e-3, 0.1]
  return dt + std::log(-std::expm1(-dt));          // inverse of softplus
}

float MlstmGateBias(const Draw& d) {
  const int heads = d.c.n_heads;
  if (d.i < heads) return 0.1f * d.Unit();  // input gates
  const float span = heads > 1 ? static_cast<float>(d.i - heads) / (heads - 1) : 0.0f;
  return 3.0f + 3.0f * span;  // forget gates from 3 to 6 over the heads
}

float TitansGateBias(const Draw& d) {
  constexpr float kStart[] = {-2.0f, 1.0f, -4.0f};  // theta, eta, alpha
  return kStart[d.i / d.c.n_heads];
}

float Fan(const Draw& d) { return d.Unit() / std::sqrt(static_cast<float>(d.spec.cols)); }
float Zero(const Draw&) { return 0.0f; }
float One(const Draw&) { return 1.0f; }

// By the end of a tensor's name (math-backbone 1.1, 2.1, 3.2, 4.1); the first that fits.
constexpr std::pair<const char*, Rule> kRules[] = {
    {"norm", One},
    {kHgfB, Zero},
    {kHgfGate, [](const Draw&) { return 0.1f; }},
    {kHgfA, Fan},  // A x of a normalised x has deviation 1
    {"gd.a_log", [](const Draw& d) { return std::log(0.1f + 15.9f * d.u); }},  // A in [0.1, 16)
    {"gd.dt_bias", DtBias},
    {"gd.conv", [](const Draw& d) { return 0.5f * d.Centered(); }},  // Kaiming, four taps
    {"xm.w_gates", Zero},
    {"xm.gate_bias", MlstmGateBias},
    {"tm.w_gates", Zero},
    {"tm.gate_bias", TitansGateBias},
    {"tm.w1", [](const Draw& d) { return 0.5f * Fan(d); }},  // 3.3: a small first memory is stable
    {"tm.w2", [](const Draw& d) { return 0.5f * Fan(d); }},
    {"sk.w_sketch", Fan},
    {"sk.w_back", Fan},
    {"sk.gate", [](const Draw&) { return kSketchGateStart; }},
    {"moe.bias", Zero},
    {"router.hidden_bias", Zero},
    {"router.out_bias", Zero},
    {"loop.a_log", Zero},
    {"loop.dt_bias", [](const Draw&) { return kLoopDtInit; }},
    {"loop.b", One},
    {"", [](const Draw& d) { return d.c.init_std * d.Unit(); }},
};

Rule RuleOf(const std::string& name) {
  for (const auto& [tail, rule] : kRules) {
    if (name.ends_with(tail)) return rule;
  }
  return nullptr;  // the last rule fits every name
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

void FillInitial(const ModelConfig& config, const TensorSpec& spec, size_t index, uint64_t seed,
                 ExecContext* exec, float* out) {
  constexpr int64_t kPart = 1 << 16;  // values, a multiple of a block's four
  const PhiloxStream rng(seed, RngPurpose::kWeightInit, static_cast<uint32_t>(index));
  const int64_t size = int64_t{spec.rows} * spec.cols;
  const Rule rule = RuleOf(spec.name);
  exec->ParallelFor((size + kPart - 1) / kPart, [&](int64_t part) {
    const int64_t end = std::min(size, (part + 1) * kPart);
    for (int64_t i = part * kPart; i < end; i += 4) {
      const PhiloxBlock block = rng.Block(static_cast<uint64_t>(i) / 4);
      for (int64_t j = i; j < std::min(i + 4, end); ++j) {
        out[j] = rule({config, spec, j, UniformFromBits(block[static_cast<size_t>(j - i)])});
      }
    }
  });
}

void Parameters::Initialize(const ModelConfig& config, uint64_t seed) {
  ExecContext exec(1);
  for (size_t e = 0; e < entries_.size(); ++e) {
    FillInitial(config, entries_[e].spec, e, seed, &exec, values_.data() + entries_[e].offset);
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
    if (entry.spec.name.ends_with(kHgfGate)) entry.frozen = !progress_->gate_learns;
  }
}

std::span<const float> Parameters::value(const std::string& name) const {
  const Entry& e = entry(name);
  return {values_.data() + e.offset, static_cast<size_t>(e.size)};
}

}  // namespace chimera
