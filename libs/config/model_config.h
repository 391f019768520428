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
  bool hgf = false;  // low-rank float correction beside every ternary map

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
  int persistent_slots = 64;
  int window_len = 1024;
  int kv_heads = 8;  // min(8, n_heads)
  int mem_hidden = 64;
};

struct LoopConfig {
  bool enabled = false;
  int first_layer = 0;  // the looped block, inclusive
  int last_layer = 0;
  int loops_min = 1;
  int loops_max = 1;
  int loops_default = 1;
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
  std::vector<LayerKind> layers;
  std::vector<FfnKind> ffn;
  QuantConfig quant;
  GatedDeltaConfig gd;
  MlstmConfig xm;
  MoeConfig moe;
  TitansConfig tm;
  LoopConfig loop;
};

}  // namespace chimera
