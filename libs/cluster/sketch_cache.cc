#include "cluster/sketch_cache.h"

#include <span>

#include "absl/strings/str_cat.h"
#include "layers/span_knot.h"

namespace chimera {

uint64_t SketchId(const HyperVector& sketch) { return SketchHash(sketch.words.data(), kHyperBits); }

absl::Status SketchCache::Put(uint64_t id, std::string_view bytes) {
  if (bytes.size() != kHyperBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a sketch of ", bytes.size(), " bytes, must be ", kHyperBytes));
  }
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  auto sketch = std::make_shared<const HyperVector>(
      FromBytes(std::span<const uint8_t, kHyperBytes>(data, kHyperBytes)));
  if (const uint64_t hash = SketchId(*sketch); hash != id) {
    return absl::InvalidArgumentError(absl::StrCat("sketch ", absl::Hex(id, absl::kZeroPad16),
                                                   " has the content of ",
                                                   absl::Hex(hash, absl::kZeroPad16)));
  }
  MutexLock lock(&mutex_);
  if (by_id_.contains(id)) return absl::OkStatus();
  recent_.emplace_front(id, std::move(sketch));
  by_id_[id] = recent_.begin();
  if (recent_.size() > sketches_max_) {
    by_id_.erase(recent_.back().first);
    recent_.pop_back();
  }
  return absl::OkStatus();
}

std::shared_ptr<const HyperVector> SketchCache::Find(uint64_t id) {
  MutexLock lock(&mutex_);
  const auto it = by_id_.find(id);
  if (it == by_id_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, it->second);
  return it->second->second;
}

}  // namespace chimera
