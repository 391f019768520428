#include "cluster/content_lru.h"

#include "absl/strings/str_cat.h"

namespace chimera {

absl::Status CheckContentId(const char* what, uint64_t id, uint64_t hash) {
  if (hash == id) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " ", absl::Hex(id, absl::kZeroPad16),
                                                 " has the content of ",
                                                 absl::Hex(hash, absl::kZeroPad16)));
}

}  // namespace chimera
