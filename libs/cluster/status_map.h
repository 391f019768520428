// absl::Status on our side, grpc::Status on the wire. The canonical codes have the same numbers, so
// the map is one to one. Functions are pure.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace grpc {
class Status;
}  // namespace grpc

namespace chimera {

// Message and code are kept; the message is cut to 4 KiB (it travels in an HTTP/2 header).
grpc::Status ToGrpc(const absl::Status& status);

// peer, when given, names who answered. UNAVAILABLE then reads "knot at 127.0.0.1:7401 is not
// reachable: ...; is it running (chimera serve)?".
absl::Status FromGrpc(const grpc::Status& status, const std::string& peer = "");

// "OK", "INVALID_ARGUMENT", ...; never another value, so it may be a metric label.
const char* StatusCodeLabel(absl::StatusCode code);

}  // namespace chimera
