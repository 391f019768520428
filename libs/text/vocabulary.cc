#include "text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <bitset>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "text/tokenizer.h"

namespace chimera {
namespace {

constexpr int kIdBits = 20;
constexpr uint64_t kIdMask = (uint64_t{1} << kIdBits) - 1;
constexpr uint64_t kEmpty = ~uint64_t{0};  // an empty place of either table
constexpr uint64_t kLow32 = 0xFFFFFFFFu;
static_assert(kRanksFull < (1 << kIdBits), "ids fit the packed pair");

// A well-spread table of half load probes a few places. Only a file made to collide needs more, and
// is refused rather than loaded in quadratic time.
constexpr int kProbesMax = 1000;

absl::Status Fault(int64_t id, const char* fault) {
  return absl::InvalidArgumentError(absl::StrCat("vocabulary: rank ", id, " ", fault));
}

// Pieces below this keep their marks in one word.
constexpr size_t kSmallPiece = 64;

// Bits of the filter for each pair, before rounding up.
constexpr size_t kFilterBits = 8;

size_t TableSize(size_t entries) { return std::bit_ceil(2 * entries); }

uint64_t FilterBit(uint64_t hash) { return uint64_t{1} << (hash & 63); }

uint64_t PairHash(uint64_t pair) {
  pair *= 0x9E3779B97F4A7C15u;
  return pair ^ pair >> 32;
}

// The first eight bytes as a number that orders like the bytes do.
uint64_t OrderKey(std::string_view bytes) {
  uint64_t word = 0;
  std::memcpy(&word, bytes.data(), std::min<size_t>(8, bytes.size()));
  return __builtin_bswap64(word);
}

size_t CommonPrefix(std::string_view a, std::string_view b) {
  const size_t size = std::min(a.size(), b.size());
  size_t i = 0;
  while (i < size && a[i] == b[i]) ++i;
  return i;
}

uint32_t FirstTwo(uint64_t order_key) { return static_cast<uint32_t>(order_key >> 48); }

}  // namespace

absl::StatusOr<std::unique_ptr<const Vocabulary>> Vocabulary::Create(VocabularyParts parts) {
  std::unique_ptr<Vocabulary> vocabulary(new Vocabulary(std::move(parts)));
  CHIMERA_RETURN_IF_ERROR(vocabulary->CheckSizes());
  CHIMERA_RETURN_IF_ERROR(vocabulary->IndexBytes());
  CHIMERA_RETURN_IF_ERROR(vocabulary->IndexOrder());
  CHIMERA_RETURN_IF_ERROR(vocabulary->IndexSplits());
  return std::unique_ptr<const Vocabulary>(std::move(vocabulary));
}

absl::Status Vocabulary::CheckSizes() {
  const size_t n = parts_.token_bytes.size();
  if (n < kRanksMin || n > kRanksFull) {
    return absl::InvalidArgumentError(
        absl::StrCat("vocabulary: ", n, " ranks, not in [", kRanksMin, ", ", kRanksFull, "]"));
  }
  places_.reserve(n);
  size_t offset = 0;
  for (size_t id = 0; id < n; ++id) {
    if (parts_.token_bytes[id] == 0) return Fault(id, "is empty");
    if ((parts_.token_bytes[id] == 1) != (id < 256))
      return Fault(id, "breaks 'first the 256 bytes'");
    places_.push_back({static_cast<uint32_t>(offset), parts_.token_bytes[id]});
    offset += parts_.token_bytes[id];
  }
  if (offset != parts_.bytes.size()) {
    return absl::InvalidArgumentError(absl::StrCat("vocabulary: token lengths add up to ", offset,
                                                   " bytes, not ", parts_.bytes.size()));
  }
  return absl::OkStatus();
}

absl::Status Vocabulary::IndexBytes() {
  byte_table_.assign(TableSize(n_ranks()), kEmpty);
  const size_t mask = byte_table_.size() - 1;
  for (uint32_t id = 0; id < static_cast<uint32_t>(n_ranks()); ++id) {
    const std::string_view bytes = Bytes(id);
    if (bytes.size() == 1) byte_ids_[static_cast<uint8_t>(bytes[0])] = id;
    const uint64_t hash = Xxh3(bytes);
    size_t slot = hash & mask;
    for (int probes = 0; byte_table_[slot] != kEmpty; ++probes) {
      if (HoldsBytes(byte_table_[slot], hash, bytes)) return Fault(id, "repeats an earlier one");
      if (probes == kProbesMax) return Fault(id, "collides with too many others");
      slot = (slot + 1) & mask;
    }
    byte_table_[slot] = (hash & ~kLow32) | id;
  }
  return absl::OkStatus();
}

bool Vocabulary::HoldsBytes(uint64_t entry, uint64_t hash, std::string_view bytes) const {
  return (entry ^ hash) <= kLow32 && Bytes(static_cast<uint32_t>(entry & kLow32)) == bytes;
}

uint32_t Vocabulary::Find(std::string_view bytes) const {
  if (bytes.size() > kTokenBytesMax) return kNone;
  const uint64_t hash = Xxh3(bytes);
  const size_t mask = byte_table_.size() - 1;
  for (size_t slot = hash & mask; byte_table_[slot] != kEmpty; slot = (slot + 1) & mask) {
    if (HoldsBytes(byte_table_[slot], hash, bytes)) {
      return static_cast<uint32_t>(byte_table_[slot] & kLow32);
    }
  }
  return kNone;
}

absl::Status Vocabulary::IndexOrder() {
  const size_t n = parts_.token_bytes.size();
  std::vector<uint32_t>& order = parts_.order;
  if (order.empty()) {
    order.resize(n);
    for (uint32_t id = 0; id < n; ++id) order[id] = id;
    std::sort(order.begin(), order.end(),
              [this](uint32_t a, uint32_t b) { return Bytes(a) < Bytes(b); });
  }
  if (order.size() != n) return absl::InvalidArgumentError("vocabulary: order has another length");
  std::vector<uint64_t> keys(n);  // by id: reads the bytes in the order they lie in
  for (uint32_t id = 0; id < n; ++id) keys[id] = OrderKey(Bytes(id));
  order_keys_.resize(n);
  shorter_prefix_.assign(n, kNone);
  order_begin_.assign(65537, static_cast<uint32_t>(n));
  std::vector<uint32_t> prefixes;  // the tokens that are prefixes of the last one, and itself
  uint32_t filled = 0;
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t id = order[i];
    if (id >= n) return Fault(id, "in the sorted order does not exist");
    order_keys_[i] = keys[id];
    for (; filled <= FirstTwo(keys[id]); ++filled) order_begin_[filled] = i;
    if (i > 0) {
      // Strictly rising bytes prove that the order holds every token once. The keys tell mostly.
      const uint32_t last = prefixes.back();
      const uint64_t differ = keys[last] ^ keys[id];
      if (differ != 0 ? keys[last] > keys[id] : Bytes(last) >= Bytes(id)) {
        return Fault(id, "is out of order");
      }
      const size_t common = differ != 0 ? static_cast<size_t>(std::countl_zero(differ)) / 8
                                        : CommonPrefix(Bytes(last), Bytes(id));
      while (!prefixes.empty() && parts_.token_bytes[prefixes.back()] > common) prefixes.pop_back();
      if (!prefixes.empty()) shorter_prefix_[id] = prefixes.back();
    }
    prefixes.push_back(id);
  }
  return absl::OkStatus();
}

absl::Status Vocabulary::IndexSplits() {
  const uint32_t n = static_cast<uint32_t>(n_ranks());
  const bool derive = parts_.left_bytes.empty();
  if (derive) parts_.left_bytes.assign(n, 0);
  if (parts_.left_bytes.size() != n) {
    return absl::InvalidArgumentError("vocabulary: splits have another length");
  }
  splits_.resize(n);
  pair_table_.assign(TableSize(n), kEmpty);
  pair_filter_.assign(std::bit_ceil(kFilterBits * n) / 64, 0);
  for (uint32_t id = 0; id < n; ++id) {
    const size_t size = parts_.token_bytes[id];
    size_t left = parts_.left_bytes[id];
    if (size == 1) {
      if (left != 0) return Fault(id, "is a single byte and has a split");
      splits_[id] = {id, id};
      continue;
    }
    if (!derive) {
      if (left == 0 || left >= size || !TrySplit(id, left)) return Fault(id, "has a wrong split");
      continue;
    }
    for (left = 1; left < size && !TrySplit(id, left);) ++left;
    if (left == size) return Fault(id, "is reached by no merge of lower ranks");
    parts_.left_bytes[id] = static_cast<uint8_t>(left);
  }
  return absl::OkStatus();
}

// Enters id's split after `left_bytes` bytes if that is what the rule joins last. Needs the splits
// of all lower ranks.
bool Vocabulary::TrySplit(uint32_t id, size_t left_bytes) {
  uint32_t left = shorter_prefix_[id];
  while (left != kNone && parts_.token_bytes[left] > left_bytes) left = shorter_prefix_[left];
  if (left >= id || parts_.token_bytes[left] != left_bytes) return false;  // kNone is the largest
  const uint32_t right = Find(Bytes(id).substr(left_bytes));
  if (right >= id || !StaysApart(left, right, id)) return false;
  splits_[id] = {left, right};
  const uint64_t pair = uint64_t{left} << kIdBits | right;
  const uint64_t hash = PairHash(pair);
  pair_filter_[FilterWord(hash)] |= FilterBit(hash);
  const size_t mask = pair_table_.size() - 1;
  size_t slot = hash & mask;
  for (int probes = 0; pair_table_[slot] != kEmpty; ++probes) {
    if (probes == kProbesMax) return false;
    slot = (slot + 1) & mask;
  }
  pair_table_[slot] = pair << kIdBits | id;
  return true;
}

uint32_t Vocabulary::Joined(uint32_t left, uint32_t right) const {
  const uint64_t pair = uint64_t{left} << kIdBits | right;
  const uint64_t hash = PairHash(pair);
  if ((pair_filter_[FilterWord(hash)] & FilterBit(hash)) == 0) return kNone;
  const size_t mask = pair_table_.size() - 1;
  size_t slot = hash & mask;
  while (pair_table_[slot] != kEmpty) {
    if (pair_table_[slot] >> kIdBits == pair)
      return static_cast<uint32_t>(pair_table_[slot] & kIdMask);
    slot = (slot + 1) & mask;
  }
  return kNone;
}

// Whether the rule, using merges below `limit` only, leaves the boundary between two adjacent
// tokens alone. Runs the merges that built both backwards, the latest first, as far as they touch
// the boundary: at no moment may the two tokens beside it join before the next merge that did
// happen. Of equal ranks the left one is merged first, hence `limit` for the left side and `limit +
// 1` for the right.
bool Vocabulary::StaysApart(uint32_t left, uint32_t right, uint32_t limit) const {
  while (true) {
    if (Joined(left, right) < limit) return false;
    const bool left_is_byte = splits_[left].left == left;
    const bool right_is_byte = splits_[right].left == right;
    if (left_is_byte && right_is_byte) return true;
    // The later merge is the higher rank; single bytes were there from the start.
    if (right_is_byte || (!left_is_byte && left > right)) {
      limit = left;
      left = splits_[left].right;
    } else {
      limit = right + 1;
      right = splits_[right].left;
    }
  }
}

// The last token of `order` whose bytes are not above text's, among those that begin with text's
// first two bytes; kNone if there is none.
uint32_t Vocabulary::LastNotAbove(std::string_view text) const {
  const uint64_t key = OrderKey(text);
  uint32_t lo = order_begin_[FirstTwo(key)];
  uint32_t hi = order_begin_[FirstTwo(key) + 1];
  const uint32_t begin = lo;
  while (lo < hi) {
    const uint32_t middle = lo + (hi - lo) / 2;
    const uint64_t its_key = order_keys_[middle];
    const bool above = its_key != key ? its_key > key : Bytes(parts_.order[middle]) > text;
    if (above) {
      hi = middle;
    } else {
      lo = middle + 1;
    }
  }
  return lo == begin ? kNone : parts_.order[lo - 1];
}

// The longest token that text begins with. All prefixes of text that are tokens are also prefixes
// of the last token not above text, since they sort between the two.
uint32_t Vocabulary::LongestPrefix(std::string_view text) const {
  text = text.substr(0, kTokenBytesMax);
  uint32_t id = LastNotAbove(text);
  if (id != kNone) {
    const size_t common = CommonPrefix(text, Bytes(id));
    while (id != kNone && parts_.token_bytes[id] > common) id = shorter_prefix_[id];
  }
  return id != kNone ? id : byte_ids_[static_cast<uint8_t>(text[0])];
}

void Vocabulary::Encode(std::string_view piece, std::vector<int32_t>* ids) const {
  if (piece.empty()) return;
  if (const uint32_t id = Find(piece); id != kNone) {
    ids->push_back(static_cast<int32_t>(id));
  } else if (piece.size() < kSmallPiece) {
    std::bitset<kSmallPiece> hopeless;
    Search(piece, &hopeless, ids);
  } else {
    std::vector<bool> hopeless(piece.size() + 1);
    Search(piece, &hopeless, ids);
  }
}

// hopeless holds a mark for every place in the piece, both ends included: no row can go through it.
template <typename Marks>
void Vocabulary::Search(std::string_view piece, Marks* hopeless, std::vector<int32_t>* ids) const {
  const size_t first = ids->size();
  size_t at = 0;
  uint32_t id = LongestPrefix(piece);
  while (true) {
    const size_t next = at + parts_.token_bytes[id];
    const bool fits =
        !(*hopeless)[next] &&
        (ids->size() == first || StaysApart(static_cast<uint32_t>(ids->back()), id, kNone));
    if (fits) {
      ids->push_back(static_cast<int32_t>(id));
      at = next;
      if (at == piece.size()) return;
      id = LongestPrefix(piece.substr(at));
    } else if (shorter_prefix_[id] != kNone) {
      id = shorter_prefix_[id];
    } else {
      // The rule always ends with some row, so the first place is never given up.
      CHIMERA_CHECK(ids->size() > first);
      (*hopeless)[at] = true;
      id = static_cast<uint32_t>(ids->back());
      ids->pop_back();
      at -= parts_.token_bytes[id];
    }
  }
}

}  // namespace chimera
