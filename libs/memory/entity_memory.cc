#include "memory/entity_memory.h"

#include <algorithm>
#include <set>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "memory/learning_arguments.h"
#include "memory/memory_types.h"
#include "memory/record.h"

namespace chimera {
namespace {

constexpr std::string_view kMagic = "CHENTITY";
constexpr uint32_t kVersion = 1;
constexpr size_t kWordHeadBytes = 6;         // its number and its length
constexpr size_t kSlotBytesMax = 3 + 5 * 2;  // of a new entity with its first statement

}  // namespace

const char* EntityRoleName(EntityRole role) {
  static constexpr const char* kNames[kEntityRoles] = {
      "name", "type",  "gender", "number", "location", "owner",    "time",  "value",
      "part", "state", "cause",  "goal",   "source",   "relation", "title", "other"};
  return kNames[static_cast<size_t>(role)];
}

uint32_t EntityMemory::NumberOf(std::string_view word) const {
  const auto known = std::find_if(words_.begin(), words_.end(),
                                  [&](const auto& entry) { return entry.second == word; });
  if (known != words_.end()) return known->first;
  auto number = static_cast<uint32_t>(Xxh3(word));
  while (words_.contains(number)) ++number;
  return number;
}

std::optional<uint8_t> EntityMemory::SlotOf(std::string_view name) const {
  for (const uint8_t slot : table_.Recent().span()) {
    if (words_.at(table_.terms(slot)[0].filler) == name) return slot;
  }
  return std::nullopt;
}

std::string EntityMemory::NameIn(uint8_t slot) const {
  return words_.at(table_.terms(slot)[0].filler);
}

void EntityMemory::DropUnusedWords() {
  std::set<uint32_t> used;
  for (const uint8_t slot : table_.Recent().span()) {
    for (const EntityTerm& term : table_.terms(slot)) used.insert(term.filler);
  }
  std::erase_if(words_, [&](const auto& entry) { return !used.contains(entry.first); });
}

absl::StatusOr<EntityChange> EntityMemory::Set(const EntityStatement& statement) {
  EntityChange change;
  std::optional<uint8_t> slot = SlotOf(statement.name);
  std::optional<EntityTerm> before;
  if (slot) {
    const std::span<const EntityTerm> terms = table_.terms(*slot);
    const auto same = std::find_if(terms.begin(), terms.end(), [&](const EntityTerm& term) {
      return term.role == statement.role;
    });
    if (same != terms.end()) {
      before = *same;
    } else if (terms.size() == kEntityTermsMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the entity has ", terms.size() - 1, " statements, its limit; one more of ",
                       EntityRoleName(statement.role), " has no room"));
    }
    if (before && words_.at(before->filler) == statement.filler) {
      table_.Touch(*slot);
      return change;
    }
  }
  const size_t bytes = Encode().size() + kSlotBytesMax + 2 * kWordHeadBytes +
                       statement.name.size() + statement.filler.size();
  if (bytes > kSectionBytesMax) {
    return absl::ResourceExhaustedError(absl::StrCat("entities would take up to ", bytes,
                                                     " bytes; the limit is ", kSectionBytesMax));
  }
  if (!slot) {
    change.created = true;
    if (table_.Recent().size == kEntitySlots) {
      change.evicted = NameIn(table_.Recent().slots[kEntitySlots - 1]);
    }
    CHIMERA_ASSIGN_OR_RETURN(slot, table_.Open());  // no slot is ever pinned here
    const uint32_t name = NumberOf(statement.name);
    words_[name] = statement.name;
    CHIMERA_RETURN_IF_ERROR(table_.Apply(*slot, {.role = EntityRole::kName, .filler = name}));
  }
  if (before) {
    change.replaced = words_.at(before->filler);
    CHIMERA_RETURN_IF_ERROR(table_.Undo(*slot, *before));
  }
  const uint32_t filler = NumberOf(statement.filler);
  words_[filler] = statement.filler;
  CHIMERA_RETURN_IF_ERROR(table_.Apply(*slot, {.role = statement.role, .filler = filler}));
  DropUnusedWords();
  return change;
}

bool EntityMemory::Forget(std::string_view name) {
  const std::optional<uint8_t> slot = SlotOf(name);
  if (!slot) return false;
  table_.Close(*slot);
  DropUnusedWords();
  return true;
}

std::vector<EntityInfo> EntityMemory::List(const EntityFilter& filter) const {
  const auto number_of = [this](const std::optional<std::string>& word) {
    return word ? std::optional(NumberOf(*word)) : std::nullopt;
  };
  const SlotList slots = table_.Candidates(number_of(filter.number), number_of(filter.gender));
  std::vector<EntityInfo> entities;
  for (const uint8_t slot : slots.span()) {
    EntityInfo& entity = entities.emplace_back();
    entity.name = NameIn(slot);
    for (const EntityTerm& term : table_.terms(slot).subspan(1)) {
      entity.parts.push_back({.role = term.role, .filler = words_.at(term.filler)});
    }
  }
  return entities;
}

std::string EntityMemory::Encode() const {
  RecordWriter out(kMagic, kVersion);
  const std::string table = table_.Encode();
  out.U32(static_cast<uint32_t>(table.size()));
  out.U32(static_cast<uint32_t>(words_.size()));
  out.Bytes(table);
  for (const auto& [number, word] : words_) {
    out.U32(number);
    out.U16(static_cast<uint16_t>(word.size()));
    out.Bytes(word);
  }
  return out.Finish();
}

absl::StatusOr<EntityMemory> EntityMemory::Decode(std::string_view bytes,
                                                  const EntityCodes* codes) {
  CHIMERA_ASSIGN_OR_RETURN(RecordReader in,
                           RecordReader::Open("entities", bytes, kMagic, kVersion));
  const uint32_t table_bytes = in.U32(), words = in.U32();
  const std::string_view table_part = in.Bytes(table_bytes);
  auto table = EntityTable::Decode(
      {reinterpret_cast<const uint8_t*>(table_part.data()), table_part.size()}, codes);
  if (!table.ok()) return in.Fault(std::string(table.status().message()));
  EntityMemory out(*std::move(table));
  if (words > in.left() / kWordHeadBytes) {
    return in.Fault(absl::StrCat("it says ", words, " words and has ", in.left(), " bytes"));
  }
  std::set<std::string_view> seen;
  for (uint32_t i = 0; i < words; ++i) {
    const uint32_t number = in.U32();
    const uint16_t size = in.U16();
    const std::string_view word = in.Bytes(size);
    if (!ValidateEntityText(word, "word").ok()) return in.Fault(absl::StrCat("word ", i));
    if (!seen.insert(word).second) return in.Fault(absl::StrCat("word ", i, " is there twice"));
    if (!out.words_.empty() && out.words_.rbegin()->first >= number) {
      return in.Fault(absl::StrCat("word ", i, " is out of order"));
    }
    out.words_.emplace(number, word);
  }
  CHIMERA_RETURN_IF_ERROR(in.Finish());
  std::set<uint32_t> names, used;
  for (const uint8_t slot : out.table_.Recent().span()) {
    const auto terms = out.table_.terms(slot);
    std::set<EntityRole> roles;
    for (const EntityTerm& term : terms) {
      used.insert(term.filler);
      if (!roles.insert(term.role).second) return in.Fault("an entity has a role twice");
      if (!out.words_.contains(term.filler)) return in.Fault("a term has no word");
    }
    if (terms.empty() || terms[0].role != EntityRole::kName ||
        !names.insert(terms[0].filler).second) {
      return in.Fault(absl::StrCat("the name in slot ", slot));
    }
    if (out.table_.pinned(slot)) return in.Fault(absl::StrCat("slot ", slot, " is pinned"));
  }
  if (used.size() != out.words_.size()) return in.Fault("a word has no term");
  return out;
}

}  // namespace chimera
