// A float parameter as ops see it.
#pragma once

namespace chimera {

// Value and gradient live in the caller's buffers, row-major.
struct FloatParam {
  const float* value = nullptr;
  float* grad = nullptr;  // added to
  int rows = 0;
  int cols = 0;
};

}  // namespace chimera
