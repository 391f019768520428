#include "memory/state_file.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "memory/record.h"

namespace chimera {
namespace {

constexpr std::string_view kMagic = "CHEVOLVE";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 64;  // in front and, the same again, at the end
constexpr size_t kSectionEntryBytes = 24;
constexpr uint64_t kSectionsMax = 32;

struct SlotHead {
  uint64_t epoch = 0;
  uint64_t bytes = 0;
};
using Header = std::array<SlotHead, 2>;

std::string EncodeHeader(const Header& header) {
  RecordWriter out(kMagic, kVersion);
  for (const SlotHead& slot : header) {
    out.U64(slot.epoch);
    out.U64(slot.bytes);
  }
  out.U64(0);
  return out.Finish();
}

absl::StatusOr<Header> DecodeHeader(std::string_view bytes) {
  CHIMERA_ASSIGN_OR_RETURN(RecordReader in,
                           RecordReader::Open("state file", bytes, kMagic, kVersion));
  Header header;
  for (SlotHead& slot : header) {
    slot.epoch = in.U64();
    slot.bytes = in.U64();
    if (slot.bytes > kStateFileBytesMax) {
      return in.OutOfRange("slot bytes", static_cast<double>(slot.bytes), 0, kStateFileBytesMax);
    }
  }
  if (in.U64() != 0) return in.Fault("bytes 48..55 are not zero");
  CHIMERA_RETURN_IF_ERROR(in.Finish());
  return header;
}

// A table of sections (with the slot's epoch under its checksum), then their bytes.
std::string EncodeSlot(const StateImage& image) {
  if (image.epoch == 0) return "";
  RecordWriter table;
  table.U64(image.epoch);
  table.U64(image.sections.size());
  for (const auto& [section, bytes] : image.sections) {
    table.U32(static_cast<uint32_t>(section));
    table.U32(0);
    table.U64(bytes.size());
    table.U64(Xxh3(bytes));
  }
  std::string out = table.Finish();
  for (const auto& [section, bytes] : image.sections) out += bytes;
  return out;
}

absl::StatusOr<StateImage> DecodeSlot(const SlotHead& head, std::string_view bytes) {
  if (head.epoch == 0 && bytes.empty()) return StateImage{};
  const auto fault = [](const char* what) {
    return absl::DataLossError(absl::StrCat("state slot: ", what));
  };
  // The number of sections says how long the table is; its checksum says whether to believe it.
  if (bytes.size() < 24) return fault("it has no table");
  uint64_t n = 0;
  for (int i = 7; i >= 0; --i) n = n << 8 | static_cast<uint8_t>(bytes[8 + i]);
  const size_t table_bytes = 16 + kSectionEntryBytes * std::min(n, kSectionsMax) + 8;
  if (n > kSectionsMax || table_bytes > bytes.size()) return fault("its table is too long");
  CHIMERA_ASSIGN_OR_RETURN(RecordReader table,
                           RecordReader::OpenBare("state slot", bytes.substr(0, table_bytes)));
  StateImage image;
  image.epoch = table.U64();
  if (image.epoch != head.epoch || image.epoch == 0) return fault("its epoch is another one");
  table.U64();
  bytes.remove_prefix(table_bytes);
  for (uint64_t i = 0; i < n; ++i) {
    const auto section = static_cast<StateSection>(table.U32());
    const uint32_t zero = table.U32();
    const uint64_t size = table.U64(), check = table.U64();
    if (zero != 0 || size > bytes.size()) return fault("a section is longer than the slot");
    if (Xxh3(bytes.substr(0, size)) != check) return fault("a section has a wrong checksum");
    // In order, so that one image has one encoding.
    if (!image.sections.empty() && image.sections.rbegin()->first >= section) {
      return fault("its sections are out of order");
    }
    image.sections.emplace(section, bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  CHIMERA_RETURN_IF_ERROR(table.Finish());
  if (!bytes.empty()) return fault("bytes behind the last section");
  return image;
}

// The header in front or, when that one is damaged, the one at the end.
absl::StatusOr<Header> FindHeader(std::string_view bytes) {
  const absl::StatusOr<Header> front = DecodeHeader(bytes.substr(0, kHeaderBytes));
  if (front.ok() || front.status().code() == absl::StatusCode::kFailedPrecondition ||
      bytes.size() < 2 * kHeaderBytes) {
    return front;
  }
  const absl::StatusOr<Header> back = DecodeHeader(bytes.substr(bytes.size() - kHeaderBytes));
  return back.ok() ? back : front;
}

}  // namespace

std::string EncodeStateFile(const StateImage& a, const StateImage& b) {
  CHIMERA_CHECK(a.epoch != b.epoch || a.epoch == 0);
  const std::string slot_a = EncodeSlot(a), slot_b = EncodeSlot(b);
  const std::string header =
      EncodeHeader({SlotHead{a.epoch, slot_a.size()}, SlotHead{b.epoch, slot_b.size()}});
  return header + slot_a + slot_b + header;
}

absl::StatusOr<StateFileContent> DecodeStateFile(std::string_view bytes) {
  CHIMERA_ASSIGN_OR_RETURN(const Header header, FindHeader(bytes));
  StateFileContent content;
  content.last_epoch = std::max(header[0].epoch, header[1].epoch);
  std::optional<StateImage> best;
  size_t at = kHeaderBytes;
  for (int i = 0; i < 2; ++i) {
    const SlotHead& head = header[static_cast<size_t>(i)];
    if (head.bytes > bytes.size() || at > bytes.size() - head.bytes) break;
    absl::StatusOr<StateImage> image = DecodeSlot(head, bytes.substr(at, head.bytes));
    at += head.bytes;
    if (!image.ok() || (best.has_value() && best->epoch > image->epoch)) continue;
    best = *std::move(image);
  }
  if (!best.has_value()) {
    return absl::DataLossError(absl::StrCat("state file of ", bytes.size(),
                                            " bytes: both slots are damaged (epochs ",
                                            header[0].epoch, " and ", header[1].epoch, ")"));
  }
  content.newest = *std::move(best);
  return content;
}

const std::string& EmptyStateFile() {
  static const std::string* empty = new std::string(EncodeStateFile({}, {}));
  return *empty;
}

absl::StatusOr<StateFile> StateFile::Open(const std::string& path) {
  StateFile file(path);
  const absl::StatusOr<std::string> bytes = ReadFile(path, kStateFileBytesMax);
  if (absl::IsNotFound(bytes.status())) return file;
  if (!bytes.ok()) return bytes.status();
  CHIMERA_ASSIGN_OR_RETURN(file.content_, DecodeStateFile(*bytes));
  return file;
}

absl::Status StateFile::Write(std::map<StateSection, std::string> sections) {
  for (const auto& [section, bytes] : sections) {
    if (bytes.size() <= kStateSectionBytesMax) continue;
    return absl::InvalidArgumentError(absl::StrCat("section ", static_cast<uint32_t>(section),
                                                   " of ", bytes.size(), " bytes; the limit is ",
                                                   kStateSectionBytesMax));
  }
  StateImage next{.epoch = content_.last_epoch + 1, .sections = std::move(sections)};
  CHIMERA_RETURN_IF_ERROR(WriteFileAtomic(path_, EncodeStateFile(next, content_.newest)));
  content_ = {.newest = std::move(next), .last_epoch = content_.last_epoch + 1};
  return absl::OkStatus();
}

absl::StatusOr<std::string> ResetStateFile(const std::string& path) {
  CHIMERA_RETURN_IF_ERROR(WriteFileAtomic(path, EmptyStateFile()));
  CHIMERA_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kStateFileBytesMax));
  const std::string hash = Sha256Hex(bytes);
  if (hash != Sha256Hex(EmptyStateFile())) {
    return absl::DataLossError(absl::StrCat(path, ": not empty after a reset, SHA-256 ", hash));
  }
  return hash;
}

absl::StatusOr<std::string> StateFile::Reset() {
  CHIMERA_ASSIGN_OR_RETURN(std::string hash, ResetStateFile(path_));
  content_ = {};
  return hash;
}

}  // namespace chimera
