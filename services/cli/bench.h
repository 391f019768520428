// What the benches share: the machine's description, and the registration of each.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "services/cli/commands.h"
#include "ternary/products_bench.h"

namespace chimera {

struct MachineInfo {
  std::string cpu;
  int cores = 0;
  int64_t memory_mib = 0;
};

// CPU model, usable cores and memory; never a host name or a path (DESIGN D13).
MachineInfo DescribeMachine();
// The same with the instruction set and the version of this program.
nlohmann::ordered_json MachineJson();
nlohmann::ordered_json SpreadJson(const Spread& spread);
// "  AMD EPYC, 2 cores, 24,000 MiB, avx512, chimera 0.3.0", the last line of a bench.
std::string MachineLine();

void AddBenchTokenizer(CLI::App& bench, Command* run);
void AddBenchKernels(CLI::App& bench, Command* run);
void AddBenchKnot(CLI::App& bench, Command* run);
void AddBenchMemory(CLI::App& bench, Command* run);

}  // namespace chimera
