#include "cluster/remote_memory.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "chimera/memory/v1/memory.grpc.pb.h"
#include "cluster/channel.h"
#include "cluster/status_map.h"
#include "memory/memory_arguments.h"

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

absl::StatusOr<std::vector<RememberedFact>> RemoteMemory::Remember(const std::string& user,
                                                                   std::span<const NewFact> facts) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateNewFacts(facts));
  std::vector<RememberedFact> remembered;
  for (const NewFact& fact : facts) {
    if (fact.source != Source::kUser || !fact.about.empty() || fact.weight != 1 || fact.tags != 0) {
      return absl::UnimplementedError("the wire carries facts said by the user, text only");
    }
  }
  for (const NewFact& fact : facts) {
    pb::RememberRequest request;
    request.set_user(user);
    request.set_text(fact.text);
    pb::RememberResponse response;
    CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Remember, request, &response));
    remembered.push_back({.fact_id = response.fact_id(), .created = response.created()});
  }
  return remembered;
}

absl::StatusOr<std::vector<std::vector<RecalledFact>>> RemoteMemory::Recall(
    const std::string& user, std::span<const std::string> queries, const RecallOptions& options) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateQueries(queries, options));
  if (options.similarity_min > -1 || options.tags_any != 0 || options.with_sketches) {
    return absl::UnimplementedError("the wire carries the number of facts of a recall only");
  }
  std::vector<std::vector<RecalledFact>> answers;
  for (const std::string& query : queries) {
    pb::RecallRequest request;
    request.set_user(user);
    request.set_query(query);
    request.set_limit(options.k);
    pb::RecallResponse response;
    CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Recall, request, &response));
    std::vector<RecalledFact>& facts = answers.emplace_back();
    for (const pb::Fact& fact : response.facts()) {
      RecalledFact& out = facts.emplace_back();
      out.fact_id = fact.fact_id();
      out.text = fact.text();
      out.similarity = fact.similarity();
      out.created_ms = fact.created_ms();
    }
  }
  return answers;
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
