#include "cluster/memory_report.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace chimera {

ResidentBytes ReadResidentBytes() {
  ResidentBytes out;
  std::FILE* file = std::fopen("/proc/self/status", "re");
  if (file == nullptr) return out;
  char line[256];
  while (std::fgets(line, sizeof(line), file) != nullptr) {
    long kib = 0;
    if (std::sscanf(line, "RssAnon: %ld kB", &kib) == 1) out.anonymous = int64_t{kib} * 1024;
    if (std::sscanf(line, "RssFile: %ld kB", &kib) == 1) out.file = int64_t{kib} * 1024;
  }
  std::fclose(file);
  return out;
}

void MemoryReport::Add(std::string component, bool anonymous, std::function<int64_t()> bytes) {
  MutexLock lock(&mutex_);
  parts_.push_back({std::move(component), anonymous, std::move(bytes)});
}

void MemoryReport::Collect(MetricsSink* sink) {
  std::vector<Part> parts;
  {
    MutexLock lock(&mutex_);
    parts = parts_;
  }
  int64_t other = ReadResidentBytes().anonymous;
  for (const Part& part : parts) {
    const int64_t bytes = part.bytes();
    if (part.anonymous) other -= bytes;
    sink->Gauge("chimera_memory_bytes", part.component, static_cast<double>(bytes));
  }
  // Parts count what was asked for; pages that nobody has touched yet are not resident.
  sink->Gauge("chimera_memory_bytes", "other", static_cast<double>(std::max<int64_t>(other, 0)));
}

}  // namespace chimera
