// Runs the jobs of a folder until it is killed: jobs_crash_child FOLDER. Used by jobs_crash_test.
#include <chrono>
#include <cstdio>

#include "train/jobs_testing.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  auto runner = chimera::JobRunner::Create(chimera::JobsTestOptions(argv[1]));
  if (!runner.ok()) return 1;
  uint64_t seen = 0;
  while ((*runner)->CountJobs().queued + (*runner)->CountJobs().running > 0) {
    seen = (*runner)->WaitForChange(seen, std::chrono::milliseconds(1000));
  }
  return 0;
}
