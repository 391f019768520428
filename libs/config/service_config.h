// The service configuration (configs/service.json): addresses, limits and deadlines of the
// processes. Every key is optional and has the default below; unknown keys and wrong types are
// errors that name the key path. Functions here are thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace chimera {

struct ServicePorts {
  int surface = 7400;
  int knot = 7401;
  int memory = 7402;
  int trainer = 7403;
  // Probes and metrics over HTTP. One process that runs all services uses surface_admin only.
  int surface_admin = 7410;
  int knot_admin = 7411;
  int memory_admin = 7412;
  int trainer_admin = 7413;

  bool operator==(const ServicePorts&) const = default;
};

struct TrainerServiceConfig {
  // The folder jobs may read. Empty: on a loopback bind any path this process may read, elsewhere
  // none.
  std::string data_root;
  int checkpoint_interval_s = 300;
  int max_jobs = 64;  // queued and running together

  bool operator==(const TrainerServiceConfig&) const = default;
};

struct MemoryServiceConfig {
  int64_t max_facts = 0;  // 0: semantic_memory.capacity of the model's config
  int max_facts_per_user = 20000;
  size_t max_text_bytes = 16384;
  // Users' memories learn from their completions (FEATURES E2). The surface's business.
  bool learn = true;

  bool operator==(const MemoryServiceConfig&) const = default;
};

// Value type.
struct ServiceConfig {
  std::string bind_address = "127.0.0.1";
  bool allow_insecure_bind = false;  // a bind beyond loopback without credentials needs true
  ServicePorts ports;
  std::string model_dir = "models/nano";
  std::string data_dir = "data";
  int threads = 0;      // 0: UsableCpus()
  int max_streams = 0;  // 0: deployment.max_streams of the model's config
  size_t max_prompt_bytes = 1 << 20;
  int max_new_tokens = 4096;           // the most a request may ask for
  size_t max_message_bytes = 4 << 20;  // one gRPC message or HTTP body
  int request_deadline_ms = 300000;    // of a request that sets none
  int drain_timeout_ms = 10000;
  TrainerServiceConfig trainer;
  MemoryServiceConfig memory;

  bool operator==(const ServiceConfig&) const = default;
};

absl::StatusOr<ServiceConfig> ParseServiceConfig(
    const std::string& json_text, const std::vector<std::string>& overlay_texts = {});
absl::StatusOr<ServiceConfig> LoadServiceConfig(const std::string& path,
                                                const std::vector<std::string>& overlay_paths = {});

// The same checks on a config changed by command-line flags: ports in range and distinct,
// a bind beyond loopback only with allow_insecure_bind.
absl::Status ValidateServiceConfig(const ServiceConfig& config);

// Every value as JSON: ParseServiceConfig(ServiceConfigJson(c)) == c.
std::string ServiceConfigJson(const ServiceConfig& config);

// True for localhost, ::1 (also in brackets) and 127.0.0.0/8.
bool IsLoopback(const std::string& address);

}  // namespace chimera
