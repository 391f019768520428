// Reads helm/chimera for tests: its files as text, or rendered by whichever renderer is there.
#pragma once

#include <yaml-cpp/yaml.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace chimera {

// A file below helm/chimera, whole. Fails the test and returns "" when it is not there.
std::string ChartFile(const std::string& name);

// Scalars become booleans and numbers where YAML means them so.
nlohmann::json YamlToJson(const YAML::Node& node);

// Paths of all leaves, "ports.knot", with their values.
std::map<std::string, nlohmann::json> Leaves(const nlohmann::json& object);

// A rendered chart, with the lookups that Kubernetes does at run time. Lookups of what is not there
// fail the test and return null. Immutable.
class Chart {
 public:
  // arguments: -f FILE and --set K=V. UNAVAILABLE when neither helm nor chartcheck is there.
  static absl::StatusOr<Chart> Render(const std::vector<std::string>& arguments);

  const std::vector<nlohmann::json>& objects() const { return objects_; }
  std::vector<nlohmann::json> OfKind(const std::string& kind) const;
  nlohmann::json Find(const std::string& kind, const std::string& name) const;

  // The pod template (metadata, spec) of the one workload of this component; "test" is a bare Pod.
  nlohmann::json PodOf(const std::string& component) const;

  // "service:port" as a client in the cluster dials it: the component behind the Service and the
  // number of the container port that the Service's targetPort means. Port 0 when it leads nowhere.
  struct Endpoint {
    std::string component;
    int port = 0;
  };
  Endpoint Resolve(const std::string& service_and_port) const;

  // Whether the NetworkPolicies let a pod with labels `from` open a connection to one with `to`.
  // Pods of the release's namespace only.
  bool Admits(const nlohmann::json& from, const nlohmann::json& to, int port) const;

 private:
  std::vector<nlohmann::json> objects_;
};

// The number behind a port that a probe, a Service or a monitor names; 0 when there is none.
int ContainerPort(const nlohmann::json& pod, const nlohmann::json& name_or_number);

// Whether a LabelSelector (matchLabels, matchExpressions with In) selects these labels.
bool Selects(const nlohmann::json& selector, const nlohmann::json& labels);

}  // namespace chimera
