// The memory role: the RocksDB store of this process, served to others.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cluster/learning_options.h"
#include "cluster/model_frontend.h"
#include "config/config.h"
#include "memory/learned_memory.h"
#include "memory/rocksdb_store.h"
#include "memory/user_learning.h"
#include "services/memory/service.h"
#include "services/memory/store_metrics.h"
#include "services/roles.h"
#include "train/jobs_tokenizer.h"

namespace chimera {
namespace {

// What a store made without a model is cut to: the size of the shipped models.
constexpr int kRanksDefault = 4096;

class MemoryRole final : public Role {
 public:
  MemoryRole(std::unique_ptr<LocalMemory> store, const UserLearningOptions& learning,
             const MemoryServiceOptions& options, std::string path)
      : store_(std::move(store)),
        learning_(store_.get(), learning),
        memory_(store_.get(), &learning_),
        server_(&memory_, options, &learning_),
        path_(std::move(path)) {}

  grpc::Service* service() override { return server_.service(); }
  std::string health_name() const override { return "chimera.memory.v1.MemoryService"; }
  Memory* memory() override { return &memory_; }
  UserLearning* learning() { return &learning_; }
  std::string Summary() const override {
    const absl::StatusOr<MemoryStats> stats = store_->Stats("");
    return absl::StrCat(stats.ok() ? stats->facts : 0, " facts of ", stats.ok() ? stats->users : 0,
                        " users in ", path_);
  }

 private:
  const std::unique_ptr<LocalMemory> store_;
  UserLearning learning_;
  LearnedMemory memory_;
  MemoryServer server_;
  const std::string path_;
};

// Only a new store needs one; an existing store keeps its own.
std::shared_ptr<const Tokenizer> NewStoreTokenizer(const RoleContext& context) {
  if (context.local_knot != nullptr) {
    const auto frontend = FrontendCache(context.knot).Get("");
    if (frontend.ok()) return (*frontend)->tokenizer;
  }
  const auto own = LoadTokenizerFile(context.config->model_dir + "/tokenizer.model", 0);
  if (own.ok()) return *own;
  const auto found = FindTokenizer(RankFilePlaces(), kRanksDefault);
  return found.ok() ? *found : nullptr;
}

// What the served model's configuration says of learning; without a model at hand, its defaults.
UserLearningOptions LearningOptionsFor(const RoleContext& context, int64_t facts_per_user) {
  if (context.local_knot != nullptr) {
    const auto frontend = FrontendCache(context.knot).Get("");
    if (frontend.ok()) return LearningOptionsOf((*frontend)->config, facts_per_user, 0);
  }
  const auto config = LoadConfig(context.config->model_dir + "/config.json");
  if (config.ok()) return LearningOptionsOf(*config, facts_per_user, 0);
  UserLearningOptions defaults;
  defaults.evolution.pool.facts_max = facts_per_user;
  return defaults;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Role>> MakeMemoryRole(const RoleContext& context) {
  const MemoryServiceConfig& config = context.config->memory;
  LocalMemoryOptions options;
  options.path = context.config->data_dir + "/memory";
  options.tokenizer = NewStoreTokenizer(context);
  if (config.max_facts > 0) options.facts_max = config.max_facts;
  options.facts_per_user_max = std::min<int64_t>(config.max_facts_per_user, options.facts_max);
  CHIMERA_ASSIGN_OR_RETURN(std::unique_ptr<LocalMemory> memory, LocalMemory::Open(options));
  MemoryServiceOptions service;
  service.text_bytes_max = std::min(config.max_text_bytes, kFactTextBytesMax);
  service.backup_dir = context.config->data_dir + "/memory-backups";
  CHIMERA_RETURN_IF_ERROR(ExportStoreMetrics(memory.get(), context.metrics));
  LocalMemory* const store = memory.get();
  auto role = std::make_unique<MemoryRole>(std::move(memory),
                                           LearningOptionsFor(context, options.facts_per_user_max),
                                           service, options.path);
  CHIMERA_RETURN_IF_ERROR(ExportLearningMetrics(role->learning(), context.metrics));
  context.memory_report->Add("memory_cache", true, [store, learning = role->learning()] {
    return store->CacheBytes() + learning->CacheBytes();
  });
  return role;
}

}  // namespace chimera
