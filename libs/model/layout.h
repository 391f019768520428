// Which tensors a model of a given shape has: the one list that the trainer, the weight file and
// the parameter counts share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/model_config.h"

namespace chimera {

enum class TensorKind : uint32_t {
  kFloat = 1,     // norms, gates, convolutions, and every matrix when quantization is off
  kTernary = 2,   // linear maps
  kInt8Rows = 3,  // the tied embedding and head, and the depth router
  // Linear maps, packed denser (config/model_config.h, TernaryPacking).
  kTernarySherry = 5,
  kTernaryBase3 = 6,  // 4 was another order of the same bytes
  // The tied embedding and head in fewer bits (quantization.head_bits).
  kGroupedRows6 = 7,
  kGroupedRows4 = 8,
};

inline bool IsTernary(TensorKind kind) {
  return kind == TensorKind::kTernary || kind == TensorKind::kTernaryBase3 ||
         kind == TensorKind::kTernarySherry;
}

inline bool IsGrouped(TensorKind kind) {
  return kind == TensorKind::kGroupedRows6 || kind == TensorKind::kGroupedRows4;
}
inline int GroupedBits(TensorKind kind) { return kind == TensorKind::kGroupedRows6 ? 6 : 4; }

struct TensorSpec {
  std::string name;
  TensorKind kind = TensorKind::kFloat;
  int rows = 0;
  int cols = 0;
  bool decay = false;     // weight decay in training
  bool trainable = true;  // false: no gradient reaches it; the trainer sets it by other means
  float lr_scale = 1.0f;  // of AdamW's learning rate
};

// In file order: embedding, layers from first to last, final norm.
std::vector<TensorSpec> ModelLayout(const ModelConfig& config);

// "layers.<index>.<rest>"
std::string LayerTensor(int index, const char* rest);

// Bytes of a payload in a .b158 file (docs/formats/b158.md).
uint64_t PayloadBytes(TensorKind kind, int rows, int cols);

}  // namespace chimera
