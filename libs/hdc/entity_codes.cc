#include "hdc/entity_codes.h"

#include "base/philox.h"

namespace chimera {
namespace {

constexpr uint32_t kRoleStream = 128, kSlotStream = 132, kFillerStream = 136, kTieStream = 140;

EntityVector CodeOf(uint64_t seed, uint32_t first_stream, uint64_t index) {
  EntityVector code;
  for (uint32_t b = 0; b < kEntityBits / 128; ++b) {
    const PhiloxBlock block =
        PhiloxStream(seed, RngPurpose::kFeatureCode, first_stream + b).Block(index);
    code.words[2 * b] = block[0] | static_cast<uint64_t>(block[1]) << 32;
    code.words[2 * b + 1] = block[2] | static_cast<uint64_t>(block[3]) << 32;
  }
  return code;
}

}  // namespace

int EntityDistance(const EntityVector& a, const EntityVector& b) {
  int distance = 0;
  for (int w = 0; w < kEntityWords; ++w) {
    distance += __builtin_popcountll(a.words[w] ^ b.words[w]);
  }
  return distance;
}

EntityVector EntityMajority(std::span<const EntityVector> vectors, const EntityVector& tie) {
  const int n = static_cast<int>(vectors.size());
  EntityVector out;
  for (int i = 0; i < kEntityBits; ++i) {
    int ones = 0;
    for (const EntityVector& v : vectors) ones += v.Bit(i);
    const bool bit = 2 * ones == n ? tie.Bit(i) : 2 * ones > n;
    out.words[i / 64] |= static_cast<uint64_t>(bit) << (i % 64);
  }
  return out;
}

EntityCodes::EntityCodes(uint64_t seed) : seed_(seed), tie_(CodeOf(seed, kTieStream, 0)) {
  for (uint64_t r = 0; r < kEntityRoles; ++r) roles_[r] = CodeOf(seed, kRoleStream, r);
}

EntityVector EntityCodes::Slot(uint8_t slot) const { return CodeOf(seed_, kSlotStream, slot); }

EntityVector EntityCodes::Filler(uint32_t filler) const {
  return CodeOf(seed_, kFillerStream, filler);
}

}  // namespace chimera
