// chimera memory: relations, and everything of a user or of the store at once.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "memory/rocksdb_store.h"
#include "services/cli/memory_commands.h"
#include "services/cli/print_json.h"
#include "services/cli/progress_line.h"

namespace chimera {
namespace {

using nlohmann::ordered_json;

absl::Status RunRelate(const MemoryFlags& flags) {
  RemoteMemory memory = ConnectMemory(flags);
  const Relation relation = {
      .subject = flags.subject, .predicate = flags.predicate, .object = flags.object};
  CHIMERA_ASSIGN_OR_RETURN(const int64_t created,
                           memory.Relate(flags.user, std::span(&relation, 1), Source::kUser));
  if (flags.json) {
    PrintJson({{"created", created}});
  } else {
    std::printf("%s\n", created > 0 ? "related" : "was known already");
  }
  return absl::OkStatus();
}

absl::Status RunRelated(const MemoryFlags& flags) {
  RemoteMemory memory = ConnectMemory(flags);
  CHIMERA_ASSIGN_OR_RETURN(
      const std::vector<Relation> relations,
      memory.Related(flags.user, {flags.subject, flags.predicate, flags.object}, flags.limit));
  ordered_json list = ordered_json::array();
  for (const Relation& one : relations) {
    list.push_back({{"subject", one.subject},
                    {"predicate", one.predicate},
                    {"object", one.object},
                    {"weight", one.weight}});
    if (!flags.json) {
      std::printf("%s | %s | %s\n", one.subject.c_str(), one.predicate.c_str(), one.object.c_str());
    }
  }
  if (flags.json) PrintJson({{"relations", list}});
  return absl::OkStatus();
}

absl::Status RunExport(const MemoryFlags& flags) {
  RemoteMemory memory = ConnectMemory(flags);
  std::ofstream file;
  const bool to_stdout = flags.text == "-";
  if (!to_stdout) {
    file.open(flags.text, std::ios::binary);
    if (!file) return absl::NotFoundError(absl::StrCat(flags.text, " cannot be written"));
  }
  std::ostream& out = to_stdout ? std::cout : file;
  int64_t lines = 0;
  CHIMERA_RETURN_IF_ERROR(memory.Export(flags.user, [&](std::string_view line) {
    out << line << '\n';
    ++lines;
    return out ? absl::OkStatus()
               : absl::ResourceExhaustedError(absl::StrCat("cannot write to ", flags.text));
  }));
  out.flush();
  if (!out) return absl::ResourceExhaustedError(absl::StrCat("cannot write to ", flags.text));
  if (to_stdout) return absl::OkStatus();
  if (flags.json) {
    PrintJson({{"lines", lines}});
  } else {
    std::printf("%s lines in %s\n", CountText(lines).c_str(), flags.text.c_str());
  }
  return absl::OkStatus();
}

absl::Status RunImport(const MemoryFlags& flags) {
  RemoteMemory memory = ConnectMemory(flags);
  std::ifstream file;
  if (flags.text != "-") {
    file.open(flags.text, std::ios::binary);
    if (!file) return absl::NotFoundError(absl::StrCat(flags.text, " cannot be read"));
  }
  std::istream& in = flags.text == "-" ? std::cin : file;
  constexpr size_t kPieceBytes = 1 << 20;
  ImportReport all;
  std::string piece;
  int64_t next_line = 1, piece_lines = 0;
  const auto send = [&]() -> absl::Status {
    if (piece.empty()) return absl::OkStatus();
    CHIMERA_ASSIGN_OR_RETURN(const ImportReport report,
                             memory.Import(flags.user, piece, next_line));
    all.imported += report.imported;
    all.refused += report.refused;
    for (const RefusedLine& line : report.refused_lines) {
      std::fprintf(stderr, "line %s: %s\n", CountText(line.line).c_str(), line.reason.c_str());
    }
    next_line += piece_lines;
    piece.clear();
    piece_lines = 0;
    return absl::OkStatus();
  };
  for (std::string line; std::getline(in, line);) {
    if (line.size() > kImportLineBytesMax) line.resize(kImportLineBytesMax + 1);  // is refused
    piece += line + "\n";
    ++piece_lines;
    if (piece.size() >= kPieceBytes) CHIMERA_RETURN_IF_ERROR(send());
  }
  CHIMERA_RETURN_IF_ERROR(send());
  if (flags.json) {
    PrintJson({{"imported", all.imported}, {"refused", all.refused}});
  } else {
    std::printf("%s lines imported, %s refused\n", CountText(all.imported).c_str(),
                CountText(all.refused).c_str());
  }
  return absl::OkStatus();
}

absl::Status RunReset(const MemoryFlags& flags) {
  if (!flags.yes) {
    return absl::InvalidArgumentError(absl::StrCat("this deletes everything of user ", flags.user,
                                                   " for good; say --yes, and export first"));
  }
  RemoteMemory memory = ConnectMemory(flags);
  CHIMERA_ASSIGN_OR_RETURN(const int64_t deleted, memory.Reset(flags.user));
  if (flags.json) {
    PrintJson({{"entries_deleted", deleted}});
  } else {
    std::printf("%s entries deleted\n", CountText(deleted).c_str());
  }
  return absl::OkStatus();
}

absl::Status RunBackup(const MemoryFlags& flags) {
  RemoteMemory memory = ConnectMemory(flags);
  CHIMERA_ASSIGN_OR_RETURN(const BackupReport report, memory.Backup("", flags.keep));
  if (flags.json) {
    PrintJson({{"backup_id", report.backup_id},
               {"bytes", report.bytes},
               {"backups_kept", report.backups_kept}});
  } else {
    std::printf("backup %u: %s bytes; %s backups kept\n", report.backup_id,
                CountText(report.bytes).c_str(), CountText(report.backups_kept).c_str());
  }
  return absl::OkStatus();
}

absl::Status RunRestore(const MemoryFlags& flags) {
  CHIMERA_RETURN_IF_ERROR(RestoreMemory(flags.text, flags.path));
  if (flags.json) {
    PrintJson({{"store", flags.path}});
  } else {
    std::printf("%s holds the newest backup; start the service over it\n", flags.path.c_str());
  }
  return absl::OkStatus();
}

void AddRelations(CLI::App* memory, Command* run, const std::shared_ptr<MemoryFlags>& flags) {
  CLI::App* relate = AddMemoryVerb(memory, run, flags, "relate", "Relate two names", RunRelate);
  relate->add_option("--user", flags->user, kMemoryUserHelp)->required();
  relate->add_option("subject", flags->subject, "Who or what")->required();
  relate->add_option("predicate", flags->predicate, "Stands how")->required();
  relate->add_option("object", flags->object, "To whom or what")->required();
  relate->footer("Example:\n  chimera memory relate --user ada Ada 'lives in' Paris");

  CLI::App* related =
      AddMemoryVerb(memory, run, flags, "related", "Relations that match", RunRelated);
  related->add_option("--user", flags->user, kMemoryUserHelp)->required();
  related->add_option("--subject", flags->subject, "Any when left out");
  related->add_option("--predicate", flags->predicate, "Any when left out");
  related->add_option("--object", flags->object, "Any when left out");
  related->add_option("--limit", flags->limit, "At most so many (8)")
      ->check(CLI::Range(1, kRelatedMax));
  related->footer("Example:\n  chimera memory related --user ada --subject Ada");
}

}  // namespace

void AddMemoryStore(CLI::App* memory, Command* run, const std::shared_ptr<MemoryFlags>& flags) {
  AddRelations(memory, run, flags);

  CLI::App* out =
      AddMemoryVerb(memory, run, flags, "export", "All of a user, as JSON lines", RunExport);
  out->add_option("--user", flags->user, kMemoryUserHelp)->required();
  out->add_option("file", flags->text, "Where to; - is standard output")->required();
  out->footer("Example:\n  chimera memory export --user ada ada.jsonl");

  CLI::App* in = AddMemoryVerb(memory, run, flags, "import", "Take an export in", RunImport);
  in->add_option("--user", flags->user, kMemoryUserHelp)->required();
  in->add_option("file", flags->text, "An export; - is standard input")->required();
  in->footer("Lines that cannot be taken are refused by number; the others go in.");

  CLI::App* reset = AddMemoryVerb(memory, run, flags, "reset", "Delete all of a user", RunReset);
  reset->add_option("--user", flags->user, kMemoryUserHelp)->required();
  reset->add_flag("--yes", flags->yes, "It cannot be undone");
  reset->footer("Backups hold what they hold until they are gone.");

  CLI::App* backup = AddMemoryVerb(memory, run, flags, "backup",
                                   "Back the whole store up, while it runs", RunBackup);
  backup->add_option("--keep", flags->keep, "Backups to keep (7)")->check(CLI::Range(1, 1000));
  backup->footer(
      "Backups stand beside the store: <data_dir>/memory-backups on the service's side.");

  CLI::App* restore = AddMemoryVerb(memory, run, flags, "restore",
                                    "A new store out of the newest backup", RunRestore);
  restore->add_option("backups", flags->text, "Folder of backups")->required();
  restore->add_option("store", flags->path, "Folder to make; must not hold anything")->required();
  restore->footer(
      "Needs no service.\nExample:\n"
      "  chimera memory restore data/memory-backups new-data/memory");
}

}  // namespace chimera
