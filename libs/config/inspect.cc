#include "config/inspect.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "config/registry.h"

namespace chimera {
namespace {

constexpr int64_t kMemoryMatrices = 2;  // W1 and W2 of a Titans memory head
constexpr int64_t kTitansGates = 3;     // theta, eta, alpha
constexpr int64_t kMemoryTokens = 64;   // slots of compressed blocks in the window
constexpr int64_t kWriteChunk = 16;     // tokens buffered before a memory write
constexpr int64_t kRouterHidden = 192;  // of the depth router, d_model - 192 - 6
constexpr int64_t kRouterDepths = 6;
constexpr int64_t kStateBytes = 2;  // bf16

struct Split {
  int64_t ternary = 0;
  int64_t floats = 0;

  int64_t Total() const { return ternary + floats; }
};

// math-backbone 1.1, 2.1, 3.2: projections are ternary; gates, convolutions, norms and memories are
// floats. SubLN before the output projection counts here.
Split CountMixer(const ModelConfig& m, LayerKind kind) {
  const int64_t d = m.d_model;
  const int64_t heads = m.n_heads;
  const int64_t head_dim = m.head_dim;
  Split count;
  if (kind == LayerKind::kTitans) {
    const int64_t kv = m.tm.kv_heads * head_dim;
    count.ternary = 5 * d * d + 2 * d * kv;  // q, memory k, v, q, out; k, v of the window
    count.floats = kTitansGates * (heads * d + heads) +
                   heads * kMemoryMatrices * head_dim * m.tm.mem_hidden +
                   2 * kv * m.tm.persistent_slots + head_dim + 2 * d;
    return count;
  }
  count.ternary = 5 * d * d;  // q, k, v, gate, out
  const int64_t gates = 2 * (heads * d + heads);
  if (kind == LayerKind::kMlstm) {
    count.floats = gates + d + d;  // head norm over all heads, SubLN
  } else {
    count.floats = gates + 3 * d * m.gd.conv_width + head_dim + d;
  }
  // The sketch: three projections in, one back, a gate (docs/layers/span_knot.md).
  if (kind == LayerKind::kSpanKnot) count.floats += 4 * m.sk.rank * d + d;
  return count;
}

Split CountSwiGlu(const ModelConfig& m, int64_t width) {
  return {.ternary = 3 * m.d_model * width, .floats = width};
}

// experts: how many of them (shared ones included), plus the router and its bias.
Split CountMoe(const ModelConfig& m, int64_t experts) {
  const Split one = CountSwiGlu(m, m.moe.d_expert);
  const int64_t routed = m.moe.n_routed;
  return {.ternary = experts * one.ternary,
          .floats = experts * one.floats + routed * m.d_model + routed};
}

LoopPart PartOf(const ModelConfig& m, int layer) {
  if (!m.loop.enabled) return LoopPart::kNone;
  if (layer < m.loop.first_layer) return LoopPart::kPrelude;
  return layer > m.loop.last_layer ? LoopPart::kCoda : LoopPart::kLoop;
}

// State of one layer and one loop iteration, in bytes (math-backbone 1.1, 2.2).
int64_t RecurrentBytes(const ModelConfig& m, LayerKind kind) {
  const int64_t heads = m.n_heads;
  const int64_t matrix = m.head_dim * m.head_dim;
  switch (kind) {
    case LayerKind::kTitans: {
      // Ring of int8 keys and values with one scale per token and head (math-backbone 3.2).
      const int64_t tokens = m.tm.window_len + kMemoryTokens;
      return tokens * 2 * m.tm.kv_heads * (m.head_dim + kStateBytes);
    }
    case LayerKind::kMlstm:
      return heads * (matrix + m.head_dim + 1) * kStateBytes;
    case LayerKind::kGatedDelta:
      return (heads * matrix + 3 * m.d_model * (m.gd.conv_width - 1)) * kStateBytes;
    case LayerKind::kSpanKnot:
      return RecurrentBytes(m, LayerKind::kGatedDelta) + m.sk.sketch_bits / 8;
  }
  return 0;
}

// Fast weights, momentum and the write buffer: one a layer, whatever the loops (math-backbone 3.5).
int64_t TitansMemoryBytes(const ModelConfig& m) {
  const int64_t heads = m.n_heads;
  const int64_t fast = heads * kMemoryMatrices * m.head_dim * m.tm.mem_hidden;
  const int64_t buffer = kWriteChunk * heads * (3 * m.head_dim + kTitansGates);
  return (2 * fast + buffer) * kStateBytes;
}

std::string Millions(int64_t count) {
  const double value = static_cast<double>(count);
  return value >= 1e9 ? absl::StrFormat("%.3f B", value / 1e9)
                      : absl::StrFormat("%.2f M", value / 1e6);
}

std::string Mib(int64_t bytes) {
  return absl::StrFormat("%.1f", static_cast<double>(bytes) / (1 << 20));
}

// What the dimensions say about a label; empty when nothing is built that could be measured.
std::string MeasuredSize(const ModelReport& r, const std::string& key) {
  const ParameterCounts& p = r.parameters;
  if (key == "params.base") return Millions(p.active) + " per token, one loop, no embedding";
  if (key == "params.moe_total" || key == "backbone.moe.total_params") return Millions(p.moe);
  if (key == "backbone.moe.active_params_per_tok") return Millions(p.moe_active);
  if (key == "params.physical") return Millions(p.total);
  if (key == "params.active_per_token") return Millions(p.active_with_head) + " with the full head";
  if (key == "params.effective_2loops") {
    return p.executed.size() >= 2 ? Millions(p.executed[1]) : "";
  }
  if (key == "params.effective_6loops") {
    return p.executed.size() >= 6 ? Millions(p.executed[5]) : "";
  }
  if (key == "braid_state.per_stream_mb") {
    return Mib(r.bytes.stream_state) + " MiB at the default loops";
  }
  if (key == "params.weight_mb") return Mib(r.bytes.weights) + " MiB";
  return "";
}

int64_t ExpertBytes(const ModelReport& r) {
  int64_t weights = 0;
  for (const LayerRow& layer : r.layers) {
    if (layer.ffn == FfnKind::kMoe) weights += layer.ffn_parameters;
  }
  if (!r.model.quant.enabled) return 4 * weights;
  return static_cast<int64_t>(static_cast<double>(weights) * ServedBitsPerTernary(r.model.quant) /
                              8);
}

// The budget recomputed: parts that follow from the dimensions are counted, the others keep their
// label, the sum is what a machine has to offer.
void AddBudgetLabels(const Config& config, ModelReport* r) {
  constexpr int64_t kMib = 1 << 20;
  const int64_t experts = ExpertBytes(*r);
  int64_t total = 0;
  for (const BudgetLabel& part : config.budget.parts) {
    int64_t bytes = -1;
    std::string remark = " MiB";
    if (part.name == "ternary_weights") {
      bytes = r->bytes.weights - experts;
      remark = absl::StrCat(" MiB, ", Mib(r->bytes.embedding), " of them embedding");
    } else if (part.name == "moe_experts") {
      bytes = experts;
    } else if (part.name == "braid") {
      bytes = r->bytes.stream_state;
      remark = " MiB, one stream";
    }
    total += bytes < 0 ? part.mb * kMib : bytes;
    r->labels.push_back({absl::StrCat("memory_budget_mb.", part.name), absl::StrCat(part.mb),
                         bytes < 0 ? "" : absl::StrCat(Mib(bytes), remark)});
  }
  const std::string remark = " MiB, parts without a count at their label";
  r->labels.push_back({"memory_budget_mb.total", absl::StrCat(config.budget.total_mb),
                       absl::StrCat(Mib(total), remark)});
  r->labels.push_back({"memory_budget_mb.max_with_growth",
                       absl::StrCat(config.budget.max_with_growth_mb),
                       absl::StrCat(Mib(total + config.budget.growth_ceiling_mb * kMib), remark)});
  r->labels.push_back({"deployment.per_stream_mb", absl::StrCat(config.deployment.per_stream_mb),
                       absl::StrCat(Mib(r->bytes.stream_state), " MiB at the default loops")});
}

// The scales of int8 rows are not counted, one a row; those of fewer bits are, one for 64 columns.
int64_t EmbeddingBytes(const ModelConfig& m, int64_t weights) {
  if (!m.quant.enabled) return 4 * weights;
  if (m.quant.head_bits == 8) return weights;
  return weights * m.quant.head_bits / 8 + weights / 64 * 2;
}

}  // namespace

ParameterCounts CountParameters(const ModelConfig& m) {
  const int64_t d = m.d_model;
  ParameterCounts p;
  p.embedding = int64_t{m.vocab_size} * d;
  int64_t once = 0;    // weights a token touches in layers outside the loop
  int64_t looped = 0;  // and inside, per iteration
  for (int i = 0; i < m.n_layers; ++i) {
    const auto at = static_cast<size_t>(i);
    const Split mixer = CountMixer(m, m.layers[at]);
    const bool is_moe = m.ffn[at] == FfnKind::kMoe;
    const Split ffn =
        is_moe ? CountMoe(m, m.moe.n_routed + m.moe.n_shared) : CountSwiGlu(m, m.d_ff);
    const int64_t touched =
        is_moe ? CountMoe(m, m.moe.top_k + m.moe.n_shared).Total() : ffn.Total();
    p.mixers += mixer.Total();
    (is_moe ? p.moe : p.ffn) += ffn.Total();
    if (is_moe) p.moe_active += touched;
    p.norms += 2 * d;
    p.hgf += CountCorrections(m, i);
    (m.loop.Contains(i) ? looped : once) += CountCorrections(m, i);
    p.ternary += mixer.ternary + ffn.ternary;
    (m.loop.Contains(i) ? looped : once) += mixer.Total() + touched + 2 * d;
  }
  p.norms += d;
  once += d;
  if (m.loop.enabled) {
    // Decay, step and gain of the injection and the norm of its input (math-backbone 4.2), and the
    // router of its depth (5), which runs once a block of tokens.
    looped += 4 * d;
    p.loop = 4 * d + kRouterHidden * d + kRouterHidden + kRouterDepths * (kRouterHidden + 1);
  }
  p.total = p.embedding + p.mixers + p.ffn + p.moe + p.norms + p.loop + p.hgf;
  if (!m.quant.enabled) p.ternary = 0;
  p.floats = p.total - p.embedding - p.ternary;
  p.active = once + looped;
  p.active_with_head = p.active + p.embedding;
  for (int loops = 1; loops <= m.loop.loops_max; ++loops) {
    p.executed.push_back(once + loops * looped);
  }
  return p;
}

ByteCounts CountBytes(const ModelConfig& m) {
  const ParameterCounts p = CountParameters(m);
  ByteCounts b;
  b.ternary =
      static_cast<int64_t>(static_cast<double>(p.ternary) * ServedBitsPerTernary(m.quant) / 8);
  b.ternary_file =
      static_cast<int64_t>(static_cast<double>(p.ternary) * FileBitsPerTernary(m.quant) / 8);
  b.embedding = EmbeddingBytes(m, p.embedding);
  b.floats = 4 * p.floats;
  b.weights = b.ternary + b.embedding + b.floats;
  for (int i = 0; i < m.n_layers; ++i) {
    const LayerKind kind = m.layers[static_cast<size_t>(i)];
    b.stream_state += RecurrentBytes(m, kind) * (m.loop.Contains(i) ? m.loop.loops_default : 1);
    if (kind == LayerKind::kTitans) b.stream_state += TitansMemoryBytes(m);
  }
  return b;
}

absl::StatusOr<ModelReport> BuildReport(const Config& config) {
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<KeyEntry> keys, Coverage(config));
  const ModelConfig& m = config.model;
  ModelReport r;
  r.name = m.name;
  r.version = config.version;
  r.model = m;
  r.parameters = CountParameters(m);
  r.bytes = CountBytes(m);
  for (int i = 0; i < m.n_layers; ++i) {
    const auto at = static_cast<size_t>(i);
    const Split ffn = m.ffn[at] == FfnKind::kMoe ? CountMoe(m, m.moe.n_routed + m.moe.n_shared)
                                                 : CountSwiGlu(m, m.d_ff);
    r.layers.push_back({i, m.layers[at], m.ffn[at], PartOf(m, i),
                        CountMixer(m, m.layers[at]).Total(), ffn.Total()});
  }
  for (const auto& [key, label] : config.size_labels) {
    r.labels.push_back({key, label, MeasuredSize(r, key)});
  }
  AddBudgetLabels(config, &r);
  auto count = [&keys](KeyRole role) {
    return static_cast<int>(std::count_if(
        keys.begin(), keys.end(), [role](const KeyEntry& key) { return key.role == role; }));
  };
  r.claimed_keys = count(KeyRole::kClaimed);
  r.note_keys = count(KeyRole::kNote);
  r.pending_keys = count(KeyRole::kPending);
  r.trainable = ToStd(CheckTrainable(config).message());
  return r;
}

}  // namespace chimera
