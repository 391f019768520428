#include "cluster/channel.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "cluster/grpc_log.h"

namespace chimera {

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  RouteGrpcLog();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Try again soon: most often it is our own service starting up.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // Own connections: one client's trouble or destruction never touches another's.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

absl::Status WaitConnected(grpc::Channel* channel, const std::string& what, int timeout_ms) {
  const auto until = std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms);
  if (channel->WaitForConnected(until)) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(what, " did not answer within ", timeout_ms,
                                             " ms; is it running (chimera serve)?"));
}

void SetDeadline(grpc::ClientContext* context, int64_t deadline_ns, int timeout_ms) {
  int64_t left_ns = int64_t{timeout_ms} * 1000000;
  if (deadline_ns != 0) left_ns = deadline_ns - Clock::Real().NowNs();
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::microseconds(std::max<int64_t>(left_ns, 0) / 1000));
}

}  // namespace chimera
