// The gRPC library's own lines, kept out of the way: what matters in them comes back as a status.
#pragma once

namespace chimera {

// Sends them to our log at debug level. Cheap to call again; thread-safe.
void RouteGrpcLog();

}  // namespace chimera
