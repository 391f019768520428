#include "services/cli/print_json.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace chimera {

void PrintJson(const nlohmann::ordered_json& out) {
  std::printf("%s\n", out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  std::fflush(stdout);
}

}  // namespace chimera
