#include "cluster/remote_knot.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "chimera/knot/v1/knot.grpc.pb.h"
#include "cluster/channel.h"
#include "cluster/knot_proto.h"
#include "cluster/model_transfer.h"
#include "cluster/sketch_cache.h"
#include "cluster/status_map.h"

namespace chimera {
namespace {

namespace pb = knot::v1;

constexpr int64_t kFetchBytesMax = 128 << 20;
constexpr int kSketchRoundsMax = 16;

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
      : what_(std::move(what)), keep_alive_(std::move(keep_alive)) {
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

  absl::Status Open(const std::string& model_id, int loops) {
    pb::StreamRequest request;
    request.mutable_open()->set_model_id(model_id);
    request.mutable_open()->set_loops(loops);
    CHIMERA_ASSIGN_OR_RETURN(const pb::StreamResponse response, Exchange(request));
    if (!response.has_opened()) return Unexpected("opened");
    model_id_ = response.opened().model_id();
    return absl::OkStatus();
  }

  const std::string& model_id() const override { return model_id_; }

  absl::StatusOr<VerifyResult> Verify(const VerifyRequest& request) override {
    pb::StreamRequest message;
    WriteVerify(request, message.mutable_verify());
    // The knot may ask for each field once, and again when other streams pushed it out.
    for (int round = 0; round < kSketchRoundsMax; ++round) {
      CHIMERA_ASSIGN_OR_RETURN(const pb::StreamResponse response, Exchange(message));
      if (response.has_verified()) return ReadVerified(response.verified());
      if (!response.has_unknown_sketch()) break;
      CHIMERA_RETURN_IF_ERROR(PutSketch(request.fields, response.unknown_sketch().sketch_id()));
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

  void Cancel() override { context_.TryCancel(); }

 private:
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
  const std::shared_ptr<void> keep_alive_;  // the stub
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<pb::StreamRequest, pb::StreamResponse>> call_;
  std::string model_id_;
  absl::Status broken_;
  bool ended_ = false;
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
