// The deadline of a call that a server is answering.
#pragma once

#include <chrono>
#include <cstdint>

namespace chimera {

// grpc's wall-clock deadline on Clock::Real(); default_ms from now when the client set none.
int64_t ServerDeadlineNs(std::chrono::system_clock::time_point deadline, int default_ms);

}  // namespace chimera
