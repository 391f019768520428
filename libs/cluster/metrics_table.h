// The series every process exports. Internal to cluster/metrics.cc.
#pragma once

#include <vector>

#include "cluster/metrics.h"

namespace chimera {

std::vector<MetricSpec> MetricTable();

}  // namespace chimera
