#include "services/memory/service.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "chimera/memory/v1/memory.grpc.pb.h"
#include "cluster/executor.h"
#include "cluster/status_map.h"

namespace chimera {
namespace {

namespace pb = memory::v1;

constexpr int kRecallDefault = 8;

}  // namespace

struct MemoryServer::Impl final : public pb::MemoryService::CallbackService {
  Impl(Memory* memory_in, const MemoryServiceOptions& options_in)
      : memory(memory_in),
        options(options_in),
        executor("memory", options.workers, options.queue_max) {}

  grpc::ServerUnaryReactor* Remember(grpc::CallbackServerContext* context,
                                     const pb::RememberRequest* request,
                                     pb::RememberResponse* response) override {
    return Answer(context, [this, request, response]() -> absl::Status {
      CHIMERA_RETURN_IF_ERROR(CheckLength(request->text(), "text"));
      CHIMERA_ASSIGN_OR_RETURN(const RememberedFact fact,
                               memory->Remember(request->user(), request->text()));
      response->set_fact_id(fact.fact_id);
      response->set_created(fact.created);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Recall(grpc::CallbackServerContext* context,
                                   const pb::RecallRequest* request,
                                   pb::RecallResponse* response) override {
    return Answer(context, [this, request, response]() -> absl::Status {
      CHIMERA_RETURN_IF_ERROR(CheckLength(request->query(), "query"));
      const int limit = request->limit() == 0 ? kRecallDefault : request->limit();
      CHIMERA_ASSIGN_OR_RETURN(std::vector<RecalledFact> facts,
                               memory->Recall(request->user(), request->query(), limit));
      for (RecalledFact& fact : facts) {
        pb::Fact* out = response->add_facts();
        out->set_fact_id(fact.fact_id);
        out->set_text(std::move(fact.text));
        out->set_similarity(fact.similarity);
        out->set_created_ms(fact.created_ms);
      }
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Forget(grpc::CallbackServerContext* context,
                                   const pb::ForgetRequest* request,
                                   pb::ForgetResponse* response) override {
    return Answer(context, [this, request, response]() -> absl::Status {
      CHIMERA_ASSIGN_OR_RETURN(const int64_t deleted, Delete(*request));
      response->set_facts_deleted(deleted);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Stats(grpc::CallbackServerContext* context,
                                  const pb::StatsRequest* request,
                                  pb::StatsResponse* response) override {
    return Answer(context, [this, request, response]() -> absl::Status {
      CHIMERA_ASSIGN_OR_RETURN(const MemoryStats stats, memory->Stats(request->user()));
      response->set_facts(stats.facts);
      response->set_users(stats.users);
      response->set_text_bytes(stats.text_bytes);
      response->set_facts_max(stats.facts_max);
      response->set_corrupt_records_skipped(stats.corrupt_records_skipped);
      return absl::OkStatus();
    });
  }

  absl::Status CheckLength(const std::string& text, const char* what) const {
    if (text.size() <= options.text_bytes_max) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        what, " has ", text.size(), " bytes, this server takes ", options.text_bytes_max));
  }

  absl::StatusOr<int64_t> Delete(const pb::ForgetRequest& request) {
    switch (request.what_case()) {
      case pb::ForgetRequest::kFactId:
        return memory->Forget(request.user(), request.fact_id());
      case pb::ForgetRequest::kEverything:
        if (!request.everything()) {
          return absl::InvalidArgumentError("everything must be true when it is set");
        }
        return memory->ForgetAll(request.user());
      default:
        return absl::InvalidArgumentError("say what to forget: fact_id or everything");
    }
  }

  // request and response live until Finish.
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                   std::function<absl::Status()> work) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const auto posted =
        executor.Post([reactor, work = std::move(work)] { reactor->Finish(ToGrpc(work())); });
    if (!posted.ok()) reactor->Finish(ToGrpc(posted.status()));
    return reactor;
  }

  Memory* const memory;
  const MemoryServiceOptions options;
  Executor executor;
};

MemoryServer::MemoryServer(Memory* memory, const MemoryServiceOptions& options)
    : impl_(std::make_unique<Impl>(memory, options)) {}

MemoryServer::~MemoryServer() = default;

grpc::Service* MemoryServer::service() { return impl_.get(); }

}  // namespace chimera
