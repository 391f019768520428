#include "cluster/process_stats.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <iterator>
#include <system_error>

#include "base/clock.h"
#include "base/mutex.h"

namespace chimera {
namespace {

double CpuSeconds() {
  struct rusage usage {};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto seconds = [](const struct timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Seconds since 1970 at which the process started, as far as this library can tell: its own load.
const double kStartSeconds = static_cast<double>(Clock::Real().WallMs()) * 1e-3;

}  // namespace

void CollectProcessStats(MetricsSink* sink) {
  // The counter takes increments; two scrapes at once must not both add the same second.
  static Mutex mutex;
  static double reported = 0;
  {
    MutexLock lock(&mutex);
    const double now = CpuSeconds();
    sink->Count("process_cpu_seconds_total", "", now - reported);
    reported = now;
  }
  if (std::FILE* file = std::fopen("/proc/self/statm", "re"); file != nullptr) {
    long size = 0;
    long resident = 0;
    if (std::fscanf(file, "%ld %ld", &size, &resident) == 2) {
      const double page = static_cast<double>(::sysconf(_SC_PAGESIZE));
      sink->Gauge("process_virtual_memory_bytes", "", static_cast<double>(size) * page);
      sink->Gauge("process_resident_memory_bytes", "", static_cast<double>(resident) * page);
    }
    std::fclose(file);
  }
  sink->Gauge("process_start_time_seconds", "", kStartSeconds);
  std::error_code error;
  const auto fds = std::filesystem::directory_iterator("/proc/self/fd", error);
  if (!error) {
    sink->Gauge("process_open_fds", "",
                static_cast<double>(std::distance(begin(fds), std::filesystem::end(fds))));
  }
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    sink->Gauge("process_max_fds", "", static_cast<double>(limit.rlim_cur));
  }
}

}  // namespace chimera
