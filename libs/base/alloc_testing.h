// Counts every operator new of the test binary that links this library. Thread-safe.
#pragma once

namespace chimera {

// Allocations of this process so far.
long Allocations();

}  // namespace chimera
