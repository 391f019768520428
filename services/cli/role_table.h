// The roles `chimera serve` knows, in the order they start.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "config/service_config.h"
#include "services/roles.h"

namespace chimera {

struct RoleEntry {
  const char* name;
  absl::StatusOr<std::unique_ptr<Role>> (*make)(const RoleContext& context);
  int ServicePorts::*port;
  int ServicePorts::*admin_port;
  bool needs_knot;
};

const std::vector<RoleEntry>& RoleTable();

}  // namespace chimera
