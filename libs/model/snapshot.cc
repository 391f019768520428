#include "model/snapshot.h"

#include <bit>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "layers/titans.h"

namespace chimera {
namespace {

static_assert(std::endian::native == std::endian::little, "snapshot bytes are little endian");

constexpr char kMagic[8] = {'C', 'H', 'I', 'M', 'S', 'N', 'A', 'P'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kByteOrder = 0x01020304;
constexpr size_t kHashedFrom = 24;
constexpr uint64_t kPositionMax = uint64_t{1} << 30;  // rings count positions in 32 bits

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t byte_order;
  uint64_t checksum;
  uint64_t total_bytes;
  char model_id[64];
  uint32_t loops;
  uint32_t n_recent;
  uint64_t position;
  uint64_t n_floats;
  uint32_t surface_bytes;
  uint32_t zero;
};
static_assert(sizeof(Header) == kSnapshotHeaderBytes);

absl::Status Corrupt(const std::string& fault) {
  return absl::DataLossError(absl::StrCat("snapshot: ", fault));
}

absl::Status ReadHeader(std::string_view bytes, Header* header) {
  if (bytes.size() < sizeof(Header)) {
    return Corrupt(absl::StrCat("has ", bytes.size(), " bytes, its header needs ", sizeof(Header)));
  }
  std::memcpy(header, bytes.data(), sizeof(Header));
  if (std::memcmp(header->magic, kMagic, sizeof(kMagic)) != 0) {
    return Corrupt("not a snapshot (wrong magic)");
  }
  if (header->version != kVersion) {
    return Corrupt(
        absl::StrCat("version ", header->version, " is not the supported version ", kVersion));
  }
  if (header->byte_order != kByteOrder) return Corrupt("wrong byte order mark");
  return absl::OkStatus();
}

absl::Status CheckFrame(std::string_view bytes, Header* header) {
  CHIMERA_RETURN_IF_ERROR(ReadHeader(bytes, header));
  if (header->total_bytes != bytes.size()) {
    return Corrupt(
        absl::StrCat("has ", bytes.size(), " bytes but its header declares ", header->total_bytes));
  }
  if (header->checksum != Xxh3(bytes.substr(kHashedFrom))) return Corrupt("checksum mismatch");
  return absl::OkStatus();
}

absl::Status CheckFit(const Model& model, const Header& h) {
  const std::string id(h.model_id, sizeof(h.model_id));
  if (id != model.id()) {
    return absl::FailedPreconditionError(
        absl::StrCat("snapshot belongs to model ", absl::CHexEscape(id), ", this is ", model.id()));
  }
  const ModelConfig& c = model.shape();
  if (h.loops < 1 || h.loops > static_cast<uint32_t>(c.loop.loops_max)) {
    return Corrupt(absl::StrCat("loops ", h.loops, " is outside 1..", c.loop.loops_max));
  }
  const auto floats = static_cast<uint64_t>(BraidState::Bytes(c, static_cast<int>(h.loops))) / 4;
  if (h.n_floats != floats) {
    return Corrupt(absl::StrCat("holds ", h.n_floats, " state floats, the model needs ", floats));
  }
  if (h.n_recent > static_cast<uint32_t>(c.recent_tokens)) {
    return Corrupt(absl::StrCat(h.n_recent, " recent tokens exceed ", c.recent_tokens));
  }
  if (h.surface_bytes > kSurfaceHalfMax) {
    return Corrupt(
        absl::StrCat("surface half of ", h.surface_bytes, " bytes exceeds ", kSurfaceHalfMax));
  }
  if (h.position > kPositionMax) {
    return Corrupt(absl::StrCat("position ", h.position, " exceeds ", kPositionMax));
  }
  const uint64_t expected =
      sizeof(Header) + 4 * floats + uint64_t{4} * h.n_recent + h.surface_bytes;
  if (h.total_bytes != expected) {
    return Corrupt(absl::StrCat("has ", h.total_bytes, " bytes, its counts need ", expected));
  }
  return absl::OkStatus();
}

// Counters among the floats that layers use as indices.
absl::Status CheckCounters(const ModelConfig& c, BraidState* state) {
  for (int i = 0; i < c.n_layers; ++i) {
    if (c.layers[static_cast<size_t>(i)] != LayerKind::kTitans) continue;
    const char* problem = TitansMemoryProblem(state->position(), state->memory(i).data());
    const int iterations = c.loop.Contains(i) ? state->loops() : 1;
    for (int n = 0; n < iterations && problem == nullptr; ++n) {
      problem = TitansRingProblem(state->position(), state->layer(i, n).data());
    }
    if (problem != nullptr) return Corrupt(absl::StrCat("layer ", i, ": ", problem));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> WriteSnapshot(const Model& model, const BraidState& state,
                                          std::span<const int32_t> recent,
                                          std::string_view surface) {
  const auto recent_max = static_cast<size_t>(model.shape().recent_tokens);
  if (recent.size() > recent_max) {
    return absl::InvalidArgumentError(
        absl::StrCat(recent.size(), " recent tokens exceed ", recent_max));
  }
  if (surface.size() > kSurfaceHalfMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("surface half of ", surface.size(), " bytes exceeds ", kSurfaceHalfMax));
  }
  Header h{};
  std::memcpy(h.magic, kMagic, sizeof(kMagic));
  h.version = kVersion;
  h.byte_order = kByteOrder;
  std::memcpy(h.model_id, model.id().data(), sizeof(h.model_id));
  h.loops = static_cast<uint32_t>(state.loops());
  h.n_recent = static_cast<uint32_t>(recent.size());
  h.position = static_cast<uint64_t>(state.position());
  h.n_floats = state.floats().size();
  h.surface_bytes = static_cast<uint32_t>(surface.size());
  h.total_bytes = static_cast<uint64_t>(SnapshotBytes(state, recent.size(), surface.size()));
  std::string bytes;
  bytes.reserve(h.total_bytes);
  bytes.append(reinterpret_cast<const char*>(&h), sizeof(h));
  bytes.append(reinterpret_cast<const char*>(state.floats().data()), state.floats().size_bytes());
  bytes.append(reinterpret_cast<const char*>(recent.data()), recent.size_bytes());
  bytes.append(surface);
  h.checksum = Xxh3(std::string_view(bytes).substr(kHashedFrom));
  std::memcpy(bytes.data(), &h, sizeof(h));
  return bytes;
}

int64_t SnapshotBytes(const BraidState& state, size_t n_recent, size_t surface_bytes) {
  return static_cast<int64_t>(sizeof(Header) + state.floats().size_bytes() +
                              n_recent * sizeof(int32_t) + surface_bytes);
}

absl::StatusOr<std::string> SnapshotModelId(std::string_view bytes) {
  Header h;
  CHIMERA_RETURN_IF_ERROR(ReadHeader(bytes, &h));
  return std::string(h.model_id, sizeof(h.model_id));
}

absl::StatusOr<SnapshotHead> ReadSnapshotHead(const Model& model, std::string_view bytes) {
  Header h;
  CHIMERA_RETURN_IF_ERROR(ReadHeader(bytes, &h));
  CHIMERA_RETURN_IF_ERROR(CheckFit(model, h));
  return SnapshotHead{static_cast<int>(h.loops), static_cast<int64_t>(h.position),
                      static_cast<int64_t>(h.total_bytes)};
}

absl::Status ReadSnapshotInto(const Model& model, std::string_view bytes, BraidState* state,
                              std::vector<int32_t>* recent, std::string* surface) {
  Header h;
  CHIMERA_RETURN_IF_ERROR(CheckFrame(bytes, &h));
  CHIMERA_RETURN_IF_ERROR(CheckFit(model, h));
  CHIMERA_CHECK(state->loops() == static_cast<int>(h.loops));
  const char* at = bytes.data() + sizeof(h);
  std::memcpy(state->floats().data(), at, h.n_floats * 4);
  at += h.n_floats * 4;
  state->set_position(static_cast<int64_t>(h.position));
  CHIMERA_RETURN_IF_ERROR(CheckCounters(model.shape(), state));
  recent->resize(h.n_recent);
  std::memcpy(recent->data(), at, size_t{4} * h.n_recent);
  at += size_t{4} * h.n_recent;
  for (int32_t token : *recent) {
    if (token < 0 || token >= model.shape().vocab_size) {
      return Corrupt(absl::StrCat("recent token ", token, " is outside the vocabulary"));
    }
  }
  surface->assign(at, h.surface_bytes);
  return absl::OkStatus();
}

absl::StatusOr<Snapshot> ReadSnapshot(const Model& model, std::string_view bytes) {
  CHIMERA_ASSIGN_OR_RETURN(const SnapshotHead head, ReadSnapshotHead(model, bytes));
  Snapshot snapshot{BraidState(model.shape(), head.loops), {}, {}};
  CHIMERA_RETURN_IF_ERROR(
      ReadSnapshotInto(model, bytes, &snapshot.state, &snapshot.recent, &snapshot.surface));
  return snapshot;
}

}  // namespace chimera
