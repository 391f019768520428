#include "text/vocabulary_file.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "text/tokenizer.h"

namespace chimera {
namespace {

constexpr char kMagic[8] = {'C', 'H', 'I', 'M', 'T', 'O', 'K', 'N'};
constexpr uint32_t kVersion = 1;

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t zero;
  uint64_t checksum;
  uint32_t n_ranks;
  uint32_t token_bytes;
};
static_assert(sizeof(Header) == 32);
constexpr size_t kChecksumEnd = offsetof(Header, n_ranks);

absl::Status Fault(const std::string& fault) {
  return absl::DataLossError(absl::StrCat("tokenizer file: ", fault));
}

absl::Status CheckHeader(const Header& header, std::string_view file) {
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) return Fault("is not one (magic)");
  if (header.version != kVersion) {
    return Fault(absl::StrCat("version ", header.version, ", this program reads ", kVersion));
  }
  if (header.zero != 0) return Fault(absl::StrCat("reserved field is ", header.zero, ", not 0"));
  if (header.n_ranks < kRanksMin || header.n_ranks > kRanksFull) {
    return Fault(
        absl::StrCat("n_ranks ", header.n_ranks, " is not in [", kRanksMin, ", ", kRanksFull, "]"));
  }
  const uint64_t expected = sizeof(Header) + uint64_t{6} * header.n_ranks + header.token_bytes;
  if (file.size() != expected) {
    return Fault(absl::StrCat(file.size(), " bytes, its header needs ", expected));
  }
  const uint64_t checksum = Xxh3(file.substr(kChecksumEnd));
  if (checksum != header.checksum) return Fault("checksum does not match its content");
  return absl::OkStatus();
}

}  // namespace

std::string SerializeVocabulary(const Vocabulary& vocabulary) {
  const VocabularyParts& parts = vocabulary.parts();
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.n_ranks = static_cast<uint32_t>(vocabulary.n_ranks());
  header.token_bytes = static_cast<uint32_t>(parts.bytes.size());
  std::string file(reinterpret_cast<const char*>(&header), sizeof header);
  file.append(reinterpret_cast<const char*>(parts.order.data()), 4 * parts.order.size());
  file.append(reinterpret_cast<const char*>(parts.token_bytes.data()), parts.token_bytes.size());
  file.append(reinterpret_cast<const char*>(parts.left_bytes.data()), parts.left_bytes.size());
  file.append(parts.bytes);
  const uint64_t checksum = Xxh3(std::string_view(file).substr(kChecksumEnd));
  std::memcpy(file.data() + offsetof(Header, checksum), &checksum, sizeof checksum);
  return file;
}

absl::StatusOr<std::unique_ptr<const Vocabulary>> ParseVocabularyFile(std::string_view file) {
  Header header;
  if (file.size() < sizeof header) {
    return Fault(absl::StrCat(file.size(), " bytes, shorter than its header"));
  }
  std::memcpy(&header, file.data(), sizeof header);
  if (absl::Status status = CheckHeader(header, file); !status.ok()) return status;
  const size_t n = header.n_ranks;
  const char* at = file.data() + sizeof header;
  VocabularyParts parts;
  parts.order.resize(n);
  std::memcpy(parts.order.data(), at, 4 * n);
  at += 4 * n;
  parts.token_bytes.assign(at, at + n);
  at += n;
  parts.left_bytes.assign(at, at + n);
  at += n;
  parts.bytes.assign(at, header.token_bytes);
  auto vocabulary = Vocabulary::Create(std::move(parts));
  if (!vocabulary.ok()) return Fault(std::string(vocabulary.status().message()));
  return vocabulary;
}

}  // namespace chimera
