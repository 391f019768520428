#include "cluster/mask_cache.h"

#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/file.h"

namespace chimera {
namespace {

static_assert(std::endian::native == std::endian::little);

int64_t BytesOf(const NodeMask& mask) {
  return static_cast<int64_t>(mask.size() * sizeof(uint64_t));
}

}  // namespace

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
  if (const uint64_t hash = Xxh3(bytes); hash != id) {
    return absl::InvalidArgumentError(absl::StrCat("mask ", absl::Hex(id, absl::kZeroPad16),
                                                   " has the content of ",
                                                   absl::Hex(hash, absl::kZeroPad16)));
  }
  auto mask = std::make_shared<NodeMask>(bytes.size() / sizeof(uint64_t));
  std::memcpy(mask->data(), bytes.data(), bytes.size());
  MutexLock lock(&mutex_);
  if (by_id_.contains(id)) return absl::OkStatus();
  recent_.emplace_front(id, std::move(mask));
  by_id_[id] = recent_.begin();
  bytes_ += BytesOf(*recent_.front().second);
  while (bytes_ > bytes_max_ && recent_.size() > 1) {
    bytes_ -= BytesOf(*recent_.back().second);
    by_id_.erase(recent_.back().first);
    recent_.pop_back();
  }
  return absl::OkStatus();
}

std::shared_ptr<const NodeMask> MaskCache::Find(uint64_t id) {
  MutexLock lock(&mutex_);
  const auto it = by_id_.find(id);
  if (it == by_id_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, it->second);
  return it->second->second;
}

}  // namespace chimera
