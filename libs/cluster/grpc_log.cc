#include "cluster/grpc_log.h"

#include <grpc/support/log.h>

#include <mutex>
#include <string>

#include "base/log.h"

namespace chimera {

void RouteGrpcLog() {
  static std::once_flag once;
  std::call_once(once, [] {
    gpr_set_log_function([](gpr_log_func_args* line) {
      Log(LogLevel::kDebug, std::string("grpc: ") + line->message);
    });
  });
}

}  // namespace chimera
