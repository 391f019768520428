#include "cluster/mask_cache.h"

#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace chimera {

static_assert(std::endian::native == std::endian::little);

std::string MaskBytes(const NodeMask& mask) {
  std::string bytes(mask.size() * sizeof(uint64_t), '\0');
  std::memcpy(bytes.data(), mask.data(), bytes.size());
  return bytes;
}

uint64_t MaskId(const NodeMask& mask) {
  return Xxh3(
      std::string_view(reinterpret_cast<const char*>(mask.data()), mask.size() * sizeof(uint64_t)));
}

absl::Status MaskCache::Put(uint64_t id, std::string_view bytes) {
  if (bytes.empty() || bytes.size() > kMaskBytesMax || bytes.size() % sizeof(uint64_t) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a mask of ", bytes.size(), " bytes, must be 8 to ", kMaskBytesMax, " in steps of 8"));
  }
  CHIMERA_RETURN_IF_ERROR(CheckContentId("mask", id, Xxh3(bytes)));
  auto mask = std::make_shared<NodeMask>(bytes.size() / sizeof(uint64_t));
  std::memcpy(mask->data(), bytes.data(), bytes.size());
  masks_.Put(id, std::move(mask), static_cast<int64_t>(bytes.size()));
  return absl::OkStatus();
}

}  // namespace chimera
