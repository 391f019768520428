// chimera.memory.v1.MemoryService over a Memory. Reactions only hand over; disk work runs on the
// service's own threads (DESIGN D21).
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "memory/memory.h"
#include "memory/user_learning.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace chimera {

struct MemoryServiceOptions {
  int workers = 4;
  size_t queue_max = 256;                     // calls that may wait for a worker
  size_t text_bytes_max = kFactTextBytesMax;  // of a fact and of a query
  size_t answer_bytes_max = 3 << 20;          // of one message; a recall beyond is refused
  int stall_timeout_ms = 30000;               // a client that reads nothing loses its export
  std::string backup_dir;                     // empty: Backup is FAILED_PRECONDITION
};

// Must outlive the server it is registered with. Thread-safe.
class MemoryServer {
 public:
  // Both are borrowed. learning is what memory is learned with (LearnedMemory), or null: then
  // Cases, Guidelines and Entities are UNIMPLEMENTED.
  MemoryServer(Memory* memory, const MemoryServiceOptions& options,
               UserLearning* learning = nullptr);
  ~MemoryServer();

  grpc::Service* service();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace chimera
