#include "cluster/class_table_cache.h"

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "decode/logit_weights.h"

namespace chimera {

std::string_view ClassTableBytes(const ClassTable& table) {
  return {reinterpret_cast<const char*>(table.data()), table.size()};
}

uint64_t ClassTableId(const ClassTable& table) { return Xxh3(ClassTableBytes(table)); }

absl::Status ClassTableCache::Put(uint64_t id, std::string_view bytes) {
  if (bytes.empty() || bytes.size() > kTableBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a class table of ", bytes.size(), " bytes, must be 1 to ", kTableBytesMax));
  }
  CHIMERA_RETURN_IF_ERROR(CheckContentId("class table", id, Xxh3(bytes)));
  auto table = std::make_shared<const ClassTable>(bytes.begin(), bytes.end());
  CHIMERA_RETURN_IF_ERROR(CheckClassTable(*table, static_cast<int>(table->size())));
  tables_.Put(id, std::move(table), static_cast<int64_t>(bytes.size()));
  return absl::OkStatus();
}

}  // namespace chimera
