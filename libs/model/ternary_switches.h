// The switches of ternary maps, in one place: base-3 and Sherry packing, and the low-rank
// correction (config: quantization.packing, sherry_mode, hgf_correction; docs/formats/b158.md).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/huge_pages.h"
#include "config/model_config.h"
#include "layers/linear_op.h"
#include "model/layout.h"
#include "ternary/ternary.h"

namespace chimera {

class Parameters;

// Ends of the names of a correction's tensors.
inline constexpr char kHgfA[] = ".hgf_a";
inline constexpr char kHgfB[] = ".hgf_b";
inline constexpr char kHgfGate[] = ".hgf_gate";

// Gives every ternary tensor the packing of the config, and puts its correction after it.
void ApplyTernarySwitches(const QuantConfig& quant, std::vector<TensorSpec>* specs);

// Fills what the parameter `name` says about its map: trits of Sherry, correction, progress. Called
// after linear->param is bound; does nothing for a float matrix.
void BindTernarySwitches(Parameters* parameters, const std::string& name, LinearParam* linear);

// Payloads of the three ternary kinds.
uint64_t TernaryPayloadBytes(TensorKind kind, int rows, int cols);
// Quantises w [rows][cols] and packs it. payload holds TernaryPayloadBytes.
void EncodeTernary(const TensorSpec& spec, const float* w, uint8_t* payload);
// The same from a matrix that is quantised already; Sherry's trits must have their zeros.
void PackTernary(TensorKind kind, const TernaryView& w, uint8_t* payload);

// The fault of a payload of one of the three kinds, or "" when there is none: "holds a trit code
// 3". It must begin at a multiple of 4. Kernels read faulty codes without harm, as other weights.
std::string TernaryFault(const TensorSpec& spec, std::span<const uint8_t> payload);

// What loading makes besides mapping: codes that lie packed in the file, B matrices in lanes.
// Moving it keeps what views point to. Thread-compatible.
class RepackedTensors {
 public:
  // The view of a payload of one of the three kinds: into the payload, or, of Sherry, into repacked
  // codes. The payload must live as long as the view and begin at a multiple of 4.
  TernaryView View(const TensorSpec& spec, std::span<const uint8_t> payload);
  // The same, checked: returns TernaryFault.
  std::string Decode(const TensorSpec& spec, std::span<const uint8_t> payload, TernaryView* view);
  // The same trits as two-bit codes.
  TernaryView TwoBit(const TernaryView& view);
  // B [rows][16] in lanes.
  const float* Lanes(const float* b, int rows);

 private:
  struct alignas(64) Line {
    uint8_t bytes[64];
  };

  uint8_t* NewCodes(int rows, int cols);

  std::vector<BufferVector<Line>> codes_;
  std::vector<std::vector<float>> lanes_;
};

}  // namespace chimera
