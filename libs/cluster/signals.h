// SIGTERM and SIGINT as something to wait for, so that no code ever runs in a signal handler.
#pragma once

#include <functional>
#include <thread>

namespace chimera {

// Blocks both signals in this thread and in every thread it starts from here on. Call first thing.
void BlockShutdownSignals();

// Waits for one of them and returns its number. Needs BlockShutdownSignals.
int WaitForShutdownSignal();

// Calls on_signal on a thread of its own at the first signal; a second one ends the process with
// code 130. For commands that are busy elsewhere. One at a time; the destructor ends the thread.
class SignalWatch {
 public:
  explicit SignalWatch(std::function<void()> on_signal);
  ~SignalWatch();

 private:
  std::thread thread_;
};

}  // namespace chimera
