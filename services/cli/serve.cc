// chimera serve: the roles of one process, from configuration to a graceful end.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/exec_context.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cluster/admin_http.h"
#include "cluster/executor.h"
#include "cluster/local_knot.h"
#include "cluster/memory_report.h"
#include "cluster/metrics.h"
#include "cluster/remote_knot.h"
#include "cluster/remote_memory.h"
#include "cluster/server.h"
#include "cluster/signals.h"
#include "config/service_config.h"
#include "services/cli/commands.h"
#include "services/cli/role_table.h"

namespace chimera {
namespace {

struct ServeFlags {
  bool all = false;
  std::string role;
  std::string config_path;
  std::vector<std::string> overlays;
  std::string model_dir;
  std::string data_dir;
  std::string bind_address;
  std::string knot_address;
  std::string memory_address;
  int port = -1;
  int admin_port = -1;
  int threads = -1;
  int max_streams = -1;
  bool allow_insecure_bind = false;
  bool json = false;
};

constexpr int kHealthIntervalMs = 250;

// One role, running.
struct Running {
  std::string name;
  bool unhealthy = false;  // as the health thread saw it last
  std::unique_ptr<Role> role;
  std::unique_ptr<Server> server;  // goes before its role
};

absl::StatusOr<ServiceConfig> LoadEffectiveConfig(const ServeFlags& flags) {
  ServiceConfig config;
  if (!flags.config_path.empty()) {
    CHIMERA_ASSIGN_OR_RETURN(config, LoadServiceConfig(flags.config_path, flags.overlays));
  }
  if (!flags.model_dir.empty()) config.model_dir = flags.model_dir;
  if (!flags.data_dir.empty()) config.data_dir = flags.data_dir;
  if (!flags.bind_address.empty()) config.bind_address = flags.bind_address;
  if (flags.threads >= 0) config.threads = flags.threads;
  if (flags.max_streams >= 0) config.max_streams = flags.max_streams;
  if (flags.allow_insecure_bind) config.allow_insecure_bind = true;
  int next_port = flags.port;
  for (const RoleEntry& entry : RoleTable()) {
    if (!flags.all && flags.role != entry.name) continue;
    if (flags.admin_port >= 0) config.ports.*entry.admin_port = flags.all ? 0 : flags.admin_port;
    if (flags.port < 0) continue;
    config.ports.*entry.port = next_port;
    if (next_port != 0) ++next_port;  // --all --port N: N, N + 1, ... in start order
  }
  if (flags.all && flags.admin_port >= 0) config.ports.surface_admin = flags.admin_port;
  CHIMERA_RETURN_IF_ERROR(ValidateServiceConfig(config));
  return config;
}

// The process: what the roles share, the roles, the admin listener.
class Process {
 public:
  Process(ServiceConfig config, const ServeFlags& flags)
      : config_(std::move(config)), flags_(flags) {}

  ~Process() { Drain(); }

  absl::Status Start() {
    for (const RoleEntry& entry : RoleTable()) {
      if (!flags_.all && flags_.role != entry.name) continue;
      CHIMERA_RETURN_IF_ERROR(StartRole(entry));
      if (!flags_.all) admin_port_ = config_.ports.*entry.admin_port;
    }
    if (flags_.all) admin_port_ = config_.ports.surface_admin;
    metrics_.OnScrape([this](MetricsSink* sink) { memory_report_.Collect(sink); });
    AdminHttpOptions admin;
    admin.bind_address = config_.bind_address;
    admin.port = admin_port_;
    admin.metrics_text = [this] { return metrics_.Text(); };
    admin.not_ready = [this] { return NotReady(); };
    CHIMERA_ASSIGN_OR_RETURN(admin_, AdminHttp::Start(admin));
    health_ = std::make_unique<Ticker>(kHealthIntervalMs, [this] { WatchHealth(); });
    return absl::OkStatus();
  }

  void Print() const {
    if (flags_.json) {
      std::string line = "{\"ready\": true";
      for (const Running& running : running_) {
        absl::StrAppend(&line, ", \"", running.name, "\": \"", running.server->address(), "\"");
      }
      std::printf("%s, \"admin\": \"%s:%d\"}\n", line.c_str(), config_.bind_address.c_str(),
                  admin_->port());
    } else {
      for (const Running& running : running_) {
        std::printf("%-8s %-21s %s\n", running.name.c_str(), running.server->address().c_str(),
                    running.role->Summary().c_str());
      }
      std::printf("%-8s http://%s:%d/metrics\n", "admin", config_.bind_address.c_str(),
                  admin_->port());
      std::printf("ready\n");
    }
    std::fflush(stdout);
  }

  // Later roles use earlier ones, so they stop first. The admin listener answers until the end.
  void Drain() {
    health_.reset();
    for (Running& running : running_) running.role->StartDrain();
    for (auto it = running_.rbegin(); it != running_.rend(); ++it) it->server->Drain();
    admin_.reset();
    while (!running_.empty()) running_.pop_back();
  }

 private:
  absl::Status StartRole(const RoleEntry& entry) {
    if (entry.needs_knot) CHIMERA_RETURN_IF_ERROR(MakeKnot(entry));
    RoleContext context;
    context.config = &config_;
    context.metrics = &metrics_;
    context.memory_report = &memory_report_;
    context.knot = knot_.get();
    context.local_knot = local_knot_;
    context.memory = MemoryFor(entry);
    Running running;
    running.name = entry.name;
    CHIMERA_ASSIGN_OR_RETURN(running.role, entry.make(context));
    ServerOptions options;
    options.bind_address = config_.bind_address;
    options.port = config_.ports.*entry.port;
    options.allow_insecure_bind = config_.allow_insecure_bind;
    options.max_message_bytes = config_.max_message_bytes;
    options.drain_timeout_ms = config_.drain_timeout_ms;
    CHIMERA_ASSIGN_OR_RETURN(running.server, Server::Start(options, running.role->service(),
                                                           running.role->health_name()));
    if (Memory* const memory = running.role->memory()) memory_ = memory;
    running_.push_back(std::move(running));
    return absl::OkStatus();
  }

  // Of the memory role that started before, or of another process. Completions wait for it, so it
  // is given little time.
  Memory* MemoryFor(const RoleEntry& entry) {
    if (memory_ != nullptr || std::string("surface") != entry.name) return memory_;
    RemoteMemoryOptions options;
    options.address = flags_.memory_address.empty()
                          ? absl::StrCat(config_.bind_address, ":", config_.ports.memory)
                          : flags_.memory_address;
    options.connect_timeout_ms = 1000;
    options.call_timeout_ms = 2000;
    remote_memory_ = std::make_unique<RemoteMemory>(options);
    return memory_ = remote_memory_.get();
  }

  absl::Status MakeKnot(const RoleEntry& entry) {
    if (knot_ != nullptr) return absl::OkStatus();
    if (!flags_.all && std::string("knot") != entry.name) {
      RemoteKnotOptions options;
      options.address = flags_.knot_address.empty()
                            ? absl::StrCat(config_.bind_address, ":", config_.ports.knot)
                            : flags_.knot_address;
      knot_ = std::make_unique<RemoteKnot>(options);
      return absl::OkStatus();
    }
    LocalKnotOptions options;
    options.data_dir = config_.data_dir;
    options.threads = config_.threads > 0 ? config_.threads : UsableCpus();
    options.max_streams = config_.max_streams;
    options.measure_cost = true;
    options.check_weights_later = true;
    const std::string folder = ModelFolder();
    CHIMERA_ASSIGN_OR_RETURN(std::unique_ptr<LocalKnot> local,
                             LocalKnot::Create(options, folder, &metrics_));
    LogInfo(absl::StrCat("knot: ", folder, ", ", options.threads, " threads"));
    LogInfo(absl::StrCat("memory: ", local->memory_plan()));
    local_knot_ = local.get();
    knot_ = std::move(local);
    return absl::OkStatus();
  }

  // A model that was published here outlives a restart, unless the command line names another.
  std::string ModelFolder() const {
    if (!flags_.model_dir.empty()) return flags_.model_dir;
    const std::string published = PublishedModelFolder(config_.data_dir);
    return published.empty() ? config_.model_dir : published;
  }

  std::string NotReady() const {
    for (const Running& running : running_) {
      const std::string reason = running.role->Unhealthy();
      if (!reason.empty()) return running.name + ": " + reason;
      if (!running.server->serving()) return running.name + " is draining";
    }
    return "";
  }

  // A role that must not get requests says so through its health, until it may again.
  void WatchHealth() {
    for (Running& running : running_) {
      const bool unhealthy = !running.role->Unhealthy().empty();
      if (unhealthy != running.unhealthy) running.server->SetServing(!unhealthy);
      running.unhealthy = unhealthy;
    }
  }

  const ServiceConfig config_;
  const ServeFlags flags_;
  Metrics metrics_;
  MemoryReport memory_report_;
  std::unique_ptr<Knot> knot_;
  LocalKnot* local_knot_ = nullptr;
  std::unique_ptr<RemoteMemory> remote_memory_;
  Memory* memory_ = nullptr;
  int admin_port_ = 0;
  std::vector<Running> running_;
  std::unique_ptr<AdminHttp> admin_;
  std::unique_ptr<Ticker> health_;
};

absl::Status RunServe(const ServeFlags& flags) {
  CHIMERA_ASSIGN_OR_RETURN(ServiceConfig config, LoadEffectiveConfig(flags));
  Process process(std::move(config), flags);
  CHIMERA_RETURN_IF_ERROR(process.Start());
  process.Print();
  WaitForShutdownSignal();
  LogInfo("draining: running requests may end, new ones are refused; signal again to stop at once");
  const SignalWatch again([] { ::_exit(1); });
  process.Drain();
  LogInfo("stopped");
  return absl::OkStatus();
}

}  // namespace

void AddServe(CLI::App& app, Command* run) {
  auto flags = std::make_shared<ServeFlags>();
  std::vector<std::string> names;
  for (const RoleEntry& entry : RoleTable()) names.push_back(entry.name);
  CLI::App* sub = app.add_subcommand("serve", "Run the services, all in one process or one role");
  CLI::Option_group* which = sub->add_option_group("Which services");
  which->add_flag("--all", flags->all, "Every role in this process (the default)");
  which->add_option("--role", flags->role, "One role: " + absl::StrJoin(names, ", "))
      ->check(CLI::IsMember(names));
  which->require_option(0, 1);
  sub->add_option("--config", flags->config_path, "Service configuration (configs/service.json)");
  sub->add_option("--overlay", flags->overlays, "JSON merge patches on top of --config");
  sub->add_option("--model", flags->model_dir,
                  "Model folder; otherwise the last published one, "
                  "then the configuration's");
  sub->add_option("--data", flags->data_dir, "Folder for everything that is written");
  sub->add_option("--port", flags->port,
                  "gRPC port, 0 for a free one; with --all the first of "
                  "consecutive ports")
      ->check(CLI::Range(0, 65535));
  sub->add_option("--admin-port", flags->admin_port, "Port of /metrics, /healthz, /readyz")
      ->check(CLI::Range(0, 65535));
  sub->add_option("--bind", flags->bind_address, "Address to listen on (127.0.0.1)");
  sub->add_option("--knot", flags->knot_address, "HOST:PORT of the knot, for other roles");
  sub->add_option("--memory", flags->memory_address, "HOST:PORT of the memory, for the surface");
  sub->add_option("--threads", flags->threads, "Passes at once; 0 uses every CPU we may use")
      ->check(CLI::Range(0, 4096));
  sub->add_option("--max-streams", flags->max_streams, "Stream slots; 0 takes the model's")
      ->check(CLI::Range(0, 4096));
  sub->add_flag("--allow-insecure-bind", flags->allow_insecure_bind,
                "Listen beyond loopback without credentials");
  sub->add_flag("--json", flags->json, "Print the addresses as one JSON line");
  sub->footer(
      "Examples:\n"
      "  chimera serve --all --model models/nano\n"
      "  chimera serve --role knot --config configs/service.json --model models/nano\n"
      "  chimera serve --role surface --knot 10.0.0.7:7401\n"
      "SIGTERM and Ctrl-C drain: running requests may finish, new ones are refused.");
  sub->callback([flags, run] {
    if (flags->role.empty()) flags->all = true;
    *run = [flags] { return RunServe(*flags); };
  });
}

}  // namespace chimera
