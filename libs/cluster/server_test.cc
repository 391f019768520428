#include "cluster/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chimera/knot/v1/knot.grpc.pb.h"
#include "cluster/admin_http.h"
#include "cluster/remote_knot.h"
#include "httplib.h"

namespace chimera {
namespace {

using testing::HasSubstr;

TEST(Server, PicksAPortAndSaysWhenOneIsTaken) {
  knot::v1::KnotService::CallbackService service;
  knot::v1::KnotService::CallbackService other;
  const auto first = Server::Start({}, &service, "chimera.knot.v1.KnotService");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_GT((*first)->port(), 0);
  EXPECT_TRUE((*first)->serving());
  ServerOptions options;
  options.port = (*first)->port();
  const auto second = Server::Start(options, &other, "chimera.knot.v1.KnotService");
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(second.status().message(), HasSubstr((*first)->address()));
  (*first)->Drain();
  EXPECT_FALSE((*first)->serving());
  // The port is free again.
  EXPECT_TRUE(Server::Start(options, &other, "chimera.knot.v1.KnotService").ok());
}

TEST(Server, APublicBindNeedsLeave) {
  knot::v1::KnotService::CallbackService service;
  ServerOptions options;
  options.bind_address = "0.0.0.0";
  const auto refused = Server::Start(options, &service, "x");
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), HasSubstr("allow_insecure_bind"));
  options.allow_insecure_bind = true;
  EXPECT_TRUE(Server::Start(options, &service, "x").ok());
}

TEST(AdminHttp, ProbesFollowTheirFunctions) {
  std::string fault;
  AdminHttpOptions options;
  options.metrics_text = [] { return std::string("up 1\n"); };
  options.not_ready = [&fault] { return fault; };
  const auto admin = AdminHttp::Start(options);
  ASSERT_TRUE(admin.ok()) << admin.status();
  httplib::Client http("127.0.0.1", (*admin)->port());
  EXPECT_EQ(http.Get("/metrics")->body, "up 1\n");
  EXPECT_EQ(http.Get("/healthz")->status, 200);
  EXPECT_EQ(http.Get("/readyz")->status, 200);
  fault = "draining";
  EXPECT_EQ(http.Get("/readyz")->status, 503);
  EXPECT_EQ(http.Get("/readyz")->body, "draining\n");
  EXPECT_EQ(http.Get("/nothing")->status, 404);
  options.port = (*admin)->port();
  EXPECT_EQ(AdminHttp::Start(options).status().code(), absl::StatusCode::kUnavailable);
}

TEST(RemoteKnot, AnAbsentKnotIsNamed) {
  RemoteKnotOptions options;
  options.address = "127.0.0.1:1";
  options.connect_timeout_ms = 200;
  RemoteKnot knot(options);
  const absl::Status status = knot.CurrentModel().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("knot at 127.0.0.1:1"));
  EXPECT_THAT(status.message(), HasSubstr("chimera serve"));
}

}  // namespace
}  // namespace chimera
