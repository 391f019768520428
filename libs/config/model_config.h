// The shape of a model, as every other library sees it. Filled by config/config.h from the JSON;
// sizes come from dimensions, never from the labels in the file (DESIGN D3).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace chimera {

enum class LayerKind : uint8_t {
  kGatedDelta,  // GD
  kMlstm,       // XM
  kTitans,      // TM
  kSpanKnot,    // SK
};

enum class FfnKind : uint8_t { kDense, kMoe };

// How the trits of linear maps lie in weights.b158 (docs/formats/ternary.md); in memory they are
// rows in lanes, whatever the file holds.
enum class TernaryPacking : uint8_t {
  kRowsInLanes,  // 2 bits a weight, mapped as it is
  kBase3,        // 1.6 bits
  kSherry,       // 1.25 bits, 3:4 sparse trits
};

struct QuantConfig {
  bool enabled =
      true;  // false: float weights and activations everywhere (quantization.method "none")
  int group_size = 128;  // weights that share one scale, along the input
  int act_block = 64;    // activations that share one scale
  TernaryPacking packing = TernaryPacking::kRowsInLanes;  // kSherry: also how weights are quantised
  int head_bits = 8;  // of a weight of the tied embedding and head: 8, 6 or 4
  bool hgf = false;   // low-rank float correction beside every ternary map

  bool sherry() const { return packing == TernaryPacking::kSherry; }
};

struct GatedDeltaConfig {
  int conv_width = 4;  // taps of the short convolution
  int chunk_len = 64;  // tokens per chunk in training
};

struct MlstmConfig {
  float gate_cap = 15.0f;  // cap(z) = gate_cap * tanh(z / gate_cap)
};

struct MoeConfig {
  int n_routed = 0;
  int n_shared = 0;
  int top_k = 0;
  int d_expert = 0;  // moe_intermediate_size
};

struct TitansConfig {
  int depth = 2;
  bool decay_linear = false;  // titans.core: a decayed linear attention instead of the window
  int persistent_slots = 64;
  int window_len = 1024;
  int kv_heads = 8;  // min(8, n_heads)
  int mem_hidden = 64;
};

// The sketch of SK layers (docs/layers/span_knot.md).
struct SpanKnotConfig {
  int sketch_bits = 8192;
  int rank = 64;  // of the projections between hidden state and sketch
  // Weights of the energy terms: continuation, memory, binding, grammar, debt.
  float weights[5] = {1.0f, 0.3f, 0.2f, 0.4f, 0.3f};
  int sweeps_max = 3;
  float flip_fraction = 0.02f;  // of the bits, per sweep
  float early_exit = 1e-4f;     // a sweep that gains less is the last
  bool efla = false;            // phase 1 uses the exact gates (math-backbone 7)

  bool operator==(const SpanKnotConfig&) const = default;
};

struct LoopConfig {
  bool enabled = false;
  int first_layer = 0;  // the looped block, inclusive
  int last_layer = 0;
  int loops_min = 1;
  int loops_max = 1;
  int loops_default = 1;
  float exit_threshold = 0.01f;  // relative change of the hidden state below which a token stops

  bool Contains(int layer) const { return enabled && layer >= first_layer && layer <= last_layer; }
};

// Value type. Validated by the loader; code that receives one may rely on:
// layers.size() == ffn.size() == n_layers; d_model == n_heads * head_dim; head_dim == 64;
// d_model and d_ff are multiples of 64; vocab_size > 0.
struct ModelConfig {
  std::string name;
  int d_model = 0;
  int d_ff = 0;
  int n_layers = 0;
  int n_heads = 0;
  int head_dim = 64;
  int vocab_size = 0;
  float norm_eps = 1e-6f;
  float init_std = 0.006f;
  int recent_tokens = 4096;  // of a stream, kept as they were (context_tiers[recent_ring])
  std::vector<LayerKind> layers;
  std::vector<FfnKind> ffn;
  QuantConfig quant;
  GatedDeltaConfig gd;
  MlstmConfig xm;
  MoeConfig moe;
  TitansConfig tm;
  SpanKnotConfig sk;
  LoopConfig loop;
};

}  // namespace chimera
