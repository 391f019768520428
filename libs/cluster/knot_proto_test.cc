#include "cluster/knot_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "chimera/knot/v1/knot.pb.h"

namespace chimera {
namespace {

using testing::HasSubstr;

VerifyRequest Chain(int n, bool want_surprise) {
  VerifyRequest request;
  request.want_surprise = want_surprise;
  for (int i = 0; i < n; ++i) request.nodes.push_back({.parent = i - 1, .token_id = i});
  return request;
}

TEST(KnotProto, AskingForSurprisesTravels) {
  KnotCaches caches;
  UnknownContent unknown;
  for (const bool want : {false, true}) {
    knot::v1::Verify wire;
    WriteVerify(Chain(3, want), 0, &wire);
    const auto read = ReadVerify(wire, &caches, &unknown);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->want_surprise, want);
  }
}

TEST(KnotProto, SurprisesTravelOneForEachNodeOrNone) {
  VerifyResult result;
  result.surprises = {0.0f, 1.5f, 3e30f};
  knot::v1::Verified wire;
  WriteVerified(result, &wire);
  const auto read = ReadVerified(Chain(3, true), wire);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->surprises, result.surprises);
  EXPECT_TRUE(ReadVerified(Chain(3, true), knot::v1::Verified())->surprises.empty());

  const auto refused = [&](const VerifyRequest& request) {
    const absl::Status status = ReadVerified(request, wire).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(refused(Chain(3, false)), HasSubstr("3 surprises, 0 were asked for"));
  EXPECT_THAT(refused(Chain(4, true)), HasSubstr("3 surprises, 4 were asked for"));
  EXPECT_THAT(refused(Chain(2, true)), HasSubstr("3 surprises, 2 were asked for"));
  using Limits = std::numeric_limits<float>;
  for (const float hostile : {-1.0f, Limits::quiet_NaN(), Limits::infinity()}) {
    wire.set_surprises(1, hostile);
    EXPECT_THAT(refused(Chain(3, true)), HasSubstr("which is no norm")) << hostile;
  }
}

}  // namespace
}  // namespace chimera
