// Test help: what every Decode of a policy has to survive, and random vectors. Not part of the
// library.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "hdc/hypervector.h"

namespace chimera {

// Decodes, and encodes again what it got.
using Reencode = std::function<absl::StatusOr<std::string>(std::string_view)>;

// Expects that reencode gives sample back; that every prefix and every single flipped bit of it is
// an error; and that with a corrected checksum (the last 8 bytes) flipped bytes and `mutations`
// random changes (several bytes, cut out, put in) are an error or exactly equal when encoded again.
// With skip_body, the flips leave out all but every skip_body-th byte (1: every byte).
void ExpectHardenedDecode(const std::string& sample, const Reencode& reencode, int mutations,
                          size_t skip_body = 1);

// Bits of Philox; n and seed name the vector.
HyperVector RandomVector(uint64_t seed, uint64_t n);
// The vector with `bits` different bits flipped.
HyperVector Flipped(const HyperVector& vector, int bits, uint64_t seed);

}  // namespace chimera
