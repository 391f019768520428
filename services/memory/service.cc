#include "services/memory/service.h"

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "chimera/memory/v1/memory.grpc.pb.h"
#include "cluster/executor.h"
#include "cluster/memory_proto.h"
#include "cluster/status_map.h"
#include "services/memory/learning_calls.h"
#include "services/memory/stream_calls.h"

namespace chimera {
namespace {

namespace pb = memory::v1;

constexpr int kRecallDefault = 8;
constexpr int kRelatedDefault = 64;
constexpr int kBackupsKeptDefault = 7;
constexpr size_t kExportPieceBytes = 256 << 10;

template <typename Request>
RelationPattern PatternOf(const Request& request) {
  return {
      .subject = request.subject(), .predicate = request.predicate(), .object = request.object()};
}

}  // namespace

struct MemoryServer::Impl final : public pb::MemoryService::CallbackService {
  Impl(Memory* memory_in, const MemoryServiceOptions& options_in, UserLearning* learning_in)
      : memory(memory_in),
        options(options_in),
        learning(learning_in),
        executor("memory", options.workers, options.queue_max) {}

  grpc::ServerBidiReactor<pb::RememberRequest, pb::RememberResponse>* Remember(
      grpc::CallbackServerContext*) override {
    return BatchCall<pb::RememberRequest, pb::RememberResponse>::Begin(
        &executor, [this](const pb::RememberRequest& request, pb::RememberResponse* response) {
          return RememberBatch(request, response);
        });
  }

  grpc::ServerBidiReactor<pb::RecallRequest, pb::RecallResponse>* Recall(
      grpc::CallbackServerContext*) override {
    return BatchCall<pb::RecallRequest, pb::RecallResponse>::Begin(
        &executor, [this](const pb::RecallRequest& request, pb::RecallResponse* response) {
          return RecallBatch(request, response);
        });
  }

  grpc::ServerUnaryReactor* Reinforce(grpc::CallbackServerContext* context,
                                      const pb::ReinforceRequest* request,
                                      pb::ReinforceResponse* response) override {
    return Answer(context, [this, request, response]() -> absl::Status {
      std::vector<FactUse> uses;
      for (const pb::FactUse& use : request->uses()) {
        uses.push_back({.fact_id = use.fact_id(), .benefit = use.benefit()});
      }
      CHIMERA_ASSIGN_OR_RETURN(const int64_t found, memory->Reinforce(request->user(), uses));
      response->set_reinforced(found);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Learn(grpc::CallbackServerContext* context,
                                  const pb::LearnRequest* request,
                                  pb::LearnResponse* response) override {
    return Answer(context, [this, request, response]() -> absl::Status {
      CHIMERA_ASSIGN_OR_RETURN(const LearnBatch batch, ReadLearnBatch(*request));
      CHIMERA_ASSIGN_OR_RETURN(const LearnReport report, memory->Learn(request->user(), batch));
      WriteLearnReport(report, response);
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

  grpc::ServerUnaryReactor* Relate(grpc::CallbackServerContext* context,
                                   const pb::RelateRequest* request,
                                   pb::RelateResponse* response) override {
    return Answer(context, [this, request, response]() -> absl::Status {
      CHIMERA_ASSIGN_OR_RETURN(const Source source, ReadSource(request->source()));
      std::vector<Relation> relations;
      for (const pb::Relation& one : request->relations()) relations.push_back(ReadRelation(one));
      CHIMERA_ASSIGN_OR_RETURN(const int64_t created,
                               memory->Relate(request->user(), relations, source));
      response->set_created(created);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Related(grpc::CallbackServerContext* context,
                                    const pb::RelatedRequest* request,
                                    pb::RelatedResponse* response) override {
    return Answer(context, [this, request, response]() -> absl::Status {
      const int limit = request->limit() == 0 ? kRelatedDefault : request->limit();
      CHIMERA_ASSIGN_OR_RETURN(const std::vector<Relation> relations,
                               memory->Related(request->user(), PatternOf(*request), limit));
      for (const Relation& one : relations) WriteRelation(one, response->add_relations());
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Unrelate(grpc::CallbackServerContext* context,
                                     const pb::UnrelateRequest* request,
                                     pb::UnrelateResponse* response) override {
    return Answer(context, [this, request, response]() -> absl::Status {
      CHIMERA_ASSIGN_OR_RETURN(const int64_t deleted,
                               memory->Unrelate(request->user(), PatternOf(*request)));
      response->set_deleted(deleted);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Cases(grpc::CallbackServerContext* context,
                                  const pb::CasesRequest* request,
                                  pb::CasesResponse* response) override {
    return Answer(context, [this, request, response] { return Calls().Cases(*request, response); });
  }

  grpc::ServerUnaryReactor* Guidelines(grpc::CallbackServerContext* context,
                                       const pb::GuidelinesRequest* request,
                                       pb::GuidelinesResponse* response) override {
    return Answer(context,
                  [this, request, response] { return Calls().Guidelines(*request, response); });
  }

  grpc::ServerUnaryReactor* Entities(grpc::CallbackServerContext* context,
                                     const pb::EntitiesRequest* request,
                                     pb::EntitiesResponse* response) override {
    return Answer(context,
                  [this, request, response] { return Calls().Entities(*request, response); });
  }

  grpc::ServerWriteReactor<pb::ExportResponse>* Export(grpc::CallbackServerContext* context,
                                                       const pb::ExportRequest* request) override {
    return PourCall<pb::ExportResponse>::Begin(
        context, &executor, options.stall_timeout_ms,
        [this, request](const PourCall<pb::ExportResponse>::Send& send) {
          return ExportAll(request->user(), send);
        });
  }

  grpc::ServerReadReactor<pb::ImportRequest>* Import(grpc::CallbackServerContext*,
                                                     pb::ImportResponse* response) override {
    struct Progress {
      std::string user;
      int64_t lines = 0;
    };
    auto progress = std::make_shared<Progress>();
    return GatherCall<pb::ImportRequest>::Begin(
        &executor,
        [this, progress, response](const pb::ImportRequest& request) -> absl::Status {
          if (progress->user.empty()) progress->user = request.user();
          CHIMERA_ASSIGN_OR_RETURN(
              const ImportReport report,
              memory->Import(progress->user, request.lines(), 1 + progress->lines));
          progress->lines += report.imported + report.refused;
          response->set_imported(response->imported() + report.imported);
          response->set_refused(response->refused() + report.refused);
          for (const RefusedLine& line : report.refused_lines) {
            if (response->refused_lines_size() == kImportRefusedListed) break;
            pb::RefusedLine* out = response->add_refused_lines();
            out->set_line(line.line);
            out->set_reason(line.reason);
          }
          return absl::OkStatus();
        },
        [] { return absl::OkStatus(); });
  }

  grpc::ServerUnaryReactor* Reset(grpc::CallbackServerContext* context,
                                  const pb::ResetRequest* request,
                                  pb::ResetResponse* response) override {
    return Answer(context, [this, request, response]() -> absl::Status {
      CHIMERA_ASSIGN_OR_RETURN(const int64_t deleted, memory->Reset(request->user()));
      response->set_entries_deleted(deleted);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Backup(grpc::CallbackServerContext* context,
                                   const pb::BackupRequest* request,
                                   pb::BackupResponse* response) override {
    return Answer(context, [this, request, response]() -> absl::Status {
      if (options.backup_dir.empty()) {
        return absl::FailedPreconditionError("this service was started without a backup folder");
      }
      const int keep = request->keep() == 0 ? kBackupsKeptDefault : request->keep();
      CHIMERA_ASSIGN_OR_RETURN(const BackupReport report, memory->Backup(options.backup_dir, keep));
      response->set_backup_id(report.backup_id);
      response->set_bytes(report.bytes);
      response->set_backups_kept(report.backups_kept);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Stats(grpc::CallbackServerContext* context,
                                  const pb::StatsRequest* request,
                                  pb::StatsResponse* response) override {
    return Answer(context, [this, request, response]() -> absl::Status {
      CHIMERA_ASSIGN_OR_RETURN(const MemoryStats stats, memory->Stats(request->user()));
      WriteStats(stats, response);
      return absl::OkStatus();
    });
  }

  absl::Status RememberBatch(const pb::RememberRequest& request, pb::RememberResponse* response) {
    std::vector<NewFact> facts;
    for (const pb::NewFact& one : request.facts()) {
      CHIMERA_RETURN_IF_ERROR(CheckLength(one.text(), "text"));
      CHIMERA_ASSIGN_OR_RETURN(NewFact fact, ReadNewFact(one));
      facts.push_back(std::move(fact));
    }
    CHIMERA_ASSIGN_OR_RETURN(const std::vector<RememberedFact> remembered,
                             memory->Remember(request.user(), facts));
    for (const RememberedFact& one : remembered) WriteRemembered(one, response->add_facts());
    return absl::OkStatus();
  }

  absl::Status RecallBatch(const pb::RecallRequest& request, pb::RecallResponse* response) {
    for (const std::string& query : request.queries()) {
      CHIMERA_RETURN_IF_ERROR(CheckLength(query, "query"));
    }
    RecallOptions recall;
    recall.k = request.limit() == 0 ? kRecallDefault : request.limit();
    if (request.has_similarity_min()) recall.similarity_min = request.similarity_min();
    recall.tags_any = request.tags_any();
    recall.with_sketches = request.with_sketches();
    const std::vector<std::string> queries(request.queries().begin(), request.queries().end());
    CHIMERA_ASSIGN_OR_RETURN(std::vector<std::vector<RecalledFact>> answers,
                             memory->Recall(request.user(), queries, recall));
    for (std::vector<RecalledFact>& answer : answers) {
      pb::RecalledFacts* const out = response->add_answers();
      for (RecalledFact& fact : answer) WriteRecalled(std::move(fact), out->add_facts());
    }
    if (response->ByteSizeLong() <= options.answer_bytes_max) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat("the answer to ", queries.size(), " queries has ", response->ByteSizeLong(),
                     " bytes, the limit is ", options.answer_bytes_max, "; ask for fewer"));
  }

  absl::Status ExportAll(const std::string& user,
                         const PourCall<pb::ExportResponse>::Send& send) const {
    pb::ExportResponse piece;
    const auto pour = [&] {
      pb::ExportResponse full;
      full.Swap(&piece);
      return send(std::move(full));
    };
    CHIMERA_RETURN_IF_ERROR(memory->Export(user, [&](std::string_view line) {
      piece.mutable_lines()->append(line).push_back('\n');
      return piece.lines().size() < kExportPieceBytes ? absl::OkStatus() : pour();
    }));
    return piece.lines().empty() ? absl::OkStatus() : pour();
  }

  absl::Status CheckLength(const std::string& text, const char* what) const {
    if (text.size() <= options.text_bytes_max) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        what, " has ", text.size(), " bytes, this server takes ", options.text_bytes_max));
  }

  LearningCalls Calls() const {
    return {.learning = learning,
            .text_bytes_max = options.text_bytes_max,
            .answer_bytes_max = options.answer_bytes_max};
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
  UserLearning* const learning;
  Executor executor;
};

MemoryServer::MemoryServer(Memory* memory, const MemoryServiceOptions& options,
                           UserLearning* learning)
    : impl_(std::make_unique<Impl>(memory, options, learning)) {}

MemoryServer::~MemoryServer() = default;

grpc::Service* MemoryServer::service() { return impl_.get(); }

}  // namespace chimera
