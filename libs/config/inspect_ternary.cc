// What the switches of ternary maps cost: corrections in weights, packings in bits.
#include "config/inspect.h"

namespace chimera {
namespace {

constexpr int64_t kRank = 16;  // of a correction (layers/low_rank.h)
constexpr double kScaleBits = 16.0 / 128;

// A [16][cols], B [rows][16] and a gate.
int64_t Correction(int64_t rows, int64_t cols) { return kRank * (rows + cols) + 1; }

int64_t SwigluCorrections(int64_t d_model, int64_t width) {
  return Correction(2 * width, d_model) + Correction(d_model, width);
}

}  // namespace

int64_t CountCorrections(const ModelConfig& m, int layer) {
  if (!m.quant.enabled || !m.quant.hgf) return 0;
  const auto at = static_cast<size_t>(layer);
  const int64_t d = m.d_model, kv = int64_t{m.tm.kv_heads} * m.head_dim;
  // q, k, v, gate in one map; a TM layer's reads and window in one (math-backbone 3.2).
  const int64_t in = m.layers[at] == LayerKind::kTitans ? 4 * d + 2 * kv : 4 * d;
  // Routed experts go without; the shared ones are one feed-forward.
  const int64_t width = m.ffn[at] == FfnKind::kMoe ? m.moe.n_shared * m.moe.d_expert : m.d_ff;
  const int64_t ffn = width == 0 ? 0 : SwigluCorrections(d, width);
  return Correction(in, d) + Correction(d, d) + ffn;
}

double ServedBitsPerTernary(const QuantConfig& quant) {
  return FileBitsPerTernary(quant.packing == TernaryPacking::kSherry ? QuantConfig{} : quant);
}

double FileBitsPerTernary(const QuantConfig& quant) {
  switch (quant.packing) {
    case TernaryPacking::kRowsInLanes:
      return 2.0 + kScaleBits;
    case TernaryPacking::kBase3:
      return 1.6 + kScaleBits;
    case TernaryPacking::kSherry:
      return 1.25 + kScaleBits;
  }
  return 2.0 + kScaleBits;
}

}  // namespace chimera
