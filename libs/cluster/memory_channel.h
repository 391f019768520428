// A memory service on the other side of a channel: what its clients share. Internal to
// libs/cluster.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "chimera/memory/v1/memory.grpc.pb.h"
#include "cluster/channel.h"
#include "cluster/remote_memory.h"
#include "cluster/status_map.h"

namespace chimera {

// Errors name the address. Thread-safe.
struct MemoryChannel {
  using Stub = memory::v1::MemoryService::Stub;

  explicit MemoryChannel(const RemoteMemoryOptions& options_in)
      : options(options_in),
        what(absl::StrCat("memory at ", options.address)),
        channel(MakeChannel(options.address)),
        stub(memory::v1::MemoryService::NewStub(channel)) {}

  absl::Status Connect() const {
    return WaitConnected(channel.get(), what, options.connect_timeout_ms);
  }

  // timeout_ms 0: that of the options.
  template <typename Request, typename Response>
  absl::Status Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response, int timeout_ms = 0) const {
    CHIMERA_RETURN_IF_ERROR(Connect());
    grpc::ClientContext context;
    SetDeadline(&context, 0, timeout_ms > 0 ? timeout_ms : options.call_timeout_ms);
    return FromGrpc((stub.get()->*method)(&context, request, response), what);
  }

  // A stream of one batch.
  template <typename Request, typename Response>
  absl::Status CallOne(std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> (Stub::*method)(
                           grpc::ClientContext*),
                       const Request& request, Response* response) const {
    CHIMERA_RETURN_IF_ERROR(Connect());
    grpc::ClientContext context;
    SetDeadline(&context, 0, options.call_timeout_ms);
    const auto stream = (stub.get()->*method)(&context);
    stream->Write(request);  // Finish says what went wrong
    stream->WritesDone();
    const bool answered = stream->Read(response);
    CHIMERA_RETURN_IF_ERROR(FromGrpc(stream->Finish(), what));
    return answered ? absl::OkStatus()
                    : absl::InternalError(absl::StrCat(what, " ended a call without an answer"));
  }

  absl::Status CheckCount(int got, size_t wanted) const {
    if (static_cast<size_t>(got) == wanted) return absl::OkStatus();
    return absl::InternalError(
        absl::StrCat(what, " gave ", got, " answers to ", wanted, " questions"));
  }

  const RemoteMemoryOptions options;
  const std::string what;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<Stub> stub;
};

}  // namespace chimera
