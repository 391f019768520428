// Early return on absl::Status, the only error channel of the project (STYLE.md, "The hand").
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns the status from the enclosing function unless it is OK.
#define CHIMERA_RETURN_IF_ERROR(expr)                                   \
  do {                                                                  \
    if (absl::Status chimera_status_ = (expr); !chimera_status_.ok()) { \
      return chimera_status_;                                           \
    }                                                                   \
  } while (false)

#define CHIMERA_STATUS_CONCAT_(a, b) a##b
#define CHIMERA_STATUS_CONCAT(a, b) CHIMERA_STATUS_CONCAT_(a, b)

// CHIMERA_ASSIGN_OR_RETURN(auto x, Call()): declares x from the value, or returns the error.
#define CHIMERA_ASSIGN_OR_RETURN(lhs, expr) \
  CHIMERA_ASSIGN_OR_RETURN_(CHIMERA_STATUS_CONCAT(chimera_or_, __LINE__), lhs, expr)
#define CHIMERA_ASSIGN_OR_RETURN_(var, lhs, expr) \
  auto var = (expr);                              \
  if (!var.ok()) return std::move(var).status();  \
  lhs = *std::move(var)
