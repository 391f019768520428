// Test help: the cases of tests/golden/hdc.json. Not part of the library.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "hdc/hypervector.h"

namespace chimera {

// cases[name] of the golden file; stops the test when there is none.
nlohmann::json GoldenHdcCase(const std::string& name);

// Hex memory images, as the golden file has them.
std::string HexOf(const HyperVector& vector);
HyperVector VectorOfHex(const std::string& hex);

}  // namespace chimera
