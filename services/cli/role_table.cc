#include "services/cli/role_table.h"

namespace chimera {

const std::vector<RoleEntry>& RoleTable() {
  static const std::vector<RoleEntry>& table = *new std::vector<RoleEntry>{
      {"knot", MakeKnotRole, &ServicePorts::knot, &ServicePorts::knot_admin, true},
      {"memory", MakeMemoryRole, &ServicePorts::memory, &ServicePorts::memory_admin, false},
      {"surface", MakeSurfaceRole, &ServicePorts::surface, &ServicePorts::surface_admin, true},
      {"trainer", MakeTrainerRole, &ServicePorts::trainer, &ServicePorts::trainer_admin, true},
  };
  return table;
}

}  // namespace chimera
