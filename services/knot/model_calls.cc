#include "services/knot/model_calls.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/status_macros.h"
#include "cluster/knot_proto.h"
#include "cluster/model_transfer.h"
#include "cluster/status_map.h"

namespace chimera {
namespace {

namespace pb = knot::v1;

// Reads the small files on the executor, then writes chunk after chunk from reactions.
class FetchCall final : public grpc::ServerWriteReactor<pb::FetchModelResponse> {
 public:
  FetchCall(LocalKnot* knot, Executor* executor, const std::string& model_id) {
    const auto posted = executor->Post([this, knot, model_id] { Load(knot, model_id); });
    if (!posted.ok()) Finish(ToGrpc(posted.status()));
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      WriteNext();
    } else {
      Finish(ToGrpc(absl::CancelledError("the client is gone")));
    }
  }
  void OnDone() override { delete this; }

 private:
  void Load(LocalKnot* knot, const std::string& model_id) {
    absl::StatusOr<std::vector<ModelFile>> files = knot->FetchModel(model_id);
    if (!files.ok()) {
      Finish(ToGrpc(files.status()));
      return;
    }
    files_ = *std::move(files);
    response_.set_model_id(model_id);
    WriteNext();
  }

  void WriteNext() {
    if (file_ == files_.size()) {
      Finish(grpc::Status::OK);
      return;
    }
    const ModelFile& file = files_[file_];
    const size_t n = std::min(kChunkBytesMax, file.bytes.size() - offset_);
    ModelChunk chunk{file.name, static_cast<int64_t>(file.bytes.size()),
                     file.bytes.substr(offset_, n)};
    offset_ += n;
    if (offset_ == file.bytes.size()) {
      chunk.sha256 = Sha256Hex(file.bytes);
      offset_ = 0;
      ++file_;
    }
    WriteChunk(&chunk, response_.mutable_chunk());
    StartWrite(&response_);
  }

  std::vector<ModelFile> files_;
  size_t file_ = 0;
  size_t offset_ = 0;
  pb::FetchModelResponse response_;
};

class PublishCall final : public grpc::ServerReadReactor<pb::PublishModelRequest> {
 public:
  PublishCall(LocalKnot* knot, Executor* executor, pb::PublishModelResponse* response)
      : knot_(knot), executor_(executor), response_(response) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    const auto posted = executor_->Post([this, ok] { ok ? Store() : Complete(); });
    if (!posted.ok()) Finish(ToGrpc(posted.status()));
  }
  void OnDone() override { delete this; }

 private:
  void Store() {
    const absl::Status status = StoreChunk();
    if (status.ok()) {
      StartRead(&request_);
    } else {
      Finish(ToGrpc(status));
    }
  }

  absl::Status StoreChunk() {
    if (receiver_ == nullptr) {
      if (knot_->data_dir().empty()) {
        return absl::FailedPreconditionError("this knot has no data folder to publish models to");
      }
      CHIMERA_ASSIGN_OR_RETURN(
          receiver_, ModelReceiver::Create(knot_->data_dir() + "/models", kModelBytesMax));
    }
    if (request_.chunk().name() == kWeightsFile) {
      CHIMERA_RETURN_IF_ERROR(knot_->CheckPublish(request_.chunk().file_bytes()));
    }
    return receiver_->Add(ReadChunk(request_.chunk()));
  }

  // The client sent everything, or is gone: then the digest is missing and nothing happens.
  void Complete() {
    const absl::Status status = Adopt();
    receiver_.reset();
    Finish(ToGrpc(status));
  }

  absl::Status Adopt() {
    if (receiver_ == nullptr) return absl::InvalidArgumentError("no chunk of a model was sent");
    CHIMERA_ASSIGN_OR_RETURN(const std::string folder, receiver_->Finish());
    response_->set_replaced_model_id(knot_->Info().model_id);
    CHIMERA_ASSIGN_OR_RETURN(const std::string id, knot_->Adopt(folder));
    response_->set_model_id(id);
    return absl::OkStatus();
  }

  LocalKnot* const knot_;
  Executor* const executor_;
  pb::PublishModelResponse* const response_;
  pb::PublishModelRequest request_;
  std::unique_ptr<ModelReceiver> receiver_;
};

}  // namespace

grpc::ServerWriteReactor<pb::FetchModelResponse>* StartFetch(LocalKnot* knot, Executor* executor,
                                                             const std::string& model_id) {
  return new FetchCall(knot, executor, model_id);
}

grpc::ServerReadReactor<pb::PublishModelRequest>* StartPublish(LocalKnot* knot, Executor* executor,
                                                               pb::PublishModelResponse* response) {
  return new PublishCall(knot, executor, response);
}

}  // namespace chimera
