// One JSON object a line on standard output, for programs that read.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace chimera {

// Text that is no UTF-8 is replaced, not refused.
void PrintJson(const nlohmann::ordered_json& out);

}  // namespace chimera
