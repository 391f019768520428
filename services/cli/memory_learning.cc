// chimera memory: what was learned from how things went: cases, guidelines, entities.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/status_macros.h"
#include "cluster/remote_learning.h"
#include "memory/learning_types.h"
#include "services/cli/memory_commands.h"
#include "services/cli/print_json.h"
#include "services/cli/progress_line.h"

namespace chimera {
namespace {

using nlohmann::ordered_json;
using Flags = std::shared_ptr<MemoryFlags>;

RemoteLearning Connect(const MemoryFlags& flags) { return RemoteLearning(MemoryTarget(flags)); }

// The names of the values first .. end - 1.
template <typename Enum>
std::vector<std::string> Names(int first, int end, const char* (*name)(Enum)) {
  std::vector<std::string> names;
  for (int i = first; i < end; ++i) names.push_back(name(static_cast<Enum>(i)));
  return names;
}

// The value of a name that is one of Names.
template <typename Enum>
Enum ValueOf(const std::string& wanted, const char* (*name)(Enum)) {
  int i = 0;
  while (wanted != name(static_cast<Enum>(i))) ++i;
  return static_cast<Enum>(i);
}

absl::Status RunCaseAdd(const MemoryFlags& flags) {
  RemoteLearning learning = Connect(flags);
  const NewCase one = {
      .situation = flags.text, .plan = flags.plan, .tags = flags.tags, .outcome = flags.outcome};
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<AddedCase> added,
                           learning.AddCases(flags.user, std::span(&one, 1)));
  if (flags.json) {
    PrintJson({{"case_id", added[0].case_id}, {"created", added[0].created}});
  } else {
    std::printf(
        "%s %s\n", added[0].case_id.c_str(),
        added[0].created ? "added" : "not added: it is there, or went neither well nor badly");
  }
  return absl::OkStatus();
}

absl::Status RunCaseFind(const MemoryFlags& flags) {
  RemoteLearning learning = Connect(flags);
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<std::vector<FoundCase>> answers,
                           learning.FindCases(flags.user, std::span(&flags.text, 1), flags.cases));
  ordered_json list = ordered_json::array();
  for (const FoundCase& one : answers[0]) {
    list.push_back({{"case_id", one.case_id},
                    {"plan", one.plan},
                    {"tags", one.tags},
                    {"similarity", one.similarity},
                    {"q", one.q},
                    {"outcomes", one.outcomes},
                    {"probability", one.probability},
                    {"share", one.share}});
    if (!flags.json) {
      std::printf("%s p %.3f q %.3f share %.3f %s\n", one.case_id.c_str(), one.probability, one.q,
                  one.share, one.plan.c_str());
    }
  }
  if (flags.json) PrintJson({{"cases", list}});
  if (answers[0].empty()) std::fprintf(stderr, "%s has no cases\n", flags.user.c_str());
  return absl::OkStatus();
}

absl::Status PrintRecorded(const MemoryFlags& flags, int64_t recorded) {
  if (flags.json) {
    PrintJson({{"recorded", recorded}});
  } else {
    std::printf("%s recorded\n", CountText(recorded).c_str());
  }
  return absl::OkStatus();
}

absl::Status RunCaseOutcome(const MemoryFlags& flags) {
  RemoteLearning learning = Connect(flags);
  const CaseOutcome one = {.case_id = flags.text, .outcome = flags.outcome, .share = flags.share};
  CHIMERA_ASSIGN_OR_RETURN(const int64_t recorded,
                           learning.RecordCaseOutcomes(flags.user, std::span(&one, 1)));
  return PrintRecorded(flags, recorded);
}

absl::Status RunGuidelineLearn(const MemoryFlags& flags) {
  RemoteLearning learning = Connect(flags);
  const NewGuideline guideline = {.context = flags.text,
                                  .action = ValueOf(flags.action, GuidelineActionName),
                                  .text = flags.rule,
                                  .delta = flags.delta};
  CHIMERA_ASSIGN_OR_RETURN(const LearnedGuideline learned,
                           learning.LearnGuideline(flags.user, guideline));
  if (flags.json) {
    PrintJson({{"guideline_id", learned.guideline_id}, {"created", learned.created}});
  } else {
    std::printf("%s %s\n", learned.guideline_id.c_str(),
                learned.created ? "learned" : "not made: it is there, or no harm was done");
  }
  return absl::OkStatus();
}

absl::Status RunGuidelineAsk(const MemoryFlags& flags) {
  RemoteLearning learning = Connect(flags);
  CHIMERA_ASSIGN_OR_RETURN(const std::optional<GivenAdvice> advice,
                           learning.AskGuidelines(flags.user, flags.text));
  if (!advice) {
    if (flags.json) PrintJson({{"action", nullptr}});
    std::fprintf(stderr, "%s has no guideline for this\n", flags.user.c_str());
    return absl::OkStatus();
  }
  ordered_json voters = ordered_json::array();
  if (!flags.json) std::printf("%s %.3f\n", GuidelineActionName(advice->action), advice->votes);
  for (const GivenAdvice::Voter& voter : advice->voters) {
    voters.push_back(
        {{"guideline_id", voter.guideline_id}, {"text", voter.text}, {"weight", voter.weight}});
    if (!flags.json) {
      std::printf("%s %.3f %s\n", voter.guideline_id.c_str(), static_cast<double>(voter.weight),
                  voter.text.c_str());
    }
  }
  if (flags.json) {
    PrintJson({{"action", GuidelineActionName(advice->action)},
               {"votes", advice->votes},
               {"voters", voters}});
  }
  return absl::OkStatus();
}

absl::Status RunGuidelineOutcome(const MemoryFlags& flags) {
  RemoteLearning learning = Connect(flags);
  CHIMERA_ASSIGN_OR_RETURN(const int64_t recorded,
                           learning.RecordAdviceOutcome(flags.user, flags.ids, flags.outcome));
  return PrintRecorded(flags, recorded);
}

absl::Status RunEntitySet(const MemoryFlags& flags) {
  RemoteLearning learning = Connect(flags);
  const EntityStatement one = {
      .name = flags.text, .role = ValueOf(flags.role, EntityRoleName), .filler = flags.object};
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<EntityChange> changes,
                           learning.SetEntities(flags.user, std::span(&one, 1)));
  const EntityChange& change = changes[0];
  if (flags.json) {
    PrintJson(
        {{"created", change.created}, {"replaced", change.replaced}, {"evicted", change.evicted}});
    return absl::OkStatus();
  }
  std::printf("%s\n", change.created ? "a new entity" : "noted");
  if (!change.replaced.empty()) std::printf("it was %s\n", change.replaced.c_str());
  if (!change.evicted.empty()) std::printf("%s made room\n", change.evicted.c_str());
  return absl::OkStatus();
}

absl::Status RunEntityList(const MemoryFlags& flags) {
  RemoteLearning learning = Connect(flags);
  EntityFilter filter;
  if (!flags.number.empty()) filter.number = flags.number;
  if (!flags.gender.empty()) filter.gender = flags.gender;
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<EntityInfo> entities,
                           learning.ListEntities(flags.user, filter));
  ordered_json list = ordered_json::array();
  for (const EntityInfo& entity : entities) {
    ordered_json parts = ordered_json::object();
    std::string line = entity.name;
    for (const EntityInfo::Part& part : entity.parts) {
      parts[EntityRoleName(part.role)] = part.filler;
      line += std::string(" | ") + EntityRoleName(part.role) + " " + part.filler;
    }
    list.push_back({{"name", entity.name}, {"parts", parts}});
    if (!flags.json) std::printf("%s\n", line.c_str());
  }
  if (flags.json) PrintJson({{"entities", list}});
  return absl::OkStatus();
}

absl::Status RunEntityForget(const MemoryFlags& flags) {
  RemoteLearning learning = Connect(flags);
  CHIMERA_ASSIGN_OR_RETURN(const bool forgotten, learning.ForgetEntity(flags.user, flags.text));
  if (flags.json) {
    PrintJson({{"forgotten", forgotten}});
  } else {
    std::printf("%s\n", forgotten ? "forgotten" : "there is no such entity");
  }
  return absl::OkStatus();
}

CLI::App* AddVerb(CLI::App* group, Command* run, const Flags& flags, const char* name,
                  const char* help, absl::Status (*verb)(const MemoryFlags&)) {
  CLI::App* sub = AddMemoryVerb(group, run, flags, name, help, verb);
  sub->add_option("--user", flags->user, "Whose: 1 to 64 characters of [A-Za-z0-9_.-]")->required();
  return sub;
}

void AddOutcome(CLI::App* sub, const Flags& flags) {
  sub->add_option("--outcome", flags->outcome, "How it went, from 0 (badly) to 1 (well)")
      ->required()
      ->check(CLI::Range(0.0, 1.0));
}

void AddCase(CLI::App* memory, Command* run, const Flags& flags) {
  CLI::App* group = memory->add_subcommand("case", "What was tried before, and how it went");
  group->require_subcommand(1);
  CLI::App* add = AddVerb(group, run, flags, "add", "Keep an episode as a case", RunCaseAdd);
  add->add_option("situation", flags->text, "What the situation was")->required();
  add->add_option("plan", flags->plan, "What was done")->required();
  add->add_option("--tags", flags->tags, "Words of yours, at most 96 bytes");
  AddOutcome(add, flags);
  add->footer(
      "Example:\n  chimera memory case add --user ada 'the build is slow' 'use a cache' "
      "--outcome 0.9");

  CLI::App* find = AddVerb(group, run, flags, "find", "What to try in a situation", RunCaseFind);
  find->add_option("situation", flags->text, "What the situation is")->required();
  find->add_option("--limit", flags->cases, "At most so many (4)")
      ->check(CLI::Range(1, kFoundCasesMax));
  find->footer("Example:\n  chimera memory case find --user ada 'the build takes long' --json");

  CLI::App* outcome =
      AddVerb(group, run, flags, "outcome", "How it went with a case", RunCaseOutcome);
  outcome->add_option("case_id", flags->text, "As find prints it")->required();
  AddOutcome(outcome, flags);
  outcome->add_option("--share", flags->share, "As find prints it (1)")
      ->check(CLI::Range(0.0, 1.0));
  outcome->footer(
      "Example:\n  chimera memory case outcome --user ada 0123456789abcdef --outcome 1");
}

void AddGuideline(CLI::App* memory, Command* run, const Flags& flags) {
  CLI::App* group = memory->add_subcommand("guideline", "How to use the memory, learned from harm");
  group->require_subcommand(1);
  CLI::App* learn = AddVerb(group, run, flags, "learn", "Make a guideline where memory did harm",
                            RunGuidelineLearn);
  learn->add_option("context", flags->text, "Where it did")->required();
  learn->add_option("text", flags->rule, "The rule, for people")->required();
  learn->add_option("--action", flags->action, "What to do in such a context")
      ->required()
      ->check(CLI::IsMember(Names<GuidelineAction>(0, kGuidelineActions, GuidelineActionName)));
  learn->add_option("--delta", flags->delta, "Outcome with memory less outcome without (-1)");
  learn->footer(
      "Example:\n  chimera memory guideline learn --user ada 'dates of the release' "
      "'Newer notes on dates win.' --action prefer_newest");

  CLI::App* ask = AddVerb(group, run, flags, "ask", "Advice for a context", RunGuidelineAsk);
  ask->add_option("context", flags->text, "What is to be done")->required();
  ask->footer("Example:\n  chimera memory guideline ask --user ada 'date of the release' --json");

  CLI::App* outcome =
      AddVerb(group, run, flags, "outcome", "How following advice went", RunGuidelineOutcome);
  outcome->add_option("guideline_ids", flags->ids, "The voters, as ask prints them")->required();
  AddOutcome(outcome, flags);
  outcome->footer(
      "Example:\n  chimera memory guideline outcome --user ada 0123456789abcdef --outcome 0");
}

void AddEntity(CLI::App* memory, Command* run, const Flags& flags) {
  CLI::App* group = memory->add_subcommand("entity", "Who and what the user spoke of");
  group->require_subcommand(1);
  CLI::App* set = AddVerb(group, run, flags, "set", "Say something of an entity", RunEntitySet);
  set->add_option("name", flags->text, "Who or what")->required();
  set->add_option("role", flags->role, "In which respect")
      ->required()
      ->check(CLI::IsMember(Names<EntityRole>(1, kEntityRoles, EntityRoleName)));
  set->add_option("filler", flags->object, "What it is")->required();
  set->footer("Example:\n  chimera memory entity set --user ada Eve gender female");

  CLI::App* list = AddVerb(group, run, flags, "list", "Entities, most recent first", RunEntityList);
  list->add_option("--number", flags->number, "Not those that are of another number");
  list->add_option("--gender", flags->gender, "Not those that are of another gender");
  list->footer(
      "Example, whom \"she\" may mean:\n"
      "  chimera memory entity list --user ada --gender female --json");

  CLI::App* forget = AddVerb(group, run, flags, "forget", "Forget an entity", RunEntityForget);
  forget->add_option("name", flags->text, "Who or what")->required();
  forget->footer("Example:\n  chimera memory entity forget --user ada Eve");
}

}  // namespace

void AddMemoryLearning(CLI::App* memory, Command* run, const std::shared_ptr<MemoryFlags>& flags) {
  AddCase(memory, run, flags);
  AddGuideline(memory, run, flags);
  AddEntity(memory, run, flags);
}

}  // namespace chimera
