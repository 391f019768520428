// The entities a user spoke of, by name (math-inference-training C.5): the entity table, whose
// terms are numbers, and the words these numbers stand for.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hdc/entity_table.h"
#include "memory/learning_types.h"

namespace chimera {

// An entity is a slot whose first term is its name. A word's number is the low half of its
// XXH3-64, or the next free one. Thread-compatible.
class EntityMemory {
 public:
  // The codes are borrowed.
  explicit EntityMemory(const EntityCodes* codes) : table_(codes) {}

  // Says it of the entity, which is the most recent afterwards. A 257th entity takes the slot of
  // the one that was not spoken of for longest. RESOURCE_EXHAUSTED, and nothing done, when the
  // entity has kEntityTermsMax terms, its name included, or Encode() could exceed
  // kSectionBytesMax. The statement is valid (learning_arguments.h).
  absl::StatusOr<EntityChange> Set(const EntityStatement& statement);
  // False when it is not known.
  bool Forget(std::string_view name);
  // Those the filter leaves, most recent first.
  std::vector<EntityInfo> List(const EntityFilter& filter) const;

  // Magic CHENTITY (docs/formats/entity-table.md).
  std::string Encode() const;
  // DATA_LOSS naming the fault.
  static absl::StatusOr<EntityMemory> Decode(std::string_view bytes, const EntityCodes* codes);

 private:
  explicit EntityMemory(EntityTable table) : table_(std::move(table)) {}

  // The number of the word, whether it has one already or not.
  uint32_t NumberOf(std::string_view word) const;
  std::optional<uint8_t> SlotOf(std::string_view name) const;
  std::string NameIn(uint8_t slot) const;
  void DropUnusedWords();

  EntityTable table_;
  std::map<uint32_t, std::string> words_;  // of every term in the table, and no others
};

}  // namespace chimera
