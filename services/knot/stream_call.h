// One Stream call: one slot of the knot. Internal to services/knot.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>

#include "base/mutex.h"
#include "chimera/knot/v1/knot.pb.h"
#include "cluster/executor.h"
#include "cluster/knot_proto.h"
#include "decode/knot.h"
#include "services/knot/parked_forks.h"

namespace chimera {

// Reads a request, answers it on the executor, writes the response, reads on. Lives until OnDone
// and until its last task is over, whichever is later. Operations start under the lock, so that
// none follows Finish; the library never runs a reaction inside the call that starts one.
// Thread-safe.
class StreamCall final
    : public grpc::ServerBidiReactor<knot::v1::StreamRequest, knot::v1::StreamResponse>,
      public std::enable_shared_from_this<StreamCall> {
 public:
  // All borrowed; the caches and the forks are shared by the streams of a process.
  StreamCall(Knot* knot, KnotCaches* caches, ParkedForks* forks, Executor* executor,
             int64_t deadline_ns)
      : knot_(knot),
        caches_(caches),
        forks_(forks),
        executor_(executor),
        deadline_ns_(deadline_ns) {}

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
  absl::Status Verify(const knot::v1::Verify& in, knot::v1::StreamResponse* response);
  // Content that is known by its hash from then on.
  absl::Status Store(const knot::v1::StreamRequest& request, knot::v1::StreamResponse* response);
  absl::Status Open(const knot::v1::Open& open, knot::v1::StreamResponse* response);
  absl::StatusOr<std::unique_ptr<KnotStream>> OpenOrClaim(const knot::v1::Open& open);
  // snapshot_requests.cc. False when it is another request; a refusal goes into the response.
  bool AnswerSnapshotRequest(const knot::v1::StreamRequest& request,
                             knot::v1::StreamResponse* response);
  absl::Status TakeSnapshot(const knot::v1::TakeSnapshot& take, knot::v1::StreamResponse* response);
  absl::Status ReadSnapshot(const knot::v1::ReadSnapshot& read, knot::v1::StreamResponse* response);
  absl::Status Fork(knot::v1::StreamResponse* response);
  absl::Status Restore(const knot::v1::RestoreChunk& chunk, knot::v1::StreamResponse* response);
  // From here on the call is this stream.
  void Keep(std::unique_ptr<KnotStream> stream);
  void End(const absl::Status& status);

  Knot* const knot_;
  KnotCaches* const caches_;
  ParkedForks* const forks_;
  Executor* const executor_;
  const int64_t deadline_ns_;
  std::shared_ptr<StreamCall> self_;  // dropped in OnDone
  knot::v1::StreamRequest request_;   // owned by the step in flight: read, task or write
  knot::v1::StreamResponse response_;

  Mutex mutex_;
  std::unique_ptr<KnotStream> stream_;         // replaced only by a task or in End
  std::unique_ptr<KnotRestore> restore_;       // the same; before there is a stream
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;  // a task uses stream_
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;  // Finish was called
};

}  // namespace chimera
