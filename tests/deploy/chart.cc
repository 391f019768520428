#include "deploy/chart.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "base/file.h"

namespace chimera {
namespace {

using nlohmann::json;

constexpr size_t kFileBytesMax = 1 << 20;

std::string ChartFolder() { return std::string(CHIMERA_SOURCE_DIR) + "/helm/chimera"; }

std::string Quoted(const std::string& word) {
  std::string out = "'";
  for (char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// The command that prints manifests, without the chart's arguments; "" when there is none.
std::string Renderer() {
  if (std::system("command -v helm > /dev/null") == 0) {
    return "helm template release-name " + Quoted(ChartFolder()) + " --kube-version 1.30.0";
  }
  const std::string chartcheck = CHIMERA_CHARTCHECK;
  if (chartcheck.empty()) return "";
  return Quoted(chartcheck) + " " + Quoted(ChartFolder()) + " --render-only";
}

json LabelsOf(const json& object) {
  return object.value(json::json_pointer("/metadata/labels"), json::object());
}

json SpecOf(const json& object) { return object.value("spec", json::object()); }

bool HasPort(const json& rule, int port) {
  for (const json& entry : rule.value("ports", json::array())) {
    if (entry.value("port", 0) == port && entry.value("protocol", "TCP") == "TCP") return true;
  }
  return !rule.contains("ports");
}

// One direction: policies that select `self` and speak of it close it; any of their rules opens it.
bool OneWay(const std::vector<json>& policies, const json& self, const json& other, int port,
            const std::string& direction, const std::string& rules, const std::string& peers) {
  bool closed = false;
  for (const json& policy : policies) {
    const json spec = SpecOf(policy);
    const json types = spec.value("policyTypes", json::array());
    if (std::find(types.begin(), types.end(), direction) == types.end()) continue;
    if (!Selects(spec.value("podSelector", json::object()), self)) continue;
    closed = true;
    for (const json& rule : spec.value(rules, json::array())) {
      if (!HasPort(rule, port)) continue;
      if (!rule.contains(peers)) return true;
      for (const json& peer : rule[peers]) {
        // A namespace selector means other namespaces here; our pods are in the release's own.
        if (peer.contains("namespaceSelector") || !peer.contains("podSelector")) continue;
        if (Selects(peer["podSelector"], other)) return true;
      }
    }
  }
  return !closed;
}

}  // namespace

std::string ChartFile(const std::string& name) {
  const auto text = ReadFile(ChartFolder() + "/" + name, kFileBytesMax);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

json YamlToJson(const YAML::Node& node) {
  if (node.IsMap()) {
    json out = json::object();
    for (const auto& entry : node) out[entry.first.as<std::string>()] = YamlToJson(entry.second);
    return out;
  }
  if (node.IsSequence()) {
    json out = json::array();
    for (const YAML::Node& item : node) out.push_back(YamlToJson(item));
    return out;
  }
  if (!node.IsScalar()) return nullptr;
  const std::string text = node.Scalar();
  if (node.Tag() == "!") return text;  // quoted
  // What YAML 1.2 reads as a boolean or a number, JSON reads the same way.
  const json value = json::parse(text, nullptr, false);
  return value.is_boolean() || value.is_number() || value.is_null() ? value : json(text);
}

std::map<std::string, json> Leaves(const json& object) {
  std::map<std::string, json> out;
  for (const auto& [key, value] : object.items()) {
    if (!value.is_object()) {
      out[key] = value;
      continue;
    }
    for (const auto& [below, leaf] : Leaves(value)) out[absl::StrCat(key, ".", below)] = leaf;
  }
  return out;
}

absl::StatusOr<Chart> Chart::Render(const std::vector<std::string>& arguments) {
  std::string command = Renderer();
  if (command.empty()) {
    return absl::UnavailableError("neither helm nor chartcheck (CHIMERA_CHARTCHECK) is there");
  }
  for (const std::string& argument : arguments) command += " " + Quoted(argument);
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return absl::InternalError("cannot start " + command);
  std::string text;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) text.append(buffer, n);
  if (pclose(pipe) != 0) return absl::InternalError("failed: " + command);
  Chart chart;
  for (const YAML::Node& document : YAML::LoadAll(text)) {
    if (document.IsMap()) chart.objects_.push_back(YamlToJson(document));
  }
  return chart;
}

std::vector<json> Chart::OfKind(const std::string& kind) const {
  std::vector<json> out;
  for (const json& object : objects_) {
    if (object.value("kind", "") == kind) out.push_back(object);
  }
  return out;
}

json Chart::Find(const std::string& kind, const std::string& name) const {
  for (const json& object : OfKind(kind)) {
    if (object["metadata"]["name"] == name) return object;
  }
  ADD_FAILURE() << "the chart has no " << kind << " " << name;
  return nullptr;
}

json Chart::PodOf(const std::string& component) const {
  for (const json& object : objects_) {
    const std::string kind = object.value("kind", "");
    const json pod = kind == "Pod" ? object : SpecOf(object).value("template", json());
    if (pod.is_object() && LabelsOf(pod).value("app.kubernetes.io/component", "") == component) {
      return pod;
    }
  }
  ADD_FAILURE() << "the chart has no pod for " << component;
  return nullptr;
}

Chart::Endpoint Chart::Resolve(const std::string& service_and_port) const {
  const size_t colon = service_and_port.rfind(':');
  const json service = Find("Service", service_and_port.substr(0, colon));
  if (service.is_null()) return {};
  const int number = std::atoi(service_and_port.substr(colon + 1).c_str());
  const json spec = SpecOf(service);
  const std::string component = spec["selector"].value("app.kubernetes.io/component", "");
  const json pod = PodOf(component);
  if (!Selects(json::object({{"matchLabels", spec["selector"]}}), LabelsOf(pod))) return {};
  for (const json& port : spec["ports"]) {
    if (port["port"] == number) {
      return {component, ContainerPort(pod, port.value("targetPort", port["port"]))};
    }
  }
  ADD_FAILURE() << "Service " << service["metadata"]["name"] << " has no port " << number;
  return {};
}

bool Chart::Admits(const json& from, const json& to, int port) const {
  const std::vector<json> policies = OfKind("NetworkPolicy");
  return OneWay(policies, from, to, port, "Egress", "egress", "to") &&
         OneWay(policies, to, from, port, "Ingress", "ingress", "from");
}

int ContainerPort(const json& pod, const json& name_or_number) {
  const json spec = SpecOf(pod);
  for (const json& container : spec.value("containers", json::array())) {
    for (const json& port : container.value("ports", json::array())) {
      if (port["name"] == name_or_number || port["containerPort"] == name_or_number) {
        return port["containerPort"];
      }
    }
  }
  return 0;
}

bool Selects(const json& selector, const json& labels) {
  const json match = selector.value("matchLabels", json::object());
  for (const auto& [key, value] : match.items()) {
    if (!labels.contains(key) || labels[key] != value) return false;
  }
  for (const json& expression : selector.value("matchExpressions", json::array())) {
    const json values = expression.value("values", json::array());
    const std::string key = expression["key"];
    EXPECT_EQ(expression["operator"], "In") << "this test knows no other operator";
    if (!labels.contains(key)) return false;
    if (std::find(values.begin(), values.end(), labels[key]) == values.end()) return false;
  }
  return true;
}

}  // namespace chimera
