#include "cluster/status_map.h"

#include <gmock/gmock.h>
#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

namespace chimera {
namespace {

TEST(StatusMap, EveryCodeThereAndBack) {
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), code == 0 ? "" : "why");
    const grpc::Status wire = ToGrpc(status);
    EXPECT_EQ(wire.error_code(), code);
    EXPECT_EQ(FromGrpc(wire), status);
  }
}

TEST(StatusMap, UnavailableNamesThePeer) {
  const absl::Status status =
      FromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "refused"), "knot at 127.0.0.1:7401");
  EXPECT_EQ(status.message(),
            "knot at 127.0.0.1:7401 is not reachable: refused; is it running (chimera serve)?");
  EXPECT_EQ(FromGrpc(grpc::Status(grpc::StatusCode::NOT_FOUND, "no"), "knot").message(), "no");
}

TEST(StatusMap, LongMessagesAreCut) {
  EXPECT_EQ(ToGrpc(absl::InternalError(std::string(100000, 'x'))).error_message().size(), 4096u);
}

TEST(StatusMap, LabelsStayInTheSet) {
  EXPECT_STREQ(StatusCodeLabel(absl::StatusCode::kOk), "OK");
  EXPECT_STREQ(StatusCodeLabel(absl::StatusCode::kUnauthenticated), "UNAUTHENTICATED");
  EXPECT_STREQ(StatusCodeLabel(static_cast<absl::StatusCode>(77)), "UNKNOWN");
}

}  // namespace
}  // namespace chimera
