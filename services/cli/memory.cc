// chimera memory: facts of a user in a running memory service.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cluster/remote_memory.h"
#include "cluster/signals.h"
#include "services/cli/commands.h"
#include "services/cli/memory_commands.h"
#include "services/cli/print_json.h"
#include "services/cli/progress_line.h"

namespace chimera {
namespace {

using nlohmann::ordered_json;

// "-" reads standard input, a byte more than any fact may have.
std::string TextOf(const MemoryFlags& flags) {
  if (flags.text != "-") return flags.text;
  std::string text(kFactTextBytesMax + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), stdin));
  return text;
}

absl::Status RunPut(const MemoryFlags& flags) {
  RemoteMemory memory = ConnectMemory(flags);
  const NewFact fact = {.text = TextOf(flags), .about = flags.about};
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<RememberedFact> answers,
                           memory.Remember(flags.user, std::span(&fact, 1)));
  const RememberedFact& answer = answers.front();
  if (flags.json) {
    PrintJson({{"fact_id", answer.fact_id},
               {"created", answer.created},
               {"superseded_id", answer.superseded_id}});
    return absl::OkStatus();
  }
  std::printf("%s %s\n", answer.fact_id.c_str(),
              answer.created ? "remembered" : "was known already");
  if (!answer.superseded_id.empty()) {
    std::printf("%s replaced, which was about the same\n", answer.superseded_id.c_str());
  }
  return absl::OkStatus();
}

absl::Status RunRecall(const MemoryFlags& flags) {
  RemoteMemory memory = ConnectMemory(flags);
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<RecalledFact> facts,
                           memory.Recall(flags.user, TextOf(flags), flags.limit));
  if (flags.json) {
    ordered_json list = ordered_json::array();
    for (const RecalledFact& fact : facts) {
      list.push_back({{"fact_id", fact.fact_id},
                      {"text", fact.text},
                      {"similarity", fact.similarity},
                      {"created_ms", fact.created_ms},
                      {"about", fact.about},
                      {"inferred", fact.source == Source::kInferred},
                      {"uncertain", fact.uncertain}});
    }
    PrintJson({{"facts", list}});
    return absl::OkStatus();
  }
  for (const RecalledFact& fact : facts) {
    std::printf("%s %+.3f %s%s\n", fact.fact_id.c_str(), static_cast<double>(fact.similarity),
                fact.text.c_str(), fact.uncertain ? " (uncertain)" : "");
  }
  if (facts.empty()) std::fprintf(stderr, "%s has no facts\n", flags.user.c_str());
  return absl::OkStatus();
}

absl::Status RunForget(const MemoryFlags& flags) {
  RemoteMemory memory = ConnectMemory(flags);
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
  RemoteMemory memory = ConnectMemory(flags);
  CHIMERA_ASSIGN_OR_RETURN(const MemoryStats stats, memory.Stats(flags.user));
  if (flags.json) {
    PrintJson({{"facts", stats.facts},
               {"facts_max", stats.facts_max},
               {"user_facts", stats.user_facts},
               {"users", stats.users},
               {"text_bytes", stats.text_bytes},
               {"relations", stats.relations},
               {"relations_max", stats.relations_max},
               {"cases", stats.cases},
               {"guidelines", stats.guidelines},
               {"entries", stats.entries},
               {"entries_max", stats.entries_max},
               {"bytes", stats.bytes},
               {"bytes_max", stats.bytes_max},
               {"corrupt_records_skipped", stats.corrupt_records_skipped}});
    return absl::OkStatus();
  }
  const auto row = [](const char* what, int64_t value, int64_t max) {
    std::printf("%-14s %14s%s%s\n", what, CountText(value).c_str(), max > 0 ? " of " : "",
                max > 0 ? CountText(max).c_str() : "");
  };
  row("users", stats.users, 0);
  row("facts", stats.facts, stats.facts_max);
  row("  of the user", stats.user_facts, 0);
  row("relations", stats.relations, stats.relations_max);
  row("cases", stats.cases, kCasesPerUserMax * (flags.user.empty() ? 0 : 1));
  row("guidelines", stats.guidelines, kGuidelinesPerUserMax * (flags.user.empty() ? 0 : 1));
  row("entries", stats.entries, stats.entries_max);
  row("bytes", stats.bytes, stats.bytes_max);
  row("damaged", stats.corrupt_records_skipped, 0);
  return absl::OkStatus();
}

}  // namespace

RemoteMemoryOptions MemoryTarget(const MemoryFlags& flags) {
  return {.address = flags.target, .connect_timeout_ms = 5000};
}

RemoteMemory ConnectMemory(const MemoryFlags& flags) { return RemoteMemory(MemoryTarget(flags)); }

CLI::App* AddMemoryVerb(CLI::App* memory, Command* run, const std::shared_ptr<MemoryFlags>& flags,
                        const char* name, const char* help,
                        absl::Status (*verb)(const MemoryFlags&)) {
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

void AddMemory(CLI::App& app, Command* run) {
  auto flags = std::make_shared<MemoryFlags>();
  CLI::App* memory = app.add_subcommand("memory", "What the memory service knows of a user");
  memory->require_subcommand(1);

  CLI::App* put = AddMemoryVerb(memory, run, flags, "put", "Remember a fact", RunPut);
  put->add_option("--user", flags->user, kMemoryUserHelp)->required();
  put->add_option("text", flags->text, "The fact; - reads standard input")->required();
  put->add_option("--about", flags->about,
                  "What it is a statement about; it replaces the fact about the same");
  put->footer("Example:\n  chimera memory put --user ada 'The spare key is under the third pot.'");

  CLI::App* recall =
      AddMemoryVerb(memory, run, flags, "recall", "The facts nearest to a text", RunRecall);
  recall->add_option("--user", flags->user, kMemoryUserHelp)->required();
  recall->add_option("query", flags->text, "What to look for; - reads standard input")->required();
  recall->add_option("--limit", flags->limit, "At most so many")
      ->check(CLI::Range(1, kRecallFactsMax));
  recall->footer("Example:\n  chimera memory recall --user ada 'where is the key' --limit 3");

  CLI::App* forget = AddMemoryVerb(memory, run, flags, "forget", "Delete for good", RunForget);
  forget->add_option("--user", flags->user, kMemoryUserHelp)->required();
  CLI::Option_group* what = forget->add_option_group("What to forget");
  what->add_option("fact_id", flags->text, "Id of one fact, as put and recall print it");
  what->add_flag("--all", flags->all, "Every fact of the user");
  what->require_option(1);
  forget->footer("Example:\n  chimera memory forget --user ada --all");

  CLI::App* stats = AddMemoryVerb(memory, run, flags, "stats", "How much is stored", RunStats);
  stats->add_option("--user", flags->user, "One user; without it the whole store");
  stats->footer("Example:\n  chimera memory stats --json");

  AddMemoryStore(memory, run, flags);
  AddMemoryLearning(memory, run, flags);
  memory->footer("A running memory service is needed (chimera serve --all), but for restore.");
}

}  // namespace chimera
