// Reads every typed field of a merged configuration. Internal to this library: config/config.cc
// adds files, overlays and the unknown-key check; config/registry.cc asks for the claims.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "config/json_reader.h"

namespace chimera {

struct ConfigRead {
  Config config;  // without text
  std::vector<Claim> claims;
};

// Errors name the key path. Does not look for unknown keys.
absl::StatusOr<ConfigRead> ReadConfigFields(const JsonDocument& document);

}  // namespace chimera
