// The process's figures, served as Prometheus text (ecosystem 1.4, 3.3): base units, no unbounded
// labels. Every series is declared and created before serving, so a report costs one hash look-up
// and one atomic, never a lock. The text passes `promtool check metrics`.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/metrics_sink.h"

namespace chimera {

enum class MetricType { kCounter, kGauge, kHistogram };

struct MetricSpec {
  std::string name;  // with unit suffix; counters end in _total
  std::string help;  // one sentence
  MetricType type = MetricType::kCounter;
  std::string label;                      // the one label's name; empty: no label
  std::vector<std::string> label_values;  // every value it may take
  std::vector<double> buckets;            // histograms: ascending upper bounds
};

// What this build is: "0.1.0", and the instruction set in use.
std::string BuildVersion();

// Reports of an undeclared name or label value are dropped: a metric must never fail a request.
// Thread-safe, except Declare and OnScrape, which belong before serving.
class Metrics final : public MetricsSink {
 public:
  // Declares the series of every service (metrics.cc holds the table) and process_*.
  Metrics();
  ~Metrics() override;

  // Adds a family. INVALID_ARGUMENT when the name is taken or the shape is impossible.
  absl::Status Declare(const MetricSpec& spec);
  // Runs before every scrape, for gauges that are read rather than pushed. Must not block.
  void OnScrape(std::function<void(MetricsSink*)> collect);

  void Count(std::string_view name, std::string_view label, double by) override;
  void Gauge(std::string_view name, std::string_view label, double value) override;
  void Observe(std::string_view name, std::string_view label, double value) override;

  // chimera_requests_total{code,finish_reason}: code as StatusCodeLabel gives it; finish_reason is
  // end_of_text, stop, max_tokens or none.
  void CountRequest(std::string_view code, std::string_view finish_reason);

  // The exposition text.
  std::string Text();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace chimera
