#include "cluster/status_map.h"

#include <grpcpp/support/status.h>

#include "absl/strings/str_cat.h"

namespace chimera {
namespace {

constexpr size_t kMessageBytesMax = 4096;

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string message(status.message().data(), status.message().size());
  if (message.size() > kMessageBytesMax) message.resize(kMessageBytesMax);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message);
}

absl::Status FromGrpc(const grpc::Status& status, const std::string& peer) {
  if (status.ok()) return absl::OkStatus();
  const int code = status.error_code();
  if (code < 0 || code > 16) return absl::UnknownError(status.error_message());
  if (code == grpc::StatusCode::UNAVAILABLE && !peer.empty()) {
    return absl::UnavailableError(absl::StrCat(peer, " is not reachable: ", status.error_message(),
                                               "; is it running (chimera serve)?"));
  }
  return absl::Status(static_cast<absl::StatusCode>(code), status.error_message());
}

const char* StatusCodeLabel(absl::StatusCode code) {
  static constexpr const char* kNames[] = {"OK",
                                           "CANCELLED",
                                           "UNKNOWN",
                                           "INVALID_ARGUMENT",
                                           "DEADLINE_EXCEEDED",
                                           "NOT_FOUND",
                                           "ALREADY_EXISTS",
                                           "PERMISSION_DENIED",
                                           "RESOURCE_EXHAUSTED",
                                           "FAILED_PRECONDITION",
                                           "ABORTED",
                                           "OUT_OF_RANGE",
                                           "UNIMPLEMENTED",
                                           "INTERNAL",
                                           "UNAVAILABLE",
                                           "DATA_LOSS",
                                           "UNAUTHENTICATED"};
  const int i = static_cast<int>(code);
  return i >= 0 && i <= 16 ? kNames[i] : "UNKNOWN";
}

}  // namespace chimera
