#include "cluster/remote_memory.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cluster/memory_channel.h"
#include "cluster/memory_proto.h"
#include "memory/learning_arguments.h"
#include "memory/memory_arguments.h"

namespace chimera {

namespace pb = memory::v1;

namespace {

constexpr int kLongCallTimeoutMs = 3'600'000;  // exports, imports, backups
constexpr size_t kImportPieceBytes = 1 << 20;

template <typename Request>
void WritePattern(const std::string& user, const RelationPattern& pattern, Request* request) {
  request->set_user(user);
  request->set_subject(pattern.subject);
  request->set_predicate(pattern.predicate);
  request->set_object(pattern.object);
}

}  // namespace

struct RemoteMemory::Impl : MemoryChannel {
  using MemoryChannel::MemoryChannel;
};

RemoteMemory::RemoteMemory(const RemoteMemoryOptions& options)
    : impl_(std::make_unique<Impl>(options)) {}

RemoteMemory::~RemoteMemory() = default;

absl::StatusOr<std::vector<RememberedFact>> RemoteMemory::Remember(const std::string& user,
                                                                   std::span<const NewFact> facts) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateNewFacts(facts));
  pb::RememberRequest request;
  request.set_user(user);
  for (const NewFact& fact : facts) WriteNewFact(fact, request.add_facts());
  pb::RememberResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->CallOne(&pb::MemoryService::Stub::Remember, request, &response));
  CHIMERA_RETURN_IF_ERROR(impl_->CheckCount(response.facts_size(), facts.size()));
  std::vector<RememberedFact> remembered;
  for (const pb::RememberedFact& one : response.facts()) remembered.push_back(ReadRemembered(one));
  return remembered;
}

absl::StatusOr<std::vector<std::vector<RecalledFact>>> RemoteMemory::Recall(
    const std::string& user, std::span<const std::string> queries, const RecallOptions& options) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateQueries(queries, options));
  pb::RecallRequest request;
  request.set_user(user);
  for (const std::string& query : queries) request.add_queries(query);
  request.set_limit(options.k);
  request.set_similarity_min(options.similarity_min);
  request.set_tags_any(options.tags_any);
  request.set_with_sketches(options.with_sketches);
  pb::RecallResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->CallOne(&pb::MemoryService::Stub::Recall, request, &response));
  CHIMERA_RETURN_IF_ERROR(impl_->CheckCount(response.answers_size(), queries.size()));
  std::vector<std::vector<RecalledFact>> answers;
  for (const pb::RecalledFacts& one : response.answers()) {
    std::vector<RecalledFact>& facts = answers.emplace_back();
    for (const pb::Fact& fact : one.facts()) {
      CHIMERA_ASSIGN_OR_RETURN(RecalledFact read, ReadRecalled(fact));
      facts.push_back(std::move(read));
    }
  }
  return answers;
}

absl::StatusOr<int64_t> RemoteMemory::Reinforce(const std::string& user,
                                                std::span<const FactUse> uses) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateUses(uses));
  pb::ReinforceRequest request;
  request.set_user(user);
  for (const FactUse& use : uses) {
    pb::FactUse* const out = request.add_uses();
    out->set_fact_id(use.fact_id);
    out->set_benefit(use.benefit);
  }
  pb::ReinforceResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Reinforce, request, &response));
  return response.reinforced();
}

absl::StatusOr<LearnReport> RemoteMemory::Learn(const std::string& user, const LearnBatch& batch) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateLearnBatch(batch));
  pb::LearnRequest request;
  request.set_user(user);
  WriteLearnBatch(batch, &request);
  pb::LearnResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Learn, request, &response));
  return ReadLearnReport(response);
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

absl::StatusOr<int64_t> RemoteMemory::Relate(const std::string& user,
                                             std::span<const Relation> relations, Source source) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateRelations(relations));
  CHIMERA_RETURN_IF_ERROR(ValidateSource(source));
  pb::RelateRequest request;
  request.set_user(user);
  for (const Relation& one : relations) WriteRelation(one, request.add_relations());
  request.set_source(WriteSource(source));
  pb::RelateResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Relate, request, &response));
  return response.created();
}

absl::StatusOr<std::vector<Relation>> RemoteMemory::Related(const std::string& user,
                                                            const RelationPattern& pattern,
                                                            int limit) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidatePattern(pattern));
  CHIMERA_RETURN_IF_ERROR(ValidateLimit(limit, kRelatedMax, "relations"));
  pb::RelatedRequest request;
  WritePattern(user, pattern, &request);
  request.set_limit(limit);
  pb::RelatedResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Related, request, &response));
  std::vector<Relation> relations;
  for (const pb::Relation& one : response.relations()) relations.push_back(ReadRelation(one));
  return relations;
}

absl::StatusOr<int64_t> RemoteMemory::Unrelate(const std::string& user,
                                               const RelationPattern& pattern) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidatePattern(pattern));
  pb::UnrelateRequest request;
  WritePattern(user, pattern, &request);
  pb::UnrelateResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Unrelate, request, &response));
  return response.deleted();
}

absl::Status RemoteMemory::Export(const std::string& user,
                                  const std::function<absl::Status(std::string_view)>& receive) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(impl_->Connect());
  grpc::ClientContext context;
  SetDeadline(&context, 0, kLongCallTimeoutMs);
  pb::ExportRequest request;
  request.set_user(user);
  const auto reader = impl_->stub->Export(&context, request);
  pb::ExportResponse piece;
  while (reader->Read(&piece)) {
    for (std::string_view rest = piece.lines(); !rest.empty();) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      const absl::Status taken = receive(rest.substr(0, end));
      if (!taken.ok()) {
        context.TryCancel();
        return taken;
      }
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return FromGrpc(reader->Finish(), impl_->what);
}

absl::StatusOr<ImportReport> RemoteMemory::Import(const std::string& user, std::string_view lines,
                                                  int64_t first_line) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(impl_->Connect());
  grpc::ClientContext context;
  SetDeadline(&context, 0, kLongCallTimeoutMs);
  pb::ImportResponse response;
  const auto writer = impl_->stub->Import(&context, &response);
  pb::ImportRequest piece;
  piece.set_user(user);
  while (!lines.empty()) {
    // Whole lines, and at least one.
    size_t end = lines.size();
    if (end > kImportPieceBytes) {
      const size_t last = lines.substr(0, kImportPieceBytes).rfind('\n');
      end = std::min(last != lines.npos ? last : lines.find('\n'), lines.size() - 1) + 1;
    }
    piece.set_lines(std::string(lines.substr(0, end)));
    if (!writer->Write(piece)) break;  // Finish says why
    piece.clear_user();
    lines.remove_prefix(end);
  }
  writer->WritesDone();
  CHIMERA_RETURN_IF_ERROR(FromGrpc(writer->Finish(), impl_->what));
  ImportReport report = {.imported = response.imported(), .refused = response.refused()};
  for (const pb::RefusedLine& line : response.refused_lines()) {
    report.refused_lines.push_back({line.line() - 1 + first_line, line.reason()});
  }
  return report;
}

absl::StatusOr<int64_t> RemoteMemory::Reset(const std::string& user) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  pb::ResetRequest request;
  request.set_user(user);
  pb::ResetResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Reset, request, &response));
  return response.entries_deleted();
}

absl::StatusOr<BackupReport> RemoteMemory::Backup(const std::string& folder, int keep) {
  if (!folder.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("backup folder ", folder, "; a service backs up to its own"));
  }
  pb::BackupRequest request;
  request.set_keep(keep);
  pb::BackupResponse response;
  CHIMERA_RETURN_IF_ERROR(
      impl_->Call(&pb::MemoryService::Stub::Backup, request, &response, kLongCallTimeoutMs));
  return BackupReport{.backup_id = response.backup_id(),
                      .bytes = response.bytes(),
                      .backups_kept = response.backups_kept()};
}

absl::StatusOr<MemoryStats> RemoteMemory::Stats(const std::string& user) {
  if (!user.empty()) CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  pb::StatsRequest request;
  request.set_user(user);
  pb::StatsResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Stats, request, &response));
  return ReadStats(response);
}

}  // namespace chimera
