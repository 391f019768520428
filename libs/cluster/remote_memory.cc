#include "cluster/remote_memory.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "chimera/memory/v1/memory.grpc.pb.h"
#include "cluster/channel.h"
#include "cluster/status_map.h"

namespace chimera {

namespace pb = memory::v1;

struct RemoteMemory::Impl {
  explicit Impl(const RemoteMemoryOptions& options_in)
      : options(options_in),
        what(absl::StrCat("memory at ", options.address)),
        channel(MakeChannel(options.address)),
        stub(pb::MemoryService::NewStub(channel)) {}

  template <typename Request, typename Response>
  absl::Status Call(grpc::Status (pb::MemoryService::Stub::*method)(grpc::ClientContext*,
                                                                    const Request&, Response*),
                    const Request& request, Response* response) {
    CHIMERA_RETURN_IF_ERROR(WaitConnected(channel.get(), what, options.connect_timeout_ms));
    grpc::ClientContext context;
    SetDeadline(&context, 0, options.call_timeout_ms);
    return FromGrpc((stub.get()->*method)(&context, request, response), what);
  }

  const RemoteMemoryOptions options;
  const std::string what;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<pb::MemoryService::Stub> stub;
};

RemoteMemory::RemoteMemory(const RemoteMemoryOptions& options)
    : impl_(std::make_unique<Impl>(options)) {}

RemoteMemory::~RemoteMemory() = default;

absl::StatusOr<RememberedFact> RemoteMemory::Remember(const std::string& user,
                                                      std::string_view text) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateFactText(text, "text"));
  pb::RememberRequest request;
  request.set_user(user);
  request.set_text(std::string(text));
  pb::RememberResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Remember, request, &response));
  return RememberedFact{response.fact_id(), response.created()};
}

absl::StatusOr<std::vector<RecalledFact>> RemoteMemory::Recall(const std::string& user,
                                                               std::string_view query, int k) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateFactText(query, "query"));
  CHIMERA_RETURN_IF_ERROR(ValidateRecallCount(k));
  pb::RecallRequest request;
  request.set_user(user);
  request.set_query(std::string(query));
  request.set_limit(k);
  pb::RecallResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Recall, request, &response));
  std::vector<RecalledFact> facts;
  for (const pb::Fact& fact : response.facts()) {
    facts.push_back({fact.fact_id(), fact.text(), fact.similarity(), fact.created_ms()});
  }
  return facts;
}

absl::StatusOr<int64_t> RemoteMemory::Forget(const std::string& user, const std::string& fact_id) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateFactId(fact_id));
  pb::ForgetRequest request;
  request.set_user(user);
  request.set_fact_id(fact_id);
  pb::ForgetResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Forget, request, &response));
  return response.facts_deleted();
}

absl::StatusOr<int64_t> RemoteMemory::ForgetAll(const std::string& user) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  pb::ForgetRequest request;
  request.set_user(user);
  request.set_everything(true);
  pb::ForgetResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Forget, request, &response));
  return response.facts_deleted();
}

absl::StatusOr<MemoryStats> RemoteMemory::Stats(const std::string& user) {
  if (!user.empty()) CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  pb::StatsRequest request;
  request.set_user(user);
  pb::StatsResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Stats, request, &response));
  MemoryStats stats;
  stats.facts = response.facts();
  stats.users = response.users();
  stats.text_bytes = response.text_bytes();
  stats.facts_max = response.facts_max();
  stats.corrupt_records_skipped = response.corrupt_records_skipped();
  return stats;
}

}  // namespace chimera
