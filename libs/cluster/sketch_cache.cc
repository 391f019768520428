#include "cluster/sketch_cache.h"

#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
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
  CHIMERA_RETURN_IF_ERROR(CheckContentId("sketch", id, SketchId(*sketch)));
  sketches_.Put(id, std::move(sketch), kHyperBytes);
  return absl::OkStatus();
}

}  // namespace chimera
