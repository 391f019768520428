// The verbs below `chimera memory`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cluster/remote_memory.h"
#include "services/cli/commands.h"

namespace chimera {

struct MemoryFlags {
  std::string target = "127.0.0.1:7402";
  std::string user;
  std::string text;   // a fact, a query, a fact id, a file or a folder
  std::string about;  // of a fact
  std::string subject, predicate, object;
  std::string path;              // of the store that restore makes
  std::string plan, tags;        // of a case
  std::string action, rule;      // of a guideline
  std::string role;              // of an entity's filler
  std::string number, gender;    // of an entity; empty: any
  std::vector<std::string> ids;  // of guidelines
  double outcome = 0, share = 1, delta = -1;
  int cases = 4;
  int limit = 8;
  int keep = 7;
  bool all = false;
  bool yes = false;
  bool json = false;
};

inline constexpr const char* kMemoryUserHelp = "Whose facts: 1 to 64 characters of [A-Za-z0-9_.-]";

RemoteMemoryOptions MemoryTarget(const MemoryFlags& flags);
RemoteMemory ConnectMemory(const MemoryFlags& flags);
// One verb, with --target and --json.
CLI::App* AddMemoryVerb(CLI::App* memory, Command* run, const std::shared_ptr<MemoryFlags>& flags,
                        const char* name, const char* help,
                        absl::Status (*verb)(const MemoryFlags&));

// relate, related, export, import, reset, backup, restore.
void AddMemoryStore(CLI::App* memory, Command* run, const std::shared_ptr<MemoryFlags>& flags);
// case, guideline, entity.
void AddMemoryLearning(CLI::App* memory, Command* run, const std::shared_ptr<MemoryFlags>& flags);

}  // namespace chimera
