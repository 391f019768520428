// One Stream call: one slot of the knot. Internal to services/knot.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>

#include "base/mutex.h"
#include "chimera/knot/v1/knot.pb.h"
#include "cluster/executor.h"
#include "cluster/sketch_cache.h"
#include "decode/knot.h"

namespace chimera {

// Reads a request, answers it on the executor, writes the response, reads on. Lives until OnDone
// and until its last task is over, whichever is later. Operations start under the lock, so that
// none follows Finish; the library never runs a reaction inside the call that starts one.
// Thread-safe.
class StreamCall final
    : public grpc::ServerBidiReactor<knot::v1::StreamRequest, knot::v1::StreamResponse>,
      public std::enable_shared_from_this<StreamCall> {
 public:
  // All borrowed; the sketches are shared by the streams of a process.
  StreamCall(Knot* knot, SketchCache* sketches, Executor* executor, int64_t deadline_ns)
      : knot_(knot), sketches_(sketches), executor_(executor), deadline_ns_(deadline_ns) {}

  // Call once, before the reactor is returned to the library.
  void Begin();
  // Ends the call when its deadline has passed, also while it is idle. True when it has ended.
  bool EndIfExpired(int64_t now_ns);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  void Handle();
  absl::Status Answer(const knot::v1::StreamRequest& request, knot::v1::StreamResponse* response);
  absl::Status Open(const knot::v1::Open& open, knot::v1::StreamResponse* response);
  void End(const absl::Status& status);

  Knot* const knot_;
  SketchCache* const sketches_;
  Executor* const executor_;
  const int64_t deadline_ns_;
  std::shared_ptr<StreamCall> self_;  // dropped in OnDone
  knot::v1::StreamRequest request_;   // owned by the step in flight: read, task or write
  knot::v1::StreamResponse response_;

  Mutex mutex_;
  std::unique_ptr<KnotStream> stream_;         // replaced only by a task or in End
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;  // a task uses stream_
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;  // Finish was called
};

}  // namespace chimera
