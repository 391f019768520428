// chimera bench: speeds on this machine, beside something measured in the same run (DESIGN D13).
#include "services/cli/bench.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/cpu.h"
#include "base/exec_context.h"
#include "cluster/metrics.h"
#include "services/cli/progress_line.h"

namespace chimera {
namespace {

constexpr size_t kCpuInfoBytesMax = 1 << 20;

}  // namespace

MachineInfo DescribeMachine() {
  MachineInfo machine;
  machine.cpu = "unknown CPU";
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  for (size_t read = 0; read < kCpuInfoBytesMax && std::getline(info, line); read += line.size()) {
    const size_t colon = line.find(": ");
    if (!line.starts_with("model name") || colon == std::string::npos) continue;
    machine.cpu = line.substr(colon + 2);
    break;
  }
  machine.cores = UsableCpus();
  machine.memory_mib =
      (static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE)) >> 20;
  return machine;
}

nlohmann::ordered_json MachineJson() {
  const MachineInfo machine = DescribeMachine();
  return {{"cpu", machine.cpu},
          {"cores", machine.cores},
          {"memory_mib", machine.memory_mib},
          {"instruction_set", IsaName(BestIsa())},
          {"version", BuildVersion()}};
}

nlohmann::ordered_json SpreadJson(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.least}, {"max", spread.most}};
}

std::string MachineLine() {
  const MachineInfo machine = DescribeMachine();
  return absl::StrCat("  ", machine.cpu, ", ", machine.cores, " cores, ",
                      CountText(machine.memory_mib), " MiB, ", IsaName(BestIsa()), ", chimera ",
                      BuildVersion());
}

void AddBench(CLI::App& app, Command* run) {
  CLI::App* bench = app.add_subcommand("bench", "Measure parts of the system on this machine");
  bench->require_subcommand(1);
  AddBenchTokenizer(*bench, run);
  AddBenchKernels(*bench, run);
  AddBenchKnot(*bench, run);
  AddBenchMemory(*bench, run);
}

}  // namespace chimera
