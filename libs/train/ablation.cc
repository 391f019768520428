#include "train/ablation.h"

#include <algorithm>
#include <functional>
#include <span>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "layers/low_rank.h"
#include "model/layout.h"
#include "model/master_weights.h"
#include "model/ternary_switches.h"
#include "tensor/tape.h"
#include "train/validation.h"

namespace chimera {
namespace {

// A log rate so low that its rate is 0 in float.
constexpr float kNever = -1000.0f;
// Beyond every score of the router, which lies in (0, 1).
constexpr float kAlwaysPicked = 2.0f;

// What a part may change.
struct Ablated {
  ModelConfig config;  // of the network only: the parameters keep their shapes
  Parameters* parameters = nullptr;
  bool freeze_memories = false;

  // body(values of the tensor), in every layer of these kinds that has it; no kinds: in every one.
  void Each(std::initializer_list<LayerKind> kinds, const std::string& rest,
            const std::function<void(std::span<float>)>& body) {
    for (int i = 0; i < config.n_layers; ++i) {
      const LayerKind kind = config.layers[static_cast<size_t>(i)];
      if (kinds.size() > 0 && std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) continue;
      const Parameters::Entry* e = parameters->Find(LayerTensor(i, rest.c_str()));
      if (e == nullptr) continue;
      body(parameters->values().subspan(static_cast<size_t>(e->offset),
                                        static_cast<size_t>(e->size)));
    }
  }
  void Fill(std::initializer_list<LayerKind> kinds, const std::string& rest, float value) {
    Each(kinds, rest, [value](std::span<float> x) { std::fill(x.begin(), x.end(), value); });
  }
  // Zeros quantise to zeros with scale 0: the map gives exact zeros, without its correction too.
  void Zero(std::initializer_list<LayerKind> kinds, const std::string& rest) {
    Fill(kinds, rest, 0.0f);
    Fill(kinds, rest + kHgfB, 0.0f);
  }
};

// The rows of the window's keys and values, the last of the input projection. What is left of the
// attention is its learned slots: a key of zeros scores 0, a value of zeros adds nothing.
void BlindWindow(Ablated* a) {
  const int kv = 2 * a->config.tm.kv_heads * a->config.head_dim;
  const auto blind = [kv](int cols) {
    return [n = static_cast<size_t>(kv) * static_cast<size_t>(cols)](std::span<float> x) {
      const std::span<float> rows = x.last(n);
      std::fill(rows.begin(), rows.end(), 0.0f);
    };
  };
  a->Each({}, "tm.w_in", blind(a->config.d_model));
  a->Each({}, std::string("tm.w_in") + kHgfB, blind(kLowRank));
}

// Keeps the tap of the current token, the last of each channel.
void ForgetTaps(Ablated* a) {
  const auto taps = static_cast<size_t>(a->config.gd.conv_width);
  a->Each({}, "gd.conv", [taps](std::span<float> x) {
    for (size_t i = 0; i < x.size(); ++i) {
      if (i % taps != taps - 1) x[i] = 0.0f;
    }
  });
}

void PickTheSameExperts(Ablated* a) {
  a->Each({}, "moe.bias", [a](std::span<float> x) {
    std::fill(x.begin(), x.end(), 0.0f);
    std::fill_n(x.begin(), a->config.moe.top_k, kAlwaysPicked);
  });
}

// Corrections of all maps.
void DropCorrections(Ablated* a) {
  for (const Parameters::Entry& e : a->parameters->entries()) {
    if (!e.spec.name.ends_with(kHgfB)) continue;
    const auto first = a->parameters->values().begin() + e.offset;
    std::fill(first, first + e.size, 0.0f);
  }
}

bool Has(const ModelConfig& c, LayerKind kind) {
  return std::find(c.layers.begin(), c.layers.end(), kind) != c.layers.end();
}
bool HasGd(const ModelConfig& c) { return Has(c, LayerKind::kGatedDelta); }
bool HasXm(const ModelConfig& c) { return Has(c, LayerKind::kMlstm); }
bool HasTm(const ModelConfig& c) { return Has(c, LayerKind::kTitans); }
bool HasSk(const ModelConfig& c) { return Has(c, LayerKind::kSpanKnot); }
bool HasFfn(const ModelConfig& c) {
  return std::find(c.ffn.begin(), c.ffn.end(), FfnKind::kDense) != c.ffn.end();
}
bool HasExperts(const ModelConfig& c) {
  return std::find(c.ffn.begin(), c.ffn.end(), FfnKind::kMoe) != c.ffn.end();
}

struct Part {
  const char* name;
  const char* help;
  bool (*has)(const ModelConfig& config);
  void (*remove)(Ablated* a);
};

constexpr LayerKind kGd = LayerKind::kGatedDelta, kSk = LayerKind::kSpanKnot;

const Part kMixerParts[] = {
    {"gd", "GD layers add nothing: their output projection is zero.", HasGd,
     [](Ablated* a) { a->Zero({kGd}, "gd.w_out"); }},
    {"gd.gates", "Decay and write strength of GD layers no longer depend on the token.", HasGd,
     [](Ablated* a) { a->Fill({kGd}, "gd.w_gates", 0.0f); }},
    {"gd.decay", "GD states never fade: alpha is 1, only the delta rule erases.", HasGd,
     [](Ablated* a) { a->Fill({kGd}, "gd.a_log", kNever); }},
    {"xm", "XM layers add nothing: their output projection is zero.", HasXm,
     [](Ablated* a) { a->Zero({}, "xm.w_out"); }},
    {"xm.gates", "Input and forget gates of XM layers no longer depend on the token.", HasXm,
     [](Ablated* a) { a->Fill({}, "xm.w_gates", 0.0f); }},
    {"tm", "TM layers add nothing: their output projection is zero.", HasTm,
     [](Ablated* a) { a->Zero({}, "tm.w_out"); }},
    {"tm.memory", "TM memories do not learn while reading: they keep their first weights.", HasTm,
     [](Ablated* a) { a->freeze_memories = true; }},
    {"tm.gates", "Step, momentum and forgetting of TM memories no longer depend on the token.",
     HasTm, [](Ablated* a) { a->Fill({}, "tm.w_gates", 0.0f); }},
    {"tm.retrieval", "What a TM memory recalls no longer gates the attention.", HasTm,
     [](Ablated* a) { a->Fill({}, "tm.head_norm", 0.0f); }},
    {"tm.blocks", "Block tokens of TM layers, the recalled past in the attention, are blank.",
     [](const ModelConfig& c) { return HasTm(c) && !c.tm.decay_linear; },
     [](Ablated* a) { a->Fill({}, "tm.block_norm", 0.0f); }},
    {"tm.window", "TM attention sees its learned slots only: tokens and blocks are blank.", HasTm,
     BlindWindow},
    {"tm.slots", "TM attention has no learned slots.",
     [](const ModelConfig& c) { return HasTm(c) && c.tm.persistent_slots > 0; },
     [](Ablated* a) { a->config.tm.persistent_slots = 0; }},
    {"sk", "SK layers add nothing: their output projection is zero.", HasSk,
     [](Ablated* a) { a->Zero({kSk}, "gd.w_out"); }},
    {"sk.delta", "Phase 1 of SK layers, the delta rule, is silent; the sketch stays.", HasSk,
     [](Ablated* a) { a->Fill({kSk}, "gd.head_norm", 0.0f); }},
    {"sk.sketch", "Phase 2 of SK layers, the sketch, is silent: its gate is zero.", HasSk,
     [](Ablated* a) { a->Fill({}, "sk.gate", 0.0f); }},
    {"sk.relaxation", "Sketches are not relaxed: no sweep, no flip.",
     [](const ModelConfig& c) { return HasSk(c) && c.sk.sweeps_max > 0; },
     [](Ablated* a) { a->config.sk.sweeps_max = 0; }},
    {"sk.autoregressive", "The sketch's energy has no autoregressive term.",
     [](const ModelConfig& c) { return HasSk(c) && c.sk.sweeps_max > 0 && c.sk.weights[0] > 0; },
     [](Ablated* a) { a->config.sk.weights[0] = 0; }},
    {"sk.binding", "The sketch's energy has no binding term.",
     [](const ModelConfig& c) { return HasSk(c) && c.sk.sweeps_max > 0 && c.sk.weights[2] > 0; },
     [](Ablated* a) { a->config.sk.weights[2] = 0; }},
    {"conv", "Short convolutions of GD and SK layers see the current token only.",
     [](const ModelConfig& c) { return HasGd(c) || HasSk(c); }, ForgetTaps},
};

const Part kOtherParts[] = {
    {"ffn", "Dense feed-forwards add nothing.", HasFfn,
     [](Ablated* a) { a->Zero({}, "ffn.w_out"); }},
    {"experts", "Routed experts add nothing; the shared expert stays.", HasExperts,
     [](Ablated* a) { a->Zero({}, "moe.w_out"); }},
    {"shared", "The shared expert adds nothing; the routed experts stay.",
     [](const ModelConfig& c) { return HasExperts(c) && c.moe.n_shared > 0; },
     [](Ablated* a) { a->Zero({}, "moe.shared_out"); }},
    {"router", "Every token goes to the first two experts.",
     [](const ModelConfig& c) { return HasExperts(c) && c.moe.n_routed > c.moe.top_k; },
     PickTheSameExperts},
    {"loop", "The looped block runs once.",
     [](const ModelConfig& c) { return c.loop.enabled && c.loop.loops_default > 1; },
     [](Ablated* a) { a->config.loop.loops_default = 1; }},
    {"hgf", "Ternary maps have no low-rank correction.",
     [](const ModelConfig& c) { return c.quant.enabled && c.quant.hgf; }, DropCorrections},
};

std::vector<const Part*> Parts() {
  std::vector<const Part*> parts;
  for (const Part& part : kMixerParts) parts.push_back(&part);
  for (const Part& part : kOtherParts) parts.push_back(&part);
  return parts;
}

// What the model has, of the shape it runs with.
const Part* FindPart(const ModelConfig& config, const std::string& name) {
  for (const Part* part : Parts()) {
    if (name == part->name && part->has(config)) return part;
  }
  return nullptr;
}

std::vector<ExpertImbalance> TakeImbalance(const ModelConfig& config, Network* network) {
  std::vector<ExpertImbalance> layers;
  for (int i = 0; i < config.n_layers; ++i) {
    if (config.ffn[static_cast<size_t>(i)] != FfnKind::kMoe) continue;
    ExpertImbalance& layer = layers.emplace_back();
    layer.layer = i;
    int64_t most = 0;
    const std::vector<int64_t> picks = network->TakePicks(i);
    for (int64_t count : picks) {
      layer.picks += count;
      most = std::max(most, count);
    }
    if (layer.picks == 0) continue;
    const double mean = static_cast<double>(layer.picks) / static_cast<double>(picks.size());
    layer.imbalance = static_cast<double>(most) / mean - 1.0;
  }
  return layers;
}

}  // namespace

std::vector<AblationPart> AllAblationParts() {
  std::vector<AblationPart> parts;
  for (const Part* part : Parts()) parts.push_back({part->name, part->help});
  return parts;
}

std::vector<AblationPart> AblationParts(const ModelConfig& config) {
  std::vector<AblationPart> parts;
  for (const Part* part : Parts()) {
    if (part->has(config)) parts.push_back({part->name, part->help});
  }
  return parts;
}

absl::Status CheckAblation(const ModelConfig& config, const std::vector<std::string>& parts) {
  for (const std::string& name : parts) {
    if (FindPart(config, name) != nullptr) continue;
    std::vector<std::string> names;
    for (const AblationPart& part : AblationParts(config)) names.push_back(part.name);
    return absl::InvalidArgumentError(
        absl::StrCat("the model has no part \"", name, "\"; it has ", absl::StrJoin(names, ", ")));
  }
  return absl::OkStatus();
}

Ablation::Ablation(const Model& model, int loops, ExecContext* exec)
    : model_(model), config_(model.shape()), exec_(exec), parameters_(model.shape()) {
  if (loops > 0) config_.loop.loops_default = loops;
  RestoreMasters(model, &parameters_);
  whole_.assign(parameters_.values().begin(), parameters_.values().end());
}

AblationResult Ablation::Measure(std::string_view text, const std::vector<std::string>& parts) {
  std::copy(whole_.begin(), whole_.end(), parameters_.values().begin());
  Ablated ablated{config_, &parameters_};
  for (const std::string& name : parts) {
    const Part* part = FindPart(config_, name);
    CHIMERA_CHECK(part != nullptr);  // checked by the caller
    part->remove(&ablated);
  }
  Network network(ablated.config, &parameters_);
  network.FreezeMemories(ablated.freeze_memories);
  network.Prepare(exec_);
  Tape tape(exec_);
  Config config = model_.config();
  config.model = ablated.config;
  AblationResult result;
  result.bpb = ValidationBpb(config, &network, &tape, *model_.tokenizer(),
                             {{"", std::string(text)}}, static_cast<int64_t>(text.size()));
  result.experts = TakeImbalance(ablated.config, &network);
  return result;
}

}  // namespace chimera
