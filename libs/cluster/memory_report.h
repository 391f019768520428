// Where the process's memory is, for chimera_memory_bytes{component}: the parts that somebody
// counts, and the rest of its anonymous memory as "other".
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/metrics_sink.h"
#include "base/mutex.h"

namespace chimera {

// Memory of this process that no file backs, and pages of files it maps; bytes, 0 when /proc does
// not say.
struct ResidentBytes {
  int64_t anonymous = 0;
  int64_t file = 0;
};
ResidentBytes ReadResidentBytes();

// Thread-safe; bytes functions run at every scrape and must not block.
class MemoryReport {
 public:
  // anonymous: the bytes are part of the process's anonymous memory, not mapped from a file.
  void Add(std::string component, bool anonymous, std::function<int64_t()> bytes);
  // Gauges of all parts and of "other".
  void Collect(MetricsSink* sink);

 private:
  struct Part {
    std::string component;
    bool anonymous = true;
    std::function<int64_t()> bytes;
  };
  Mutex mutex_;
  std::vector<Part> parts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace chimera
