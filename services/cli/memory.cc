// chimera memory: facts of a user in a running memory service.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cluster/remote_memory.h"
#include "cluster/signals.h"
#include "services/cli/commands.h"
#include "services/cli/print_json.h"
#include "services/cli/progress_line.h"

namespace chimera {
namespace {

using nlohmann::ordered_json;

struct MemoryFlags {
  std::string target = "127.0.0.1:7402";
  std::string user;
  std::string text;  // a fact, a query or a fact id
  int limit = 8;
  bool all = false;
  bool json = false;
};

RemoteMemory Connect(const MemoryFlags& flags) {
  RemoteMemoryOptions options;
  options.address = flags.target;
  options.connect_timeout_ms = 5000;
  return RemoteMemory(options);
}

// "-" reads standard input, a byte more than any fact may have.
std::string TextOf(const MemoryFlags& flags) {
  if (flags.text != "-") return flags.text;
  std::string text(kFactTextBytesMax + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), stdin));
  return text;
}

absl::Status RunPut(const MemoryFlags& flags) {
  RemoteMemory memory = Connect(flags);
  CHIMERA_ASSIGN_OR_RETURN(const RememberedFact fact, memory.Remember(flags.user, TextOf(flags)));
  if (flags.json) {
    PrintJson({{"fact_id", fact.fact_id}, {"created", fact.created}});
  } else {
    std::printf("%s %s\n", fact.fact_id.c_str(), fact.created ? "remembered" : "was known already");
  }
  return absl::OkStatus();
}

absl::Status RunRecall(const MemoryFlags& flags) {
  RemoteMemory memory = Connect(flags);
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<RecalledFact> facts,
                           memory.Recall(flags.user, TextOf(flags), flags.limit));
  if (flags.json) {
    ordered_json list = ordered_json::array();
    for (const RecalledFact& fact : facts) {
      list.push_back({{"fact_id", fact.fact_id},
                      {"text", fact.text},
                      {"similarity", fact.similarity},
                      {"created_ms", fact.created_ms}});
    }
    PrintJson({{"facts", list}});
    return absl::OkStatus();
  }
  for (const RecalledFact& fact : facts) {
    std::printf("%s %+.3f %s\n", fact.fact_id.c_str(), static_cast<double>(fact.similarity),
                fact.text.c_str());
  }
  if (facts.empty()) std::fprintf(stderr, "%s has no facts\n", flags.user.c_str());
  return absl::OkStatus();
}

absl::Status RunForget(const MemoryFlags& flags) {
  RemoteMemory memory = Connect(flags);
  CHIMERA_ASSIGN_OR_RETURN(const int64_t deleted, flags.all
                                                      ? memory.ForgetAll(flags.user)
                                                      : memory.Forget(flags.user, flags.text));
  if (flags.json) {
    PrintJson({{"facts_deleted", deleted}});
  } else {
    std::printf("%s facts forgotten\n", CountText(deleted).c_str());
  }
  return absl::OkStatus();
}

absl::Status RunStats(const MemoryFlags& flags) {
  RemoteMemory memory = Connect(flags);
  CHIMERA_ASSIGN_OR_RETURN(const MemoryStats stats, memory.Stats(flags.user));
  if (flags.json) {
    PrintJson({{"facts", stats.facts},
               {"users", stats.users},
               {"text_bytes", stats.text_bytes},
               {"facts_max", stats.facts_max},
               {"corrupt_records_skipped", stats.corrupt_records_skipped}});
    return absl::OkStatus();
  }
  std::printf("%s of %s facts, %s users, %s bytes of text, %s damaged records skipped\n",
              CountText(stats.facts).c_str(), CountText(stats.facts_max).c_str(),
              CountText(stats.users).c_str(), CountText(stats.text_bytes).c_str(),
              CountText(stats.corrupt_records_skipped).c_str());
  return absl::OkStatus();
}

// One verb below "memory".
CLI::App* AddVerb(CLI::App* memory, Command* run, const std::shared_ptr<MemoryFlags>& flags,
                  const char* name, const char* help, absl::Status (*verb)(const MemoryFlags&)) {
  CLI::App* sub = memory->add_subcommand(name, help);
  sub->add_option("--target", flags->target, "HOST:PORT of the memory service (127.0.0.1:7402)");
  sub->add_flag("--json", flags->json, "The answer as one JSON object");
  sub->callback([flags, run, verb] {
    *run = [flags, verb] {
      const SignalWatch interrupted([] { ::_exit(130); });
      return verb(*flags);
    };
  });
  return sub;
}

}  // namespace

void AddMemory(CLI::App& app, Command* run) {
  auto flags = std::make_shared<MemoryFlags>();
  CLI::App* memory = app.add_subcommand("memory", "What the memory service knows of a user");
  memory->require_subcommand(1);
  const char* user_help = "Whose facts: 1 to 64 characters of [A-Za-z0-9_.-]";

  CLI::App* put = AddVerb(memory, run, flags, "put", "Remember a fact", RunPut);
  put->add_option("--user", flags->user, user_help)->required();
  put->add_option("text", flags->text, "The fact; - reads standard input")->required();
  put->footer("Example:\n  chimera memory put --user ada 'The spare key is under the third pot.'");

  CLI::App* recall =
      AddVerb(memory, run, flags, "recall", "The facts nearest to a text", RunRecall);
  recall->add_option("--user", flags->user, user_help)->required();
  recall->add_option("query", flags->text, "What to look for; - reads standard input")->required();
  recall->add_option("--limit", flags->limit, "At most so many")
      ->check(CLI::Range(1, kRecallFactsMax));
  recall->footer("Example:\n  chimera memory recall --user ada 'where is the key' --limit 3");

  CLI::App* forget = AddVerb(memory, run, flags, "forget", "Delete for good", RunForget);
  forget->add_option("--user", flags->user, user_help)->required();
  CLI::Option_group* what = forget->add_option_group("What to forget");
  what->add_option("fact_id", flags->text, "Id of one fact, as put and recall print it");
  what->add_flag("--all", flags->all, "Every fact of the user");
  what->require_option(1);
  forget->footer("Example:\n  chimera memory forget --user ada --all");

  CLI::App* stats = AddVerb(memory, run, flags, "stats", "How much is stored", RunStats);
  stats->add_option("--user", flags->user, "One user; without it the whole store");
  stats->footer("Example:\n  chimera memory stats --json");

  memory->footer("A running memory service is needed: chimera serve --all.");
}

}  // namespace chimera
