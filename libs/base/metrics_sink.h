// The narrow hole through which libraries report figures; `cluster` maps it to Prometheus.
#pragma once

#include <string_view>

namespace chimera {

// Implementations are thread-safe and cheap. Names are full series names with their unit suffix
// ("chimera_knots_total"); label is the value of the series' one label, or empty.
class MetricsSink {
 public:
  virtual ~MetricsSink() = default;
  virtual void Count(std::string_view name, std::string_view label, double by) = 0;
  virtual void Gauge(std::string_view name, std::string_view label, double value) = 0;
  virtual void Observe(std::string_view name, std::string_view label, double value) = 0;
};

}  // namespace chimera
