#include "text/tokenizer.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "text/piece_scanner.h"
#include "text/rank_text.h"
#include "text/unicode_classes.h"
#include "text/vocabulary.h"
#include "text/vocabulary_file.h"

namespace chimera {
namespace {

constexpr size_t kFileBytesMax = size_t{64} << 20;

constexpr std::string_view kEot = "endoftext";
constexpr std::string_view kEndOfPrompt = "endofprompt";
constexpr std::string_view kAgents[] = {
    "system",    "user",   "assistant", "im_start", "im_end",   "think",   "/think",   "plan",
    "/plan",     "step",   "/step",     "act",      "/act",     "observe", "/observe", "function",
    "/function", "result", "/result",   "error",    "/error",   "code",    "/code",    "output",
    "/output",   "lang",   "/lang",     "context",  "/context", "quote",   "/quote",   "cite",
    "/cite",     "source", "/source",   "memory",   "/memory",  "recall",  "/recall",  "pad",
    "stop",      "sep",    "image",     "/image",   "audio",    "/audio",  "video",    "/video",
    "title",     "/title", "section",   "/section", "summary",  "/summary"};
static_assert(std::size(kAgents) == kAgentSpecials);

// Pieces of at most 16 bytes that become at most 3 ids: nearly all of running text.
constexpr size_t kShortPiece = 16;
constexpr size_t kShortIds = 3;

struct ShortPiece {
  uint64_t lo = 0, hi = 0;  // the bytes, zero-padded
  int32_t ids[kShortIds] = {};
  uint16_t bytes = 0;  // 0 marks an empty entry
  uint16_t n_ids = 0;

  bool Is(uint64_t its_lo, uint64_t its_hi, size_t size) const {
    return lo == its_lo && hi == its_hi && bytes == size;
  }
};
static_assert(sizeof(ShortPiece) == 32);

// Remembers what short pieces become, two to a set, per thread and for the tokenizer it last
// served. Only saves time: every entry equals what the vocabulary says.
class PieceCache {
 public:
  static constexpr int kSetBits = 15;

  PieceCache() : entries_(size_t{2} << kSetBits) {}

  void BelongTo(uint64_t serial) {
    if (serial == serial_) return;
    serial_ = serial;
    std::fill(entries_.begin(), entries_.end(), ShortPiece{});
  }
  // The entry that holds the piece, or else the one to overwrite, moved to the front of its set.
  ShortPiece& Entry(uint64_t lo, uint64_t hi, size_t size) {
    const uint64_t mixed = (lo ^ (hi << 23 | hi >> 41)) * 0x9E3779B97F4A7C15u;
    ShortPiece* set = &entries_[mixed >> (64 - kSetBits) << 1];
    if (!set[0].Is(lo, hi, size)) std::swap(set[0], set[1]);
    return set[0];
  }

 private:
  uint64_t serial_ = 0;
  std::vector<ShortPiece> entries_;
};

PieceCache& ThreadPieceCache() {
  thread_local PieceCache cache;
  return cache;
}

// The first min(8, n) of the eight bytes of a word.
uint64_t KeepBytes(uint64_t word, size_t n) {
  return n >= 8 ? word : word & ((uint64_t{1} << (8 * n)) - 1);
}

// The piece as two words; reads past it only inside the text.
std::pair<uint64_t, uint64_t> PieceWords(std::string_view text, size_t at, size_t size) {
  uint64_t words[2] = {};
  if (at + kShortPiece <= text.size()) {
    std::memcpy(words, text.data() + at, kShortPiece);
    return {KeepBytes(words[0], size), size > 8 ? KeepBytes(words[1], size - 8) : 0};
  }
  std::memcpy(words, text.data() + at, size);
  return {words[0], words[1]};
}

// Collects ids in a small buffer, since a vector grows slowly one id at a time.
class IdWriter {
 public:
  explicit IdWriter(std::vector<int32_t>* ids) : ids_(ids) {}
  ~IdWriter() { Flush(); }

  void Add(const ShortPiece& piece) {
    if (used_ + kShortIds > buffer_.size()) Flush();
    std::memcpy(buffer_.data() + used_, piece.ids, sizeof piece.ids);
    used_ += piece.n_ids;
  }
  void Flush() {
    ids_->insert(ids_->end(), buffer_.begin(), buffer_.begin() + used_);
    used_ = 0;
  }

 private:
  std::vector<int32_t>* ids_;
  size_t used_ = 0;
  std::array<int32_t, 1024> buffer_;
};

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const Vocabulary> vocabulary)
    : vocabulary_(std::move(vocabulary)),
      classes_(&CodePointClasses::Get()),
      n_ranks_(vocabulary_->n_ranks()) {
  static std::atomic<uint64_t> serials{0};
  serial_ = ++serials;
  const bool full = n_ranks_ == kRanksFull;
  eot_ = full ? 199999 : n_ranks_;
  end_of_prompt_ = full ? 200018 : n_ranks_ + 1;
  first_agent_ = end_of_prompt_ + 1;
}

Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::FromRankText(std::string_view rank_text,
                                                                         int n_ranks) {
  CHIMERA_ASSIGN_OR_RETURN(VocabularyParts parts, ParseRankText(rank_text, n_ranks));
  CHIMERA_ASSIGN_OR_RETURN(auto vocabulary, Vocabulary::Create(std::move(parts)));
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(vocabulary)));
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::FromFile(const std::string& path) {
  CHIMERA_ASSIGN_OR_RETURN(const std::string file, ReadFile(path, kFileBytesMax));
  auto vocabulary = ParseVocabularyFile(file);
  if (!vocabulary.ok()) {
    return absl::DataLossError(absl::StrCat(path, ": ", vocabulary.status().message()));
  }
  return std::shared_ptr<const Tokenizer>(new Tokenizer(*std::move(vocabulary)));
}

absl::Status Tokenizer::WriteFile(const std::string& path) const {
  return WriteFileAtomic(path, SerializeVocabulary(*vocabulary_));
}

std::optional<int> Tokenizer::SpecialId(std::string_view name) const {
  if (name == kEot) return eot_;
  if (name == kEndOfPrompt) return end_of_prompt_;
  const auto* found = std::find(std::begin(kAgents), std::end(kAgents), name);
  if (found == std::end(kAgents)) return std::nullopt;
  return first_agent_ + static_cast<int>(found - std::begin(kAgents));
}

bool Tokenizer::IsSpecial(int id) const { return !SpecialName(id).empty(); }

std::string_view Tokenizer::SpecialName(int id) const {
  if (id == eot_) return kEot;
  if (id == end_of_prompt_) return kEndOfPrompt;
  return id >= first_agent_ && id < vocab_size() ? kAgents[id - first_agent_] : std::string_view();
}

std::string_view Tokenizer::TokenBytes(int id) const {
  if (id < 0 || id >= n_ranks_) return {};
  return vocabulary_->Bytes(static_cast<uint32_t>(id));
}

uint64_t Tokenizer::Hash() const {
  const VocabularyParts& parts = vocabulary_->parts();
  std::string content(reinterpret_cast<const char*>(parts.token_bytes.data()),
                      parts.token_bytes.size());
  content += parts.bytes;
  return Xxh3(content);
}

size_t Tokenizer::EncodePieces(std::string_view bytes, bool whole,
                               std::vector<int32_t>* ids) const {
  PieceCache& cache = ThreadPieceCache();
  cache.BelongTo(serial_);
  PieceScanner scanner(bytes, *classes_);
  IdWriter writer(ids);
  size_t at = 0;
  while (at < bytes.size()) {
    const size_t end = scanner.Next(at);
    if (!whole && scanner.touched_end()) break;
    const size_t size = end - at;
    if (size > kShortPiece) {
      writer.Flush();
      vocabulary_->Encode(bytes.substr(at, size), ids);
      at = end;
      continue;
    }
    const auto [lo, hi] = PieceWords(bytes, at, size);
    ShortPiece& entry = cache.Entry(lo, hi, size);
    if (entry.Is(lo, hi, size)) {
      writer.Add(entry);
      at = end;
      continue;
    }
    writer.Flush();
    const size_t first = ids->size();
    vocabulary_->Encode(bytes.substr(at, size), ids);
    const size_t n_ids = ids->size() - first;
    if (n_ids <= kShortIds) {
      entry = {lo, hi, {}, static_cast<uint16_t>(size), static_cast<uint16_t>(n_ids)};
      std::copy(ids->begin() + first, ids->end(), entry.ids);
    }
    at = end;
  }
  return at;
}

std::vector<int32_t> Tokenizer::Encode(std::string_view bytes) const {
  std::vector<int32_t> ids;
  ids.reserve(bytes.size() / 4 + 8);
  EncodeAppend(bytes, &ids);
  return ids;
}

void Tokenizer::EncodeAppend(std::string_view bytes, std::vector<int32_t>* ids) const {
  EncodePieces(bytes, /*whole=*/true, ids);
}

size_t Tokenizer::EncodeStable(std::string_view bytes, std::vector<int32_t>* ids) const {
  return EncodePieces(bytes, /*whole=*/false, ids);
}

std::string Tokenizer::Decode(std::span<const int32_t> ids) const {
  std::string bytes;
  bytes.reserve(4 * ids.size());
  for (const int32_t id : ids) bytes += TokenBytes(id);
  return bytes;
}

}  // namespace chimera
