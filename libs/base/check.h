// Assertions for our own bugs. Anything the outside can cause is an absl::Status instead.
// Free of Abseil, so kernels may use it.
#pragma once

namespace chimera {
// Prints "file:line: check failed: expr" to standard error and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* expr);
}  // namespace chimera

#define CHIMERA_CHECK(cond) \
  (static_cast<bool>(cond) ? void(0) : ::chimera::CheckFailed(__FILE__, __LINE__, #cond))
#ifdef NDEBUG
#define CHIMERA_DCHECK(cond) void(0)
#else
#define CHIMERA_DCHECK(cond) CHIMERA_CHECK(cond)
#endif
