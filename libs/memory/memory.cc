#include "memory/memory.h"

#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace chimera {
namespace {

absl::Status Lacks(const char* verb) {
  return absl::UnimplementedError(absl::StrCat("this memory has no ", verb));
}

}  // namespace

absl::StatusOr<std::vector<RememberedFact>> Memory::Remember(const std::string&,
                                                             std::span<const NewFact>) {
  return Lacks("Remember");
}
absl::StatusOr<std::vector<std::vector<RecalledFact>>> Memory::Recall(const std::string&,
                                                                      std::span<const std::string>,
                                                                      const RecallOptions&) {
  return Lacks("Recall");
}
absl::StatusOr<int64_t> Memory::Reinforce(const std::string&, std::span<const FactUse>) {
  return Lacks("Reinforce");
}
absl::StatusOr<std::vector<FactInfo>> Memory::ListFacts(const std::string&, uint64_t, int) {
  return Lacks("ListFacts");
}
absl::StatusOr<int64_t> Memory::Drop(const std::string&, std::span<const uint64_t>) {
  return Lacks("Drop");
}
absl::StatusOr<int64_t> Memory::Forget(const std::string&, const std::string&) {
  return Lacks("Forget");
}
absl::StatusOr<int64_t> Memory::ForgetAll(const std::string&) { return Lacks("ForgetAll"); }
absl::StatusOr<int64_t> Memory::Relate(const std::string&, std::span<const Relation>, Source) {
  return Lacks("Relate");
}
absl::StatusOr<std::vector<Relation>> Memory::Related(const std::string&, const RelationPattern&,
                                                      int) {
  return Lacks("Related");
}
absl::StatusOr<int64_t> Memory::Unrelate(const std::string&, const RelationPattern&) {
  return Lacks("Unrelate");
}
absl::StatusOr<LearnReport> Memory::Learn(const std::string&, const LearnBatch&) {
  return Lacks("Learn");
}
absl::Status Memory::PutRecords(const std::string&, RecordClass, std::span<const MemoryRecord>,
                                Source) {
  return Lacks("PutRecords");
}
absl::StatusOr<std::vector<MemoryRecord>> Memory::ScanRecords(const std::string&, RecordClass,
                                                              uint64_t, int) {
  return Lacks("ScanRecords");
}
absl::StatusOr<int64_t> Memory::EraseRecords(const std::string&, RecordClass,
                                             std::span<const uint64_t>) {
  return Lacks("EraseRecords");
}
absl::Status Memory::PutSection(const std::string&, const std::string&, const MemorySection&) {
  return Lacks("PutSection");
}
absl::StatusOr<MemorySection> Memory::GetSection(const std::string&, const std::string&) {
  return Lacks("GetSection");
}
absl::Status Memory::Sync() { return Lacks("Sync"); }
absl::Status Memory::Export(const std::string&,
                            const std::function<absl::Status(std::string_view)>&) {
  return Lacks("Export");
}
absl::StatusOr<ImportReport> Memory::Import(const std::string&, std::string_view, int64_t) {
  return Lacks("Import");
}
absl::StatusOr<int64_t> Memory::Reset(const std::string&) { return Lacks("Reset"); }
absl::StatusOr<BackupReport> Memory::Backup(const std::string&, int) { return Lacks("Backup"); }
absl::StatusOr<MemoryStats> Memory::Stats(const std::string&) { return Lacks("Stats"); }

absl::StatusOr<RememberedFact> Memory::Remember(const std::string& user, std::string_view text) {
  NewFact fact;
  fact.text = text;
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<RememberedFact> facts,
                           Remember(user, std::span<const NewFact>(&fact, 1)));
  CHIMERA_CHECK(facts.size() == 1);
  return facts[0];
}

absl::StatusOr<std::vector<RecalledFact>> Memory::Recall(const std::string& user,
                                                         std::string_view query, int k) {
  const std::string queries[] = {std::string(query)};
  CHIMERA_ASSIGN_OR_RETURN(std::vector<std::vector<RecalledFact>> facts,
                           Recall(user, queries, RecallOptions{.k = k}));
  CHIMERA_CHECK(facts.size() == 1);
  return std::move(facts[0]);
}

uint64_t FactIdOf(std::string_view user, std::string_view text) {
  std::string bytes(user);
  bytes += '\0';
  bytes += text;
  return FactIdFromHex(std::string_view(Sha256Hex(bytes)).substr(0, kFactIdDigits));
}

std::string FactIdToHex(uint64_t id) { return absl::StrFormat("%016x", id); }

uint64_t FactIdFromHex(std::string_view fact_id) {
  uint64_t id = 0;
  const auto [end, error] =
      std::from_chars(fact_id.data(), fact_id.data() + fact_id.size(), id, 16);
  CHIMERA_CHECK(error == std::errc() && end == fact_id.data() + fact_id.size());
  return id;
}

}  // namespace chimera
