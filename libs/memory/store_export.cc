// Export and import of one user of a LocalMemory.
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "memory/export_line.h"
#include "memory/fact_plan.h"
#include "memory/fact_record.h"
#include "memory/memory_arguments.h"
#include "memory/relation_record.h"
#include "memory/rocksdb_store.h"

namespace chimera {
namespace {

// Calls visit(key, value) for everything of the user in a family, until it returns an error.
template <typename Visit>
absl::Status ForEach(const StoreDb& db, Family family, const std::string& user, Visit visit) {
  const KeyRange range = UserRange(user);
  const auto it = db.Scan(family);
  for (it->Seek(ToSlice(range.first)); it->Valid(); it->Next()) {
    const std::string_view key = FromSlice(it->key());
    if (key >= range.last) break;
    CHIMERA_RETURN_IF_ERROR(visit(key, FromSlice(it->value())));
  }
  return db.Convert(it->status());
}

absl::StatusOr<uint64_t> IdOf(std::string_view key) {
  CHIMERA_ASSIGN_OR_RETURN(const SplitKey split, SplitUserKey(key));
  return IdOfKeyRest(split.rest);
}

}  // namespace

absl::Status LocalMemory::Export(const std::string& user, const Receive& receive) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ExportFacts(user, receive));
  CHIMERA_RETURN_IF_ERROR(ExportRelations(user, receive));
  CHIMERA_RETURN_IF_ERROR(ExportRecords(user, RecordClass::kCase, receive));
  CHIMERA_RETURN_IF_ERROR(ExportRecords(user, RecordClass::kGuideline, receive));
  return ExportSections(user, receive);
}

absl::Status LocalMemory::SkipInExport(const std::string& user, Family family,
                                       const absl::Status& fault) {
  CountCorrupt(absl::StrCat("an item of user ", user, " in ", FamilyName(family)), fault);
  return absl::OkStatus();
}

absl::Status LocalMemory::ExportFacts(const std::string& user, const Receive& receive) {
  return ForEach(*db_, Family::kFacts, user, [&](std::string_view key, std::string_view value) {
    auto record = DecodeFact(key, value);
    const auto id = IdOf(key);
    if (!record.ok()) return SkipInExport(user, Family::kFacts, record.status());
    if (!id.ok()) return SkipInExport(user, Family::kFacts, id.status());
    const UsageRecord usage = ReadUsage(user, *id);
    ExportedFact item{.uses = usage.uses, .created_ms = record->head.created_ms};
    item.fact.text = std::move(record->text);
    item.fact.about = std::move(record->about);
    item.fact.source = record->head.source;
    item.fact.weight = usage.weight;
    item.fact.tags = record->head.tags & ~kEvolvedTag;  // its state file stays here
    return receive(ExportLine(item));
  });
}

absl::Status LocalMemory::ExportRelations(const std::string& user, const Receive& receive) {
  constexpr Family kFamily = Family::kRelations;
  std::unordered_map<uint32_t, std::string> names;  // they come before their triples
  return ForEach(*db_, kFamily, user, [&](std::string_view key, std::string_view value) {
    const auto split = SplitUserKey(key);
    const auto parts = split.ok() ? DecodeRelationKey(split->rest) : split.status();
    if (!parts.ok()) return SkipInExport(user, kFamily, parts.status());
    if (parts->is_name) {
      auto name = DecodeName(key, value);
      if (!name.ok()) return SkipInExport(user, kFamily, name.status());
      names[parts->name_id] = *std::move(name);
      return absl::OkStatus();
    }
    const auto record = DecodeTriple(key, value);
    if (!record.ok()) return SkipInExport(user, kFamily, record.status());
    ExportedRelation item{.source = record->source};
    item.relation.weight = record->weight;
    const std::pair<uint32_t, std::string*> ends[] = {{parts->subject, &item.relation.subject},
                                                      {parts->predicate, &item.relation.predicate},
                                                      {parts->object, &item.relation.object}};
    for (const auto& [id, name] : ends) {
      const auto found = names.find(id);
      if (found == names.end()) {
        return SkipInExport(user, kFamily, absl::DataLossError("relation without its name"));
      }
      *name = found->second;
    }
    return receive(ExportLine(item));
  });
}

absl::Status LocalMemory::ExportRecords(const std::string& user, RecordClass record_class,
                                        const Receive& receive) {
  const Family family = record_class == RecordClass::kCase ? Family::kCases : Family::kGuidelines;
  return ForEach(*db_, family, user, [&](std::string_view key, std::string_view value) {
    const auto id = IdOf(key);
    const auto body = Unseal(family, key, value, 2);
    if (!id.ok()) return SkipInExport(user, family, id.status());
    if (!body.ok()) return SkipInExport(user, family, body.status());
    return receive(
        ExportLine(ExportedRecord{.record_class = record_class,
                                  .record = {.id = *id, .bytes = std::string(body->substr(1))}}));
  });
}

absl::Status LocalMemory::ExportSections(const std::string& user, const Receive& receive) {
  return ForEach(*db_, Family::kSections, user, [&](std::string_view key, std::string_view value) {
    const auto split = SplitUserKey(key);
    const auto body = Unseal(Family::kSections, key, value, 1 + 8);
    if (!split.ok()) return SkipInExport(user, Family::kSections, split.status());
    if (!body.ok()) return SkipInExport(user, Family::kSections, body.status());
    return receive(ExportLine(ExportedSection{
        .name = std::string(split->rest),
        .section = {.epoch = GetInt(*body, 1, 8), .bytes = std::string(body->substr(9))}}));
  });
}

absl::StatusOr<ImportReport> LocalMemory::Import(const std::string& user, std::string_view lines,
                                                 int64_t first_line) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  if (lines.size() > kImportCallBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "import of ", lines.size(), " bytes; one call takes at most ", kImportCallBytesMax));
  }
  ImportReport report;
  for (int64_t number = first_line; !lines.empty(); ++number) {
    const size_t end = lines.find('\n');
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end == lines.npos ? lines.size() : end + 1);
    if (line.empty()) continue;
    const absl::Status stored = StoreLine(user, line);
    if (stored.ok()) {
      ++report.imported;
    } else if (absl::IsInvalidArgument(stored) || absl::IsFailedPrecondition(stored) ||
               absl::IsAlreadyExists(stored) || absl::IsResourceExhausted(stored)) {
      ++report.refused;
      if (report.refused_lines.size() < kImportRefusedListed) {
        report.refused_lines.push_back({number, std::string(ToStd(stored.message()))});
      }
    } else {
      return stored;
    }
  }
  CHIMERA_RETURN_IF_ERROR(db_->Sync());
  return report;
}

absl::Status LocalMemory::StoreLine(const std::string& user, std::string_view line) {
  CHIMERA_ASSIGN_OR_RETURN(ExportedItem item, ParseExportLine(line));
  const WriteTerms terms{.sync = false, .items = 1, .rate = Rate::kFree};
  if (auto* fact = std::get_if<ExportedFact>(&item)) {
    FactToStore to_store{
        .fact = std::move(fact->fact), .created_ms = fact->created_ms, .uses = fact->uses};
    to_store.fact.tags &= ~kEvolvedTag;
    CHIMERA_ASSIGN_OR_RETURN(to_store.sketch, Sketch(to_store.fact.text));
    CHIMERA_ASSIGN_OR_RETURN(const UserPointer memory, UserForWrite(user));
    MutexLock write_lock(&memory->write_mutex);
    FactPlan plan(db_.get(), user, memory.get());
    CHIMERA_RETURN_IF_ERROR(plan.Add(to_store).status());
    return CommitFacts(user, memory.get(), &plan, terms);
  }
  if (const auto* relation = std::get_if<ExportedRelation>(&item)) {
    return WriteRelations(user, std::span<const Relation>(&relation->relation, 1), relation->source,
                          terms)
        .status();
  }
  if (const auto* record = std::get_if<ExportedRecord>(&item)) {
    return WriteRecords(user, record->record_class,
                        std::span<const MemoryRecord>(&record->record, 1), terms);
  }
  const auto& section = std::get<ExportedSection>(item);
  const auto stored = GetSection(user, section.name);
  if (stored.ok() && stored->epoch == section.section.epoch &&
      stored->bytes == section.section.bytes) {
    return absl::OkStatus();
  }
  return WriteSection(user, section.name, section.section, terms);
}

}  // namespace chimera
