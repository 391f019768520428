// The surface service as the command line sees it: the same events as a completion in process.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "cluster/completer.h"

namespace chimera {

// Calls run on the caller's thread. Thread-safe.
class SurfaceClient {
 public:
  // Connects on first use; waits for a service that is still starting.
  SurfaceClient(std::string address, int timeout_ms);

  // CompletionStart::tokenizer stays null: the client has none.
  absl::StatusOr<CompletionEnd> Complete(const CompletionRequest& request, CompletionSink* sink,
                                         CancelToken* cancel);

 private:
  const std::string address_;
  const int timeout_ms_;
};

}  // namespace chimera
