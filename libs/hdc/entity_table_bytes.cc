// Entity tables as bytes: docs/formats/entity-table.md.
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "hdc/entity_table.h"

namespace chimera {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kPinned = 1;

// Reads numbers from the front; remembers that something was missing.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : rest_(bytes) {}

  uint64_t Number(size_t n) {
    if (rest_.size() < n) {
      cut_ = true;
      rest_ = {};
      return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < n; ++i) value |= static_cast<uint64_t>(rest_[i]) << (8 * i);
    rest_ = rest_.subspan(n);
    return value;
  }
  bool cut() const { return cut_; }
  size_t left() const { return rest_.size(); }

 private:
  std::span<const uint8_t> rest_;
  bool cut_ = false;
};

void Put(uint64_t value, int n, std::string* out) {
  for (int i = 0; i < n; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

absl::Status Wrong(const std::string& what) {
  return absl::DataLossError(absl::StrCat("entity table: ", what));
}

}  // namespace

std::string EntityTable::Encode() const {
  std::string out;
  out.reserve(kBytesMax);
  Put(kVersion, 1, &out);
  Put(static_cast<uint64_t>(recent_.size), 2, &out);
  for (const uint8_t slot : recent_.span()) {
    const Slot& s = slots_[slot];
    Put(slot, 1, &out);
    Put(s.pinned ? kPinned : 0, 1, &out);
    Put(s.n, 1, &out);
    for (const EntityTerm& term : terms(slot)) {
      Put(static_cast<uint8_t>(term.role), 1, &out);
      Put(term.filler, 4, &out);
    }
  }
  for (const uint64_t word : digest_.words) Put(word, 8, &out);
  return out;
}

absl::StatusOr<EntityTable> EntityTable::Decode(std::span<const uint8_t> bytes,
                                                const EntityCodes* codes) {
  if (bytes.size() > kBytesMax) {
    return Wrong(absl::StrCat(bytes.size(), " bytes exceed ", kBytesMax));
  }
  Reader reader(bytes);
  if (const uint64_t version = reader.Number(1); version != kVersion) {
    return Wrong(absl::StrCat("version ", version, " is not ", kVersion));
  }
  const uint64_t n_slots = reader.Number(2);
  if (n_slots > kEntitySlots) {
    return Wrong(absl::StrCat(n_slots, " slots exceed ", kEntitySlots));
  }
  EntityTable table(codes);
  for (uint64_t i = 0; i < n_slots && !reader.cut(); ++i) {
    const auto slot = static_cast<uint8_t>(reader.Number(1));
    const uint64_t flags = reader.Number(1);
    const uint64_t n = reader.Number(1);
    if (reader.cut()) break;
    if (table.slots_[slot].open) return Wrong(absl::StrCat("slot ", slot, " comes twice"));
    if (flags > kPinned) {
      return Wrong(absl::StrCat("flags ", flags, " of slot ", slot, " exceed ", kPinned));
    }
    if (n > kEntityTermsMax) {
      return Wrong(absl::StrCat(n, " terms of slot ", slot, " exceed ", kEntityTermsMax));
    }
    // Slots come most recent first, and applying makes recent: the order is set afterwards.
    table.slots_[slot].open = true;
    table.recent_.slots[table.recent_.size++] = slot;
    for (uint64_t t = 0; t < n; ++t) {
      const auto role = static_cast<EntityRole>(reader.Number(1));
      const auto filler = static_cast<uint32_t>(reader.Number(4));
      if (reader.cut()) break;
      const SlotList order = table.recent_;
      const absl::Status added = table.Apply(slot, {.role = role, .filler = filler});
      if (!added.ok()) return Wrong(std::string(added.message()));
      table.recent_ = order;
    }
    table.slots_[slot].pinned = flags == kPinned;
  }
  EntityVector digest;
  for (uint64_t& word : digest.words) word = reader.Number(8);
  if (reader.cut()) return Wrong(absl::StrCat("cut after ", bytes.size(), " bytes"));
  if (reader.left() > 0) return Wrong(absl::StrCat(reader.left(), " bytes after the end"));
  if (digest != table.digest_) return Wrong("the digest is not that of the terms and these codes");
  return table;
}

}  // namespace chimera
