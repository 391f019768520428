// Client side of every connection of ours: keepalive, limits, no proxies, one way to wait.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"

namespace grpc {
class Channel;
class ClientContext;
}  // namespace grpc

namespace chimera {

// Connects lazily and again by itself. address is HOST:PORT.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address);

// Waits until the channel is connected, so that a service that is still starting is no error;
// UNAVAILABLE after timeout_ms, naming what and where, and what to do about it.
absl::Status WaitConnected(grpc::Channel* channel, const std::string& what, int timeout_ms);

// Every call has a deadline: deadline_ns on Clock::Real(), or timeout_ms from now when it is 0.
void SetDeadline(grpc::ClientContext* context, int64_t deadline_ns, int timeout_ms);

}  // namespace chimera
