#include "cluster/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/cpu.h"
#include "cluster/metrics_table.h"
#include "cluster/process_stats.h"
#include "cluster/status_map.h"

namespace chimera {
namespace {

// One time series, whatever its type; exactly one pointer is set.
struct Series {
  prometheus::Counter* counter = nullptr;
  prometheus::Gauge* gauge = nullptr;
  prometheus::Histogram* histogram = nullptr;
};

// Series of one family by the value of the family's label.
using SeriesByLabel = std::map<std::string, Series, std::less<>>;

bool IsMetricName(const std::string& name) {
  return !name.empty() &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
}

}  // namespace

std::string BuildVersion() { return CHIMERA_VERSION; }

struct Metrics::Impl {
  prometheus::Registry registry;
  std::map<std::string, SeriesByLabel, std::less<>> families;
  std::map<std::pair<std::string, std::string>, prometheus::Counter*, std::less<>> requests;
  std::vector<std::function<void(MetricsSink*)>> collectors;

  const Series* Find(std::string_view name, std::string_view label) const {
    const auto family = families.find(name);
    if (family == families.end()) return nullptr;
    const auto series = family->second.find(label);
    return series == family->second.end() ? nullptr : &series->second;
  }

  void Add(const MetricSpec& spec, const std::string& value, SeriesByLabel* into) {
    prometheus::Labels labels;
    if (!spec.label.empty()) labels[spec.label] = value;
    Series series;
    switch (spec.type) {
      case MetricType::kCounter:
        series.counter =
            &prometheus::BuildCounter().Name(spec.name).Help(spec.help).Register(registry).Add(
                labels);
        break;
      case MetricType::kGauge:
        series.gauge =
            &prometheus::BuildGauge().Name(spec.name).Help(spec.help).Register(registry).Add(
                labels);
        break;
      case MetricType::kHistogram:
        series.histogram =
            &prometheus::BuildHistogram().Name(spec.name).Help(spec.help).Register(registry).Add(
                labels, spec.buckets);
        break;
    }
    (*into)[value] = series;
  }

  void AddRequests() {
    auto& family = prometheus::BuildCounter()
                       .Name("chimera_requests_total")
                       .Help("Completions that ended, by status code and finish reason.")
                       .Register(registry);
    for (int code = 0; code <= 16; ++code) {
      const std::string label = StatusCodeLabel(static_cast<absl::StatusCode>(code));
      if (code != 0) {
        requests[{label, "none"}] = &family.Add({{"code", label}, {"finish_reason", "none"}});
        continue;
      }
      for (const char* reason : {"end_of_text", "stop", "max_tokens"}) {
        requests[{label, reason}] = &family.Add({{"code", label}, {"finish_reason", reason}});
      }
    }
  }

  void AddBuildInfo() {
    prometheus::BuildGauge()
        .Name("chimera_build_info")
        .Help("Always 1; the labels say what is running.")
        .Register(registry)
        .Add({{"version", BuildVersion()}, {"isa", IsaName(BestIsa())}})
        .Set(1);
  }
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {
  for (const MetricSpec& spec : MetricTable()) {
    const absl::Status status = Declare(spec);
    CHIMERA_CHECK(status.ok());
  }
  impl_->AddRequests();
  impl_->AddBuildInfo();
}

Metrics::~Metrics() = default;

absl::Status Metrics::Declare(const MetricSpec& spec) {
  const bool histogram = spec.type == MetricType::kHistogram;
  if (!IsMetricName(spec.name) || spec.help.empty() ||
      spec.label.empty() != spec.label_values.empty() || histogram == spec.buckets.empty() ||
      !std::is_sorted(spec.buckets.begin(), spec.buckets.end())) {
    return absl::InvalidArgumentError(
        absl::StrCat("metric \"", spec.name, "\" has no valid shape"));
  }
  if (impl_->families.count(spec.name) > 0) {
    return absl::InvalidArgumentError(absl::StrCat("metric ", spec.name, " is declared twice"));
  }
  SeriesByLabel& family = impl_->families[spec.name];
  if (spec.label.empty()) impl_->Add(spec, "", &family);
  for (const std::string& value : spec.label_values) impl_->Add(spec, value, &family);
  return absl::OkStatus();
}

void Metrics::OnScrape(std::function<void(MetricsSink*)> collect) {
  impl_->collectors.push_back(std::move(collect));
}

void Metrics::Count(std::string_view name, std::string_view label, double by) {
  const Series* series = impl_->Find(name, label);
  // A counter never goes down, and never becomes NaN.
  if (series != nullptr && series->counter != nullptr && by > 0) series->counter->Increment(by);
}

void Metrics::Gauge(std::string_view name, std::string_view label, double value) {
  const Series* series = impl_->Find(name, label);
  if (series != nullptr && series->gauge != nullptr) series->gauge->Set(value);
}

void Metrics::Observe(std::string_view name, std::string_view label, double value) {
  const Series* series = impl_->Find(name, label);
  if (series != nullptr && series->histogram != nullptr && !std::isnan(value)) {
    series->histogram->Observe(value);
  }
}

void Metrics::CountRequest(std::string_view code, std::string_view finish_reason) {
  const auto it = impl_->requests.find(std::pair(std::string(code), std::string(finish_reason)));
  if (it != impl_->requests.end()) it->second->Increment();
}

std::string Metrics::Text() {
  CollectProcessStats(this);
  for (const auto& collect : impl_->collectors) collect(this);
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace chimera
