// The loops behind machine_peak.h, one table per instruction set (machine_peak_body.cc). Free of
// Abseil.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"

namespace chimera {

struct PeakKernels {
  // The exclusive or of all words: something that needs every byte. bytes: a multiple of 512.
  uint64_t (*read)(const uint8_t* data, size_t bytes);
  // Returns a value that needs every product; *macs: how many there were.
  int64_t (*dot)(int64_t rounds, int64_t* macs);
};

const PeakKernels& PeakFor(Isa isa);

}  // namespace chimera
