// process_* gauges, read from /proc when somebody scrapes.
#pragma once

#include "base/metrics_sink.h"

namespace chimera {

// Thread-safe.
void CollectProcessStats(MetricsSink* sink);

}  // namespace chimera
