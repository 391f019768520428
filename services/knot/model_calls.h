// FetchModel and PublishModel calls. Internal to services/knot. The reactors own themselves.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <string>

#include "chimera/knot/v1/knot.pb.h"
#include "cluster/executor.h"
#include "cluster/local_knot.h"

namespace chimera {

grpc::ServerWriteReactor<knot::v1::FetchModelResponse>* StartFetch(LocalKnot* knot,
                                                                   Executor* executor,
                                                                   const std::string& model_id);

// Chunks go to disk one by one on the executor; the next is read when the last is written.
grpc::ServerReadReactor<knot::v1::PublishModelRequest>* StartPublish(
    LocalKnot* knot, Executor* executor, knot::v1::PublishModelResponse* response);

}  // namespace chimera
