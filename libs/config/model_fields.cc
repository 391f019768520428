#include "config/model_fields.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace chimera {
namespace {

constexpr int kBlock = 64;   // head width, activation block and the unit of every dimension
constexpr int kGroup = 128;  // columns that share a scale in the packed format
constexpr int kLayersMax = 1024;
constexpr int kDimMax = 1 << 16;
constexpr int kLoopsMax = 64;
constexpr int kKvHeadsMax = 8;
constexpr int kWriteChunk = 16;  // tokens of a memory write, and of a block of the window
constexpr int kSlotsMax = 64;
constexpr int kWindowMax = 1024;
constexpr int kPicks = 2;  // experts of a token
constexpr int kExpertsMax = 256;
constexpr int kSketchBitsMax = 8192;

constexpr std::array<std::pair<std::string_view, LayerKind>, 4> kKindNames = {{
    {"gated_deltanet", LayerKind::kGatedDelta},
    {"xlstm_m", LayerKind::kMlstm},
    {"titans_mac", LayerKind::kTitans},
    {"tsp_span_knot", LayerKind::kSpanKnot},
}};

void CheckMultiple(Reader& r, const std::string& key, int value, int unit) {
  if (r.status().ok() && value % unit != 0) {
    r.Fail(key, absl::StrCat("must be a multiple of ", unit));
  }
}

void ReadDimensions(Reader& r, ModelConfig* m) {
  r.ActsIn("model: shape of every layer");
  r.Int("hidden_size", kBlock, kDimMax, &m->d_model);
  CheckMultiple(r, "hidden_size", m->d_model, kBlock);
  r.Int("intermediate_size", kBlock, 4 * kDimMax, &m->d_ff);
  CheckMultiple(r, "intermediate_size", m->d_ff, kBlock);
  r.Int("num_hidden_layers", 1, kLayersMax, &m->n_layers);
  r.Int("num_heads", 1, kDimMax / kBlock, &m->n_heads);
  r.FixedInt("head_dim", kBlock);
  if (r.status().ok() && m->n_heads * m->head_dim != m->d_model) {
    r.Fail("num_heads", absl::StrCat("does not fit: num_heads * head_dim is ",
                                     m->n_heads * m->head_dim, ", hidden_size is ", m->d_model));
  }
  r.ActsIn("layers: SwiGLU is the only feed-forward");
  r.FixedString("hidden_act", "swiglu");
  r.ActsIn("train: standard deviation of initial weights");
  r.Float("initializer_range", 1e-6, 1, &m->init_std);
  r.ActsIn("layers: RMS norm");
  r.Float("rms_norm_eps", 1e-12, 1e-2, &m->norm_eps);
  r.FixedBool("rms_norm_before_every_linear", true);
  r.ActsIn("model: the head reads the embedding");
  r.FixedBool("tie_word_embeddings", true);
}

void ReadQuantization(Reader& root, ModelConfig* m) {
  Reader r = root.At("quantization");
  r.ActsIn("ternary, train: ternary weights, or float with \"none\"");
  std::string method;
  r.String("method", &method);
  if (r.status().ok() && method != "bitnet" && method != "none") {
    r.Fail("method", "must be \"bitnet\" or \"none\"");
  }
  m->quant.enabled = method != "none";
  r.ActsIn("ternary: weights that share a scale");
  r.FixedString("weight_scale", "absmean_per_group");
  r.Int("group_size", kBlock, 1024, &m->quant.group_size);
  r.ActsIn("ternary: int8 activations");
  r.FixedInt("activation_bits", 8);
  r.FixedString("activation_method", "absmax_per_block");
  r.FixedInt("activation_block_size", kBlock);
  m->quant.act_block = kBlock;
  if (r.status().ok() && m->quant.group_size % m->quant.act_block != 0) {
    r.Fail("group_size",
           absl::StrCat("must be a multiple of activation_block_size ", m->quant.act_block));
  }
  if (r.status().ok() && m->quant.group_size != kGroup) {
    r.Fail("group_size", absl::StrCat("is not supported, only ", kGroup, " is"));
  }
  r.ActsIn("ternary: exact sums");
  r.FixedString("accumulator_dtype", "int32");
  r.ActsIn("layers: norms in float");
  r.FixedString("norm_dtype", "float32");
}

// The denser forms of ternary weights and the correction beside them; all three need ternary maps.
void ReadTernarySwitches(Reader& root, ModelConfig* m) {
  Reader r = root.At("quantization");
  auto need_ternary = [&](Reader& section, const std::string& key) {
    if (section.status().ok() && !m->quant.enabled) {
      section.Fail(key, "needs ternary weights, but quantization.method is \"none\"");
    }
  };
  r.ActsIn("model: packing of trits in weights.b158");
  std::string packing;
  r.Optional().String("packing", &packing);
  if (packing == "base3") {
    m->quant.packing = TernaryPacking::kBase3;
    need_ternary(r, "packing");
  } else if (r.status().ok() && !packing.empty() && packing != "rows_in_lanes") {
    r.Fail("packing", "must be \"rows_in_lanes\" or \"base3\"");
  }

  r.ActsIn("model: bits of a weight of the tied embedding and head");
  r.Optional().Int("head_bits", 4, 8, &m->quant.head_bits);
  const int head_bits = m->quant.head_bits;
  if (r.status().ok() && head_bits != 8 && head_bits != 6 && head_bits != 4) {
    r.Fail("head_bits", "must be 8, 6 or 4");
  }
  if (head_bits != 8) need_ternary(r, "head_bits");

  Reader sherry = r.At("sherry_mode");
  sherry.ActsIn("ternary, train: one zero in four weights, packed in 1.25 bits");
  bool enabled = false;
  double bits = 0;
  sherry.Bool("enabled", &enabled);
  sherry.Float("bits", 1.25, 1.25, &bits);
  if (enabled) {
    need_ternary(sherry, "enabled");
    if (sherry.status().ok() && m->quant.packing == TernaryPacking::kBase3) {
      r.Fail("packing",
             "does not fit quantization.sherry_mode.enabled, which has a packing of its "
             "own");
    }
    m->quant.packing = TernaryPacking::kSherry;
  }

  Reader hgf = r.At("hgf_correction");
  hgf.ActsIn("layers, train: float correction of rank 16 beside every ternary map");
  hgf.Bool("enabled", &m->quant.hgf);
  if (m->quant.hgf) need_ternary(hgf, "enabled");
}

// layer_aliases: what the letters of the pattern mean.
std::map<std::string, LayerKind> ReadAliases(Reader& backbone) {
  Reader r = backbone.At("layer_aliases");
  r.ActsIn("config: letters of layer_pattern");
  std::vector<std::pair<std::string, std::string>> names;
  r.StringMap(&names);
  std::map<std::string, LayerKind> aliases;
  if (!r.status().ok()) return aliases;
  for (const auto& [alias, name] : names) {
    auto known = std::find_if(kKindNames.begin(), kKindNames.end(),
                              [&](const auto& kind) { return kind.first == name; });
    if (known == kKindNames.end()) {
      r.Fail(alias, "must be gated_deltanet, xlstm_m, titans_mac or tsp_span_knot");
      return aliases;
    }
    aliases[alias] = known->second;
  }
  return aliases;
}

std::vector<std::string> SplitWords(const std::string& text) {
  std::vector<std::string> words;
  size_t at = 0;
  while ((at = text.find_first_not_of(' ', at)) != std::string::npos) {
    const size_t end = std::min(text.find(' ', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

void CheckCounts(Reader& backbone, const std::map<std::string, int>& found) {
  // An overlay that changes the pattern may drop the counts.
  if (!backbone.Has("layer_counts")) return;
  Reader r = backbone.At("layer_counts");
  r.ActsIn("config: checked against the layer map");
  std::vector<std::pair<std::string, int64_t>> counts;
  r.IntMap(0, kLayersMax, &counts);
  if (!r.status().ok()) return;
  std::map<std::string, int> left = found;
  for (const auto& [alias, count] : counts) {
    const int in_pattern = left.count(alias) != 0 ? left[alias] : 0;
    if (count != in_pattern) {
      return r.Fail(alias,
                    absl::StrCat("is wrong: the pattern holds ", in_pattern, " such layers"));
    }
    left.erase(alias);
  }
  if (!left.empty()) {
    r.Fail(left.begin()->first,
           absl::StrCat("is missing: the pattern holds ", left.begin()->second, " such layers"));
  }
}

// Pattern times repeat, where a fraction cuts the last repetition short: 8 letters * 3.5 = 28.
void ReadLayerMap(Reader& root, ModelConfig* m) {
  Reader r = root.At("backbone");
  r.ActsIn("model: recurrent layers only");
  r.FixedString("type", "hybrid_recurrent_no_attention");
  const std::map<std::string, LayerKind> aliases = ReadAliases(r);
  r.ActsIn("model: kind of every layer");
  std::string pattern;
  double repeat = 0;
  r.String("layer_pattern", &pattern);
  r.Float("layer_pattern_repeat", 0, kLayersMax, &repeat);
  if (!r.status().ok()) return;
  const std::vector<std::string> words = SplitWords(pattern);
  const double product = static_cast<double>(words.size()) * repeat;
  if (words.empty() || std::fabs(product - m->n_layers) > 1e-9) {
    return r.Fail("layer_pattern_repeat",
                  absl::StrCat("does not fit: ", words.size(), " layers in layer_pattern times ",
                               repeat, " is ", product, ", num_hidden_layers is ", m->n_layers));
  }
  std::map<std::string, int> found;
  for (int layer = 0; layer < m->n_layers; ++layer) {
    const std::string& word = words[static_cast<size_t>(layer) % words.size()];
    auto alias = aliases.find(word);
    if (alias == aliases.end()) {
      return r.Fail("layer_pattern",
                    absl::StrCat("names \"", word, "\", which is not in layer_aliases"));
    }
    m->layers.push_back(alias->second);
    ++found[word];
  }
  CheckCounts(r, found);
}

void ReadMoe(Reader& root, ModelConfig* m) {
  Reader r = root.At("backbone").At("moe");
  r.ActsIn("model: feed-forward of every layer");
  bool enabled = false;
  MoeConfig moe;
  std::vector<int> layers;
  r.Bool("enabled", &enabled);
  r.Ints("layers", 0, kLayersMax - 1, kLayersMax, &layers);
  r.Int("n_routed_experts", kPicks, kExpertsMax, &moe.n_routed);
  r.Int("n_shared_experts", 0, 64, &moe.n_shared);
  r.FixedInt("num_experts_per_tok", kPicks);
  moe.top_k = kPicks;
  r.Int("moe_intermediate_size", kBlock, 4 * kDimMax, &moe.d_expert);
  r.ActsIn("layers: experts are balanced by their bias alone");
  r.FixedString("routing", "noaux_bias");
  m->ffn.assign(m->layers.size(), FfnKind::kDense);
  // Switched off, the section may describe layers this model does not have.
  if (!r.status().ok() || !enabled) return;
  CheckMultiple(r, "moe_intermediate_size", moe.d_expert, kBlock);
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string entry = absl::StrCat("layers[", i, "] = ", layers[i]);
    if (layers[i] >= m->n_layers) {
      return r.FailAt(entry, absl::StrCat("is outside 0..", m->n_layers - 1));
    }
    if (i > 0 && layers[i] <= layers[i - 1]) {
      return r.FailAt(entry, absl::StrCat("does not come after ", layers[i - 1]));
    }
    m->ffn[static_cast<size_t>(layers[i])] = FfnKind::kMoe;
  }
  if (!layers.empty()) m->moe = moe;
}

void ReadMixers(Reader& root, ModelConfig* m) {
  Reader gd = root.At("gated_deltanet");
  gd.ActsIn("layers: gated delta net");
  gd.FixedString("alpha_gate", "data_dependent_scalar");
  gd.FixedString("beta_gate", "data_dependent_scalar");
  gd.FixedInt("state_size", kBlock);
  gd.FixedString("key_norm", "l2");
  gd.ActsIn("layers: training runs in chunks");
  gd.FixedBool("chunkwise_parallel", true);
  int macro_chunk = 0;
  gd.Int("chunk_size", 1, 4096, &macro_chunk);
  // chunk_size is the distance of stored states; inside, blocks of at most 64 are cheaper
  // (math-backbone 0.3 #2).
  m->gd.chunk_len = std::min(macro_chunk, kBlock);
  if (gd.status().ok()) CheckMultiple(gd, "chunk_size", macro_chunk, m->gd.chunk_len);

  Reader xm = root.At("xlstm");
  xm.ActsIn("layers: mLSTM");
  xm.FixedString("variant", "mLSTM");
  xm.FixedBool("exponential_gating", true);
  xm.FixedBool("covariance_update", true);
  xm.FixedString("normalizer_state", "max_stabilized");
  std::vector<int> size;
  xm.Ints("memory_size_per_head", 1, kDimMax, 2, &size);
  if (xm.status().ok() && size != std::vector<int>{kBlock, kBlock}) {
    xm.Fail("memory_size_per_head", "is not supported, only [64, 64] is");
  }

  Reader tm = root.At("titans");
  tm.ActsIn("layers: memory of TM layers, trained while it reads");
  tm.FixedString("memory_type", "MAC");
  tm.FixedString("surprise_metric", "gradient_with_momentum");
  tm.FixedInt("memory_depth", 2);
  if (tm.Has("core")) {
    std::string core;
    tm.String("core", &core);
    if (tm.status().ok() && core != "window" && core != "decay_linear") {
      tm.Fail("core", "must be \"window\" or \"decay_linear\"");
    }
    m->tm.decay_linear = core == "decay_linear";
  }
  m->tm.depth = 2;
  tm.Int("persistent_memory_slots", 0, kSlotsMax, &m->tm.persistent_slots);
  tm.Int("local_window_size", kWriteChunk, kWindowMax, &m->tm.window_len);
  CheckMultiple(tm, "local_window_size", m->tm.window_len, kWriteChunk);
  m->tm.mem_hidden = kBlock;
  // Grouped heads need a divisor of the head count.
  m->tm.kv_heads = std::max(1, std::min(kKvHeadsMax, m->n_heads));
  while (m->n_heads % m->tm.kv_heads != 0) --m->tm.kv_heads;
}

// One of the energy terms: [weight, what it measures].
void ReadEnergyTerm(Reader& terms, const std::string& key, const char* measure, float* weight) {
  std::string text;
  terms.NumberAndText(key, 0, 100, weight, &text);
  if (terms.status().ok() && text != measure) {
    terms.Fail(key, absl::StrCat("must measure \"", measure, "\""));
  }
}

// The rank follows the width: projections to the sketch stay below an eighth of a linear map.
int SketchRank(int d_model) { return std::clamp(d_model / 8 / 16 * 16, 16, kBlock); }

void ReadSpanKnot(Reader& root, ModelConfig* m) {
  SpanKnotConfig& sk = m->sk;
  Reader r = root.At("tsp_knot");
  r.ActsIn("layers: relaxation of the sketch in SK layers");
  Reader terms = r.At("energy_terms");
  ReadEnergyTerm(terms, "autoregressive", "embedding_inner_product", &sk.weights[0]);
  ReadEnergyTerm(terms, "memory_coherence", "hamming_to_semantic_sketch", &sk.weights[1]);
  ReadEnergyTerm(terms, "binding_fidelity", "xor_unbind_popcount", &sk.weights[2]);
  ReadEnergyTerm(terms, "grammar", "fst_transition_cost", &sk.weights[3]);
  ReadEnergyTerm(terms, "debt", "obligation_delta", &sk.weights[4]);
  r.FixedString("relaxation_phase1", "gated_deltanet_update");
  r.Int("relaxation_phase2_max_iters", 0, 16, &sk.sweeps_max);
  r.Float("relaxation_phase2_flip_fraction", 0, 1, &sk.flip_fraction);
  r.Float("early_exit_delta_e", 0, 1, &sk.early_exit);

  Reader efla = root.At("efla");
  efla.ActsIn("layers: exact gates in SK layers");
  efla.Bool("enabled", &sk.efla);
  efla.FixedString("target_layers", "SK");

  Reader braid = root.At("braid_state");
  braid.ActsIn("layers: bits of the sketch of SK layers");
  std::string storage;
  float bits = 0;
  braid.NumberAndText("semantic_sketch", kBlock, kSketchBitsMax, &bits, &storage);
  sk.sketch_bits = static_cast<int>(bits);
  if (braid.status().ok()) {
    CheckMultiple(braid, "semantic_sketch", sk.sketch_bits, kBlock);
    const std::string wanted = absl::StrCat("uint64_x", sk.sketch_bits / kBlock);
    if (braid.status().ok() && storage != wanted) {
      braid.Fail("semantic_sketch", absl::StrCat("must be stored as \"", wanted, "\""));
    }
  }
  sk.rank = SketchRank(m->d_model);
}

void ReadBraid(Reader& root, ModelConfig* m) {
  Reader r = root.At("braid_state");
  r.ActsIn("model: the state of a stream has a fixed size");
  r.FixedInt("kv_growth_per_token", 0);
  Reader ring = root.At("context_tiers", "recent_ring");
  ring.ActsIn("config: finds the tier");
  ring.FixedString("name", "recent_ring");
  ring.ActsIn("knot: last tokens a stream remembers as they were");
  ring.Int("tokens", 1024, 1 << 20, &m->recent_tokens);
}

void ReadLooping(Reader& root, ModelConfig* m) {
  Reader r = root.At("looping");
  r.ActsIn("model: layers that run several times");
  r.FixedString("method", "parcae_zoh_stable");
  r.FixedString("stability_A", "diag_negative_exp");
  r.ActsIn("model: the injection stays below this radius");
  double radius = 0;
  r.Float("spectral_radius_bound", 1, 1, &radius);
  r.ActsIn("train: iterations of a sequence are drawn, half of them send gradients");
  r.FixedString("depth_selection", "stochastic_per_sequence");
  r.FixedString("backward_truncation", "half");
  r.ActsIn("model: layers that run several times");
  float exit_threshold = 0;
  r.Float("adaptive_exit_threshold", 0, 1, &exit_threshold);
  bool enabled = false;
  std::vector<int> prelude, loop, coda, range;
  int loops_default = 0;
  r.Bool("enabled", &enabled);
  r.Ints("prelude", 0, kLayersMax - 1, 2, &prelude);
  r.Ints("loop", 0, kLayersMax - 1, 2, &loop);
  r.Ints("coda", 0, kLayersMax - 1, 2, &coda);
  r.Ints("loop_range", 1, kLoopsMax, 2, &range);
  r.Int("loop_default", 1, kLoopsMax, &loops_default);
  if (!r.status().ok() || !enabled) return;
  int next = 0;
  for (const auto& [key, part] :
       {std::pair{"prelude", &prelude}, {"loop", &loop}, {"coda", &coda}}) {
    if (part->size() != 2) return r.Fail(key, "must hold the first and the last layer");
    for (size_t i = 0; i < 2; ++i) {
      if ((*part)[i] >= m->n_layers) {
        return r.FailAt(absl::StrCat(key, "[", i, "] = ", (*part)[i]),
                        absl::StrCat("is outside 0..", m->n_layers - 1));
      }
    }
    if ((*part)[0] != next || (*part)[1] < next) {
      return r.Fail(key, absl::StrCat("must start at layer ", next, " and not end before it"));
    }
    next = (*part)[1] + 1;
  }
  if (next != m->n_layers) {
    return r.Fail("coda", absl::StrCat("must end at the last layer ", m->n_layers - 1));
  }
  if (range.size() != 2 || range[0] > range[1]) {
    return r.Fail("loop_range", "must hold the least and the most loops");
  }
  if (loops_default < range[0] || loops_default > range[1]) {
    return r.Fail("loop_default", absl::StrCat("is outside loop_range ", range[0], "..", range[1]));
  }
  m->loop = {.enabled = true,
             .first_layer = loop[0],
             .last_layer = loop[1],
             .loops_min = range[0],
             .loops_max = range[1],
             .loops_default = loops_default,
             .exit_threshold = exit_threshold};
}

}  // namespace

void ReadModelFields(Reader& root, ModelConfig* model) {
  ReadDimensions(root, model);
  ReadQuantization(root, model);
  ReadTernarySwitches(root, model);
  ReadLayerMap(root, model);
  ReadMoe(root, model);
  ReadMixers(root, model);
  ReadSpanKnot(root, model);
  ReadBraid(root, model);
  ReadLooping(root, model);
}

}  // namespace chimera
