#include "memory/export_line.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "memory/memory.h"
#include "memory/memory_arguments.h"

namespace chimera {
namespace {

using nlohmann::json;

const char* SourceName(Source source) { return source == Source::kUser ? "user" : "inferred"; }

std::string ToBase64(std::string_view bytes) { return absl::Base64Escape(ToAbsl(bytes)); }

json ToJson(const ExportedFact& item) {
  return {{"kind", "fact"},
          {"text", item.fact.text},
          {"about", item.fact.about},
          {"source", SourceName(item.fact.source)},
          {"weight", item.fact.weight},
          {"uses", item.uses},
          {"tags", item.fact.tags},
          {"created_ms", item.created_ms}};
}

json ToJson(const ExportedRelation& item) {
  return {{"kind", "relation"},
          {"subject", item.relation.subject},
          {"predicate", item.relation.predicate},
          {"object", item.relation.object},
          {"weight", item.relation.weight},
          {"source", SourceName(item.source)}};
}

json ToJson(const ExportedRecord& item) {
  return {{"kind", item.record_class == RecordClass::kCase ? "case" : "guideline"},
          {"id", FactIdToHex(item.record.id)},
          {"bytes", ToBase64(item.record.bytes)}};
}

json ToJson(const ExportedSection& item) {
  return {{"kind", "section"},
          {"name", item.name},
          {"epoch", item.section.epoch},
          {"bytes", ToBase64(item.section.bytes)}};
}

// Reads the members of one object; the first fault stays.
class Members {
 public:
  explicit Members(const json& object) : object_(object) {}

  std::string Text(const char* name) {
    const json* value = Find(name);
    if (value != nullptr && value->is_string()) return value->get<std::string>();
    Fail(name, "a string");
    return "";
  }
  uint64_t Unsigned(const char* name, uint64_t max) {
    const json* value = Find(name);
    if (value != nullptr && value->is_number_unsigned() && value->get<uint64_t>() <= max) {
      return value->get<uint64_t>();
    }
    Fail(name, "a whole number from 0 to its limit");
    return 0;
  }
  float Weight() {
    const json* value = Find("weight");
    if (value != nullptr && value->is_number() && std::abs(value->get<double>()) <= 1) {
      return value->get<float>();
    }
    Fail("weight", "a number from -1 to 1");
    return 0;
  }
  Source SaidBy() {
    const std::string name = Text("source");
    if (name == "user") return Source::kUser;
    if (name != "inferred") Fail("source", "user or inferred");
    return Source::kInferred;
  }
  std::string Base64(const char* name) {
    std::string bytes;
    if (!absl::Base64Unescape(Text(name), &bytes)) Fail(name, "base64");
    return bytes;
  }
  // After all members were read.
  absl::Status Finish() {
    if (fault_.ok() && read_.size() != object_.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line has ", object_.size(), " members; ", read_.size(), " are known"));
    }
    return fault_;
  }

 private:
  const json* Find(const char* name) {
    const auto found = object_.find(name);
    if (found == object_.end()) return nullptr;
    read_.insert(name);
    return &*found;
  }
  void Fail(const char* name, const char* what) {
    if (!fault_.ok()) return;
    fault_ = absl::InvalidArgumentError(absl::StrCat("member ", name, " is missing or not ", what));
  }

  const json& object_;
  std::set<std::string> read_;
  absl::Status fault_;
};

absl::StatusOr<ExportedItem> ReadFact(Members* members) {
  ExportedFact item;
  item.fact.text = members->Text("text");
  item.fact.about = members->Text("about");
  item.fact.source = members->SaidBy();
  item.fact.weight = members->Weight();
  item.fact.tags = static_cast<uint32_t>(members->Unsigned("tags", UINT32_MAX));
  item.uses = members->Unsigned("uses", INT64_MAX);
  item.created_ms = static_cast<int64_t>(members->Unsigned("created_ms", INT64_MAX));
  CHIMERA_RETURN_IF_ERROR(members->Finish());
  CHIMERA_RETURN_IF_ERROR(ValidateNewFacts(std::span<const NewFact>(&item.fact, 1)));
  return item;
}

absl::StatusOr<ExportedItem> ReadRelation(Members* members) {
  ExportedRelation item;
  item.relation.subject = members->Text("subject");
  item.relation.predicate = members->Text("predicate");
  item.relation.object = members->Text("object");
  item.relation.weight = members->Weight();
  item.source = members->SaidBy();
  CHIMERA_RETURN_IF_ERROR(members->Finish());
  CHIMERA_RETURN_IF_ERROR(ValidateRelations(std::span<const Relation>(&item.relation, 1)));
  return item;
}

absl::StatusOr<ExportedItem> ReadRecord(RecordClass record_class, Members* members) {
  ExportedRecord item{.record_class = record_class};
  const std::string id = members->Text("id");
  item.record.bytes = members->Base64("bytes");
  CHIMERA_RETURN_IF_ERROR(members->Finish());
  CHIMERA_RETURN_IF_ERROR(ValidateFactId(id));
  item.record.id = FactIdFromHex(id);
  CHIMERA_RETURN_IF_ERROR(ValidateRecords(std::span<const MemoryRecord>(&item.record, 1)));
  return item;
}

absl::StatusOr<ExportedItem> ReadSection(Members* members) {
  ExportedSection item;
  item.name = members->Text("name");
  item.section.epoch = members->Unsigned("epoch", UINT64_MAX);
  item.section.bytes = members->Base64("bytes");
  CHIMERA_RETURN_IF_ERROR(members->Finish());
  CHIMERA_RETURN_IF_ERROR(ValidateSection(item.name, item.section));
  return item;
}

}  // namespace

std::string ExportLine(const ExportedItem& item) {
  return std::visit([](const auto& one) { return ToJson(one); }, item).dump();
}

absl::StatusOr<ExportedItem> ParseExportLine(std::string_view line) {
  if (line.size() > kImportLineBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("line has ", line.size(), " bytes; it has at most ", kImportLineBytesMax));
  }
  const json object = json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("line is not a JSON object");
  Members members(object);
  const std::string kind = members.Text("kind");
  if (kind == "fact") return ReadFact(&members);
  if (kind == "relation") return ReadRelation(&members);
  if (kind == "case") return ReadRecord(RecordClass::kCase, &members);
  if (kind == "guideline") return ReadRecord(RecordClass::kGuideline, &members);
  if (kind == "section") return ReadSection(&members);
  return absl::InvalidArgumentError(
      "member kind is not fact, relation, case, guideline or section");
}

}  // namespace chimera
