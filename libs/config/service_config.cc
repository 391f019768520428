#include "config/service_config.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "config/config.h"
#include "config/json_reader.h"

namespace chimera {
namespace {

constexpr int kPortMax = 65535;
constexpr int64_t kBytesMax = int64_t{1} << 30;
constexpr int kDayMs = 24 * 3600 * 1000;

using NamedPort = std::pair<const char*, int>;

std::array<NamedPort, 8> PortsOf(const ServicePorts& p) {
  return {{{"surface", p.surface},
           {"knot", p.knot},
           {"memory", p.memory},
           {"trainer", p.trainer},
           {"surface_admin", p.surface_admin},
           {"knot_admin", p.knot_admin},
           {"memory_admin", p.memory_admin},
           {"trainer_admin", p.trainer_admin}}};
}

void ReadBytes(Reader& r, const std::string& key, int64_t min, size_t* out) {
  int64_t bytes = static_cast<int64_t>(*out);
  r.Int(key, min, kBytesMax, &bytes);
  *out = static_cast<size_t>(bytes);
}

void ReadPorts(Reader& root, ServicePorts* p) {
  Reader r = root.At("ports");
  r.Int("surface", 0, kPortMax, &p->surface);
  r.Int("knot", 0, kPortMax, &p->knot);
  r.Int("memory", 0, kPortMax, &p->memory);
  r.Int("trainer", 0, kPortMax, &p->trainer);
  r.Int("surface_admin", 0, kPortMax, &p->surface_admin);
  r.Int("knot_admin", 0, kPortMax, &p->knot_admin);
  r.Int("memory_admin", 0, kPortMax, &p->memory_admin);
  r.Int("trainer_admin", 0, kPortMax, &p->trainer_admin);
}

void ReadService(Reader& r, ServiceConfig* c) {
  r.String("bind_address", &c->bind_address);
  r.Bool("allow_insecure_bind", &c->allow_insecure_bind);
  ReadPorts(r, &c->ports);
  r.String("model_dir", &c->model_dir);
  r.String("data_dir", &c->data_dir);
  r.Int("threads", 0, 1024, &c->threads);
  r.Int("max_streams", 0, 65536, &c->max_streams);
  ReadBytes(r, "max_prompt_bytes", 1, &c->max_prompt_bytes);
  r.Int("max_new_tokens", 1, 1 << 22, &c->max_new_tokens);
  ReadBytes(r, "max_message_bytes", 4096, &c->max_message_bytes);
  r.Int("request_deadline_ms", 1, kDayMs, &c->request_deadline_ms);
  r.Int("drain_timeout_ms", 0, kDayMs, &c->drain_timeout_ms);

  Reader trainer = r.At("trainer");
  trainer.String("data_root", &c->trainer.data_root);
  trainer.Int("checkpoint_interval_s", 1, kDayMs / 1000, &c->trainer.checkpoint_interval_s);
  trainer.Int("max_jobs", 1, 65536, &c->trainer.max_jobs);

  Reader memory = r.At("memory");
  memory.Int("max_facts", 0, 1'000'000'000, &c->memory.max_facts);
  memory.Int("max_facts_per_user", 1, 1'000'000'000, &c->memory.max_facts_per_user);
  ReadBytes(memory, "max_text_bytes", 1, &c->memory.max_text_bytes);
  memory.Bool("learn", &c->memory.learn);
}

bool AllDigitsAndDots(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

}  // namespace

bool IsLoopback(const std::string& address) {
  if (address == "localhost" || address == "::1" || address == "[::1]") return true;
  // 127.0.0.0/8; a name such as 127.example.org is not an address.
  return address.rfind("127.", 0) == 0 && AllDigitsAndDots(address);
}

absl::Status ValidateServiceConfig(const ServiceConfig& config) {
  if (config.bind_address.empty()) {
    return absl::InvalidArgumentError("bind_address = \"\" must name an address");
  }
  if (!IsLoopback(config.bind_address) && !config.allow_insecure_bind) {
    return absl::InvalidArgumentError(absl::StrCat(
        "bind_address = \"", config.bind_address,
        "\" is reachable from other machines without credentials; set allow_insecure_bind to true "
        "to accept that"));
  }
  const std::array<NamedPort, 8> ports = PortsOf(config.ports);
  for (size_t i = 0; i < ports.size(); ++i) {
    if (ports[i].second < 0 || ports[i].second > kPortMax) {
      return absl::InvalidArgumentError(absl::StrCat("ports.", ports[i].first, " = ",
                                                     ports[i].second, " is outside 0..", kPortMax));
    }
    for (size_t j = 0; j < i; ++j) {
      // Port 0 asks the system for a free one.
      if (ports[i].second != 0 && ports[i].second == ports[j].second) {
        return absl::InvalidArgumentError(absl::StrCat("ports.", ports[i].first, " = ",
                                                       ports[i].second, " is taken by ports.",
                                                       ports[j].first));
      }
    }
  }
  if (config.max_message_bytes < config.max_prompt_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("max_message_bytes = ", config.max_message_bytes,
                                                   " is below max_prompt_bytes ",
                                                   config.max_prompt_bytes));
  }
  return absl::OkStatus();
}

absl::StatusOr<ServiceConfig> ParseServiceConfig(const std::string& json_text,
                                                 const std::vector<std::string>& overlay_texts) {
  CHIMERA_ASSIGN_OR_RETURN(JsonDocument document, JsonDocument::Parse(json_text, "service config"));
  for (size_t i = 0; i < overlay_texts.size(); ++i) {
    CHIMERA_ASSIGN_OR_RETURN(
        const JsonDocument overlay,
        JsonDocument::Parse(overlay_texts[i], absl::StrCat("overlay ", i + 1)));
    document.MergePatch(overlay);
  }
  ServiceConfig config;
  Reader reader = Reader(document).Optional();
  ReadService(reader, &config);
  reader.RejectUnread(document);
  if (!reader.status().ok()) return reader.status();
  CHIMERA_RETURN_IF_ERROR(ValidateServiceConfig(config));
  return config;
}

absl::StatusOr<ServiceConfig> LoadServiceConfig(const std::string& path,
                                                const std::vector<std::string>& overlay_paths) {
  CHIMERA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kConfigBytesMax));
  std::vector<std::string> overlays;
  for (const std::string& overlay_path : overlay_paths) {
    CHIMERA_ASSIGN_OR_RETURN(std::string overlay, ReadFile(overlay_path, kConfigBytesMax));
    overlays.push_back(std::move(overlay));
  }
  absl::StatusOr<ServiceConfig> config = ParseServiceConfig(text, overlays);
  if (!config.ok()) {
    return absl::Status(config.status().code(),
                        absl::StrCat(path, ": ", config.status().message()));
  }
  return config;
}

std::string ServiceConfigJson(const ServiceConfig& config) {
  nlohmann::ordered_json json;
  json["bind_address"] = config.bind_address;
  json["allow_insecure_bind"] = config.allow_insecure_bind;
  for (const auto& [name, port] : PortsOf(config.ports)) json["ports"][name] = port;
  json["model_dir"] = config.model_dir;
  json["data_dir"] = config.data_dir;
  json["threads"] = config.threads;
  json["max_streams"] = config.max_streams;
  json["max_prompt_bytes"] = config.max_prompt_bytes;
  json["max_new_tokens"] = config.max_new_tokens;
  json["max_message_bytes"] = config.max_message_bytes;
  json["request_deadline_ms"] = config.request_deadline_ms;
  json["drain_timeout_ms"] = config.drain_timeout_ms;
  json["trainer"] = {{"data_root", config.trainer.data_root},
                     {"checkpoint_interval_s", config.trainer.checkpoint_interval_s},
                     {"max_jobs", config.trainer.max_jobs}};
  json["memory"] = {{"max_facts", config.memory.max_facts},
                    {"max_facts_per_user", config.memory.max_facts_per_user},
                    {"max_text_bytes", config.memory.max_text_bytes},
                    {"learn", config.memory.learn}};
  return json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace chimera
