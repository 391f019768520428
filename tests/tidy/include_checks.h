// Checks on who includes whom, and on what the build knows (DESIGN section 3).
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tidy/source_tree.h"

namespace chimera::tidy {

// One floor of the house: a library and what it may include directly.
struct Floor {
  std::string library;
  std::vector<std::string> may_include;
};

// The table, lowest floor first. A library may also include what its includes may include.
const std::vector<Floor>& Floors();

// The table closed under inclusion: library -> every library below it.
std::map<std::string, std::set<std::string>> Reachable(const std::vector<Floor>& floors);

// Includes between libraries that the table does not allow; libraries the table does not know;
// services that include another service's folder; libraries that include services or gRPC.
std::vector<Finding> CheckFloors(const std::vector<SourceFile>& files);

// Kernels (*_body.cc, *_avx2.cc, *_avx512.cc) and the headers they reach stay free of Abseil and
// GoogleTest: inline code of others compiled for AVX-512 must not be linked into code that runs
// elsewhere (DESIGN D2).
std::vector<Finding> CheckKernelIncludes(const std::vector<SourceFile>& files);

// x.cc includes x.h first, which proves that x.h compiles alone.
std::vector<Finding> CheckOwnHeaderFirst(const std::vector<SourceFile>& files);

// Every .cc is named by a CMakeLists.txt or bodies.cmake of its folder or of one above: a test
// nobody runs rots.
std::vector<Finding> CheckInBuild(const std::vector<SourceFile>& files);

}  // namespace chimera::tidy
