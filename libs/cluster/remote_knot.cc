#include "cluster/remote_knot.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "chimera/knot/v1/knot.grpc.pb.h"
#include "cluster/channel.h"
#include "cluster/class_table_cache.h"
#include "cluster/knot_proto.h"
#include "cluster/mask_cache.h"
#include "cluster/model_transfer.h"
#include "cluster/sketch_cache.h"
#include "cluster/status_map.h"

namespace chimera {
namespace {

namespace pb = knot::v1;

constexpr int64_t kFetchBytesMax = 128 << 20;
constexpr int kUnknownRoundsMax = 128;  // sketches and masks of one request, and some twice

}  // namespace

struct RemoteKnot::Impl {
  explicit Impl(const RemoteKnotOptions& options_in)
      : options(options_in),
        what(absl::StrCat("knot at ", options.address)),
        channel(MakeChannel(options.address)),
        stub(pb::KnotService::NewStub(channel)) {}

  // A deadline that is nearer than the connect timeout wins.
  absl::Status Connect(int64_t deadline_ns) {
    int timeout_ms = options.connect_timeout_ms;
    if (deadline_ns != 0) {
      const int64_t left_ms = (deadline_ns - Clock::Real().NowNs()) / 1000000;
      if (left_ms <= 0) return absl::DeadlineExceededError("the request's deadline passed");
      timeout_ms = static_cast<int>(std::min<int64_t>(timeout_ms, left_ms));
    }
    return WaitConnected(channel.get(), what, timeout_ms);
  }

  const RemoteKnotOptions options;
  const std::string what;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<pb::KnotService::Stub> stub;
};

namespace {

// One call is one slot. Destroying it ends the call and waits for the knot's word that the slot is
// free again, so that the next Open finds it.
class RemoteStream final : public KnotStream {
 public:
  RemoteStream(std::string what, pb::KnotService::Stub* stub, std::shared_ptr<void> keep_alive,
               int64_t deadline_ns, int timeout_ms)
      : what_(std::move(what)),
        stub_(stub),
        keep_alive_(std::move(keep_alive)),
        timeout_ms_(timeout_ms) {
    SetDeadline(&context_, deadline_ns, timeout_ms);
    call_ = stub->Stream(&context_);
  }

  ~RemoteStream() override {
    if (ended_) return;
    call_->WritesDone();
    pb::StreamResponse ignored;
    while (call_->Read(&ignored)) {
    }
    call_->Finish();
  }

  absl::Status Open(const std::string& model_id, int loops, const std::string& fork_token = "") {
    pb::StreamRequest request;
    request.mutable_open()->set_model_id(model_id);
    request.mutable_open()->set_loops(loops);
    request.mutable_open()->set_fork_token(fork_token);
    CHIMERA_ASSIGN_OR_RETURN(const pb::StreamResponse response, Exchange(request));
    if (!response.has_opened()) return Unexpected("opened");
    model_id_ = response.opened().model_id();
    return absl::OkStatus();
  }

  const std::string& model_id() const override { return model_id_; }

  absl::StatusOr<VerifyResult> Verify(const VerifyRequest& request) override {
    pb::StreamRequest message;
    WriteVerify(request, IdOf(request.transform.class_table), message.mutable_verify());
    // The knot may ask for each of them once, and again when other streams pushed it out.
    for (int round = 0; round < kUnknownRoundsMax; ++round) {
      CHIMERA_ASSIGN_OR_RETURN(const pb::StreamResponse response, Exchange(message));
      if (response.has_verified()) return ReadVerified(request, response.verified());
      if (response.has_unknown_sketch()) {
        CHIMERA_RETURN_IF_ERROR(PutSketch(request.fields, response.unknown_sketch().sketch_id()));
      } else if (response.has_unknown_mask()) {
        CHIMERA_RETURN_IF_ERROR(PutMask(request.nodes, response.unknown_mask().mask_id()));
      } else if (response.has_unknown_class_table()) {
        CHIMERA_RETURN_IF_ERROR(PutClassTable(response.unknown_class_table().class_table_id()));
      } else {
        break;
      }
    }
    return Unexpected("verified");
  }

  absl::StatusOr<NodeDistribution> MoreRows(int32_t node, int32_t first, int32_t count) override {
    pb::StreamRequest message;
    message.mutable_more_rows()->set_node(node);
    message.mutable_more_rows()->set_first(first);
    message.mutable_more_rows()->set_count(count);
    CHIMERA_ASSIGN_OR_RETURN(const pb::StreamResponse response, Exchange(message));
    if (!response.has_rows()) return Unexpected("rows");
    return ReadRows(response.rows());
  }

  absl::StatusOr<SnapshotInfo> TakeSnapshot(std::string_view surface) override {
    pb::StreamRequest message;
    message.mutable_take_snapshot()->set_surface_half(surface.data(), surface.size());
    CHIMERA_ASSIGN_OR_RETURN(const pb::StreamResponse response, Ask(message));
    if (!response.has_snapshot_taken()) return Unexpected("snapshot_taken");
    const pb::SnapshotTaken& taken = response.snapshot_taken();
    return SnapshotInfo{taken.snapshot_id(), taken.total_bytes(), taken.position()};
  }

  absl::StatusOr<std::string> ReadSnapshot(int id, int64_t offset) override {
    pb::StreamRequest message;
    message.mutable_read_snapshot()->set_snapshot_id(id);
    message.mutable_read_snapshot()->set_offset(offset);
    CHIMERA_ASSIGN_OR_RETURN(pb::StreamResponse response, Ask(message));
    if (!response.has_snapshot_chunk()) return Unexpected("snapshot_chunk");
    return std::move(*response.mutable_snapshot_chunk()->mutable_data());
  }

  absl::Status DropSnapshot(int id) override {
    pb::StreamRequest message;
    message.mutable_drop_snapshot()->set_snapshot_id(id);
    CHIMERA_ASSIGN_OR_RETURN(const pb::StreamResponse response, Ask(message));
    return response.has_snapshot_dropped() ? absl::OkStatus() : Unexpected("snapshot_dropped");
  }

  // The fork waits at the knot until a call of its own takes it over.
  absl::StatusOr<std::unique_ptr<KnotStream>> Fork(int64_t deadline_ns) override {
    pb::StreamRequest message;
    message.mutable_fork();
    CHIMERA_ASSIGN_OR_RETURN(const pb::StreamResponse response, Ask(message));
    if (!response.has_forked()) return Unexpected("forked");
    auto twin = std::make_unique<RemoteStream>(what_, stub_, keep_alive_, deadline_ns, timeout_ms_);
    CHIMERA_RETURN_IF_ERROR(twin->Open(model_id_, 0, response.forked().fork_token()));
    return twin;
  }

  absl::StatusOr<pb::StreamResponse> SendChunk(int64_t offset, std::string_view data) {
    pb::StreamRequest message;
    message.mutable_restore_chunk()->set_offset(offset);
    message.mutable_restore_chunk()->set_data(data.data(), data.size());
    CHIMERA_ASSIGN_OR_RETURN(pb::StreamResponse response, Exchange(message));
    if (response.has_restored()) {
      model_id_ = response.restored().model_id();
    } else if (!response.has_restore_progress()) {
      return Unexpected("restore_progress");
    }
    return response;
  }

  void Cancel() override { context_.TryCancel(); }

 private:
  // Exchange for requests that may be refused.
  absl::StatusOr<pb::StreamResponse> Ask(const pb::StreamRequest& request) {
    CHIMERA_ASSIGN_OR_RETURN(pb::StreamResponse response, Exchange(request));
    if (response.has_refused()) return ReadRefused(response.refused());
    return response;
  }

  absl::Status PutSketch(const SketchFieldSet& fields, uint64_t id) {
    for (const SketchField* field : {&fields.memory, &fields.grammar, &fields.debt}) {
      if (field->sketch == nullptr || SketchId(*field->sketch) != id) continue;
      pb::StreamRequest message;
      message.mutable_put_sketch()->set_sketch_id(id);
      const auto bytes = ToBytes(*field->sketch);
      message.mutable_put_sketch()->set_bits(bytes.data(), bytes.size());
      CHIMERA_ASSIGN_OR_RETURN(const pb::StreamResponse response, Exchange(message));
      return response.has_sketch_stored() ? absl::OkStatus() : Unexpected("sketch_stored");
    }
    return Unexpected("a sketch of the request");
  }

  absl::Status PutMask(const std::vector<VerifyNode>& nodes, uint64_t id) {
    for (const VerifyNode& node : nodes) {
      if (node.mask == nullptr || MaskId(*node.mask) != id) continue;
      pb::StreamRequest message;
      message.mutable_put_mask()->set_mask_id(id);
      message.mutable_put_mask()->set_bits(MaskBytes(*node.mask));
      CHIMERA_ASSIGN_OR_RETURN(const pb::StreamResponse response, Exchange(message));
      return response.has_mask_stored() ? absl::OkStatus() : Unexpected("mask_stored");
    }
    return Unexpected("a mask of the request");
  }

  // A stream keeps its table; it is hashed once.
  uint64_t IdOf(const std::shared_ptr<const ClassTable>& table) {
    if (table != class_table_) {
      class_table_ = table;
      class_table_id_ = table == nullptr ? 0 : ClassTableId(*table);
    }
    return class_table_id_;
  }

  absl::Status PutClassTable(uint64_t id) {
    if (class_table_ == nullptr || class_table_id_ != id) {
      return Unexpected("the class table of the request");
    }
    pb::StreamRequest message;
    message.mutable_put_class_table()->set_class_table_id(id);
    const std::string_view bytes = ClassTableBytes(*class_table_);
    message.mutable_put_class_table()->set_classes(bytes.data(), bytes.size());
    CHIMERA_ASSIGN_OR_RETURN(const pb::StreamResponse response, Exchange(message));
    return response.has_class_table_stored() ? absl::OkStatus() : Unexpected("class_table_stored");
  }

  absl::StatusOr<pb::StreamResponse> Exchange(const pb::StreamRequest& request) {
    CHIMERA_RETURN_IF_ERROR(broken_);
    pb::StreamResponse response;
    if (call_->Write(request) && call_->Read(&response)) return response;
    ended_ = true;
    const grpc::Status status = call_->Finish();
    broken_ = status.ok() ? absl::UnavailableError(absl::StrCat(what_, " ended the stream"))
                          : FromGrpc(status, what_);
    return broken_;
  }

  absl::Status Unexpected(const char* wanted) {
    broken_ = absl::InternalError(absl::StrCat(what_, " did not answer with \"", wanted, "\""));
    context_.TryCancel();
    return broken_;
  }

  const std::string what_;
  pb::KnotService::Stub* const stub_;
  const std::shared_ptr<void> keep_alive_;  // the stub
  const int timeout_ms_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<pb::StreamRequest, pb::StreamResponse>> call_;
  std::string model_id_;
  std::shared_ptr<const ClassTable> class_table_;  // of the last verify
  uint64_t class_table_id_ = 0;
  absl::Status broken_;
  bool ended_ = false;
};

// Sends the chunks as they come; the knot answers the last one with the stream.
class RemoteRestore final : public KnotRestore {
 public:
  explicit RemoteRestore(std::unique_ptr<RemoteStream> stream) : stream_(std::move(stream)) {}

  int64_t received_bytes() const override { return received_bytes_; }
  int64_t total_bytes() const override { return total_bytes_; }

  absl::Status Add(int64_t offset, std::string_view data) override {
    if (restored_.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("a restore chunk of ", data.size(), " bytes at ", offset,
                       " exceeds the snapshot's ", total_bytes_, " bytes"));
    }
    CHIMERA_ASSIGN_OR_RETURN(const pb::StreamResponse response, stream_->SendChunk(offset, data));
    received_bytes_ = offset + static_cast<int64_t>(data.size());
    total_bytes_ = received_bytes_;
    if (response.has_restored()) {
      restored_ = response.restored();
    } else {
      total_bytes_ = response.restore_progress().total_bytes();
    }
    return absl::OkStatus();
  }

  absl::StatusOr<RestoredStream> Finish() override {
    if (!restored_.has_value()) {
      return absl::DataLossError(absl::StrCat("snapshot: has ", received_bytes_,
                                              " bytes but its header declares ", total_bytes_));
    }
    return RestoredStream{std::move(stream_), restored_->position(), restored_->loops(),
                          restored_->surface_half()};
  }

 private:
  std::unique_ptr<RemoteStream> stream_;
  int64_t received_bytes_ = 0;
  int64_t total_bytes_ = 0;
  std::optional<pb::Restored> restored_;
};

}  // namespace

RemoteKnot::RemoteKnot(const RemoteKnotOptions& options) : impl_(std::make_shared<Impl>(options)) {}

RemoteKnot::~RemoteKnot() = default;

absl::StatusOr<KnotModelInfo> RemoteKnot::CurrentModel() {
  CHIMERA_RETURN_IF_ERROR(impl_->Connect(0));
  grpc::ClientContext context;
  SetDeadline(&context, 0, impl_->options.call_timeout_ms);
  pb::GetModelResponse response;
  CHIMERA_RETURN_IF_ERROR(
      FromGrpc(impl_->stub->GetModel(&context, pb::GetModelRequest(), &response), impl_->what));
  return ReadModelInfo(response);
}

absl::StatusOr<std::unique_ptr<KnotStream>> RemoteKnot::Open(const std::string& model_id,
                                                             int64_t deadline_ns, int loops) {
  CHIMERA_RETURN_IF_ERROR(impl_->Connect(deadline_ns));
  auto stream = std::make_unique<RemoteStream>(impl_->what, impl_->stub.get(), impl_, deadline_ns,
                                               impl_->options.stream_timeout_ms);
  CHIMERA_RETURN_IF_ERROR(stream->Open(model_id, loops));
  return stream;
}

absl::StatusOr<std::unique_ptr<KnotRestore>> RemoteKnot::Restore(std::string_view first,
                                                                 int64_t deadline_ns) {
  CHIMERA_RETURN_IF_ERROR(impl_->Connect(deadline_ns));
  auto restore = std::make_unique<RemoteRestore>(std::make_unique<RemoteStream>(
      impl_->what, impl_->stub.get(), impl_, deadline_ns, impl_->options.stream_timeout_ms));
  CHIMERA_RETURN_IF_ERROR(restore->Add(0, first));
  return restore;
}

absl::StatusOr<std::vector<ModelFile>> RemoteKnot::FetchModel(const std::string& model_id) {
  CHIMERA_RETURN_IF_ERROR(impl_->Connect(0));
  grpc::ClientContext context;
  SetDeadline(&context, 0, impl_->options.call_timeout_ms);
  pb::FetchModelRequest request;
  request.set_model_id(model_id);
  const auto reader = impl_->stub->FetchModel(&context, request);
  FileCollector collector(kFetchBytesMax);
  pb::FetchModelResponse response;
  while (reader->Read(&response)) {
    const absl::Status status = collector.Add(ReadChunk(response.chunk()));
    if (!status.ok()) {
      context.TryCancel();
      reader->Finish();
      return status;
    }
  }
  CHIMERA_RETURN_IF_ERROR(FromGrpc(reader->Finish(), impl_->what));
  CHIMERA_ASSIGN_OR_RETURN(auto files, collector.Finish());
  std::vector<ModelFile> out;
  for (auto& [name, bytes] : files) out.push_back({name, std::move(bytes)});
  return out;
}

absl::StatusOr<std::string> RemoteKnot::Publish(const std::string& folder) {
  CHIMERA_ASSIGN_OR_RETURN(ModelSender sender, ModelSender::Open(folder, ModelFileNames()));
  CHIMERA_RETURN_IF_ERROR(impl_->Connect(0));
  grpc::ClientContext context;
  SetDeadline(&context, 0, impl_->options.publish_timeout_ms);
  pb::PublishModelResponse response;
  const auto writer = impl_->stub->PublishModel(&context, &response);
  ModelChunk chunk;
  while (sender.Next(&chunk)) {
    pb::PublishModelRequest request;
    WriteChunk(&chunk, request.mutable_chunk());
    if (!writer->Write(request)) break;  // Finish says why
  }
  writer->WritesDone();
  CHIMERA_RETURN_IF_ERROR(FromGrpc(writer->Finish(), impl_->what));
  return response.model_id();
}

}  // namespace chimera
