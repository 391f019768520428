// A small driver for targets in libFuzzer's form, so that every compiler builds and runs them. A
// target is one file: LLVMFuzzerTestOneInput and FuzzSeeds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "grammar/grammar_cache.h"
#include "grammar/machine.h"

// libFuzzer's name for what is run on each input; -1: not worth mutating further.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace chimera {

// Good inputs of the target, to begin with; and pieces of text worth inserting.
std::vector<std::string_view> FuzzSeeds();
std::vector<std::string_view> FuzzPieces();

// Walks random bytes of a machine and, of one that generates, brings the text to its end as
// CloseBytes promises; anything else is a crash. No more than some hundred bytes are read.
// Returns -1 when there is no machine, 0 when there is.
int FuzzWalk(const absl::StatusOr<std::shared_ptr<const Machine>>& machine, GrammarUse use,
             uint32_t seed);

// The whole of a target whose inputs are the texts of grammars: compiles one for both uses and
// walks what comes out. The same answers as FuzzWalk.
int FuzzSource(GrammarSource::Kind kind, const uint8_t* data, size_t size);

}  // namespace chimera
