#include "grammar/byte_dfa.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grammar/utf8_steps.h"

namespace chimera {
namespace {

constexpr size_t kMinimizeMax = 512;

absl::Status TooLarge() {
  return absl::ResourceExhaustedError(
      absl::StrCat("an automaton needs more than ", kDfaStatesMax, " states"));
}

}  // namespace

ByteDfa::ByteDfa(Parts parts) : parts_(std::move(parts)) {
  Trim();
  Minimize();
}

ByteDfa ByteDfa::Nothing() { return ByteDfa(Parts{.next = {0}, .accepts = {false}}); }

ByteDfa ByteDfa::Text(std::string_view text) {
  Parts parts;
  std::array<bool, 256> used = {};
  for (const char c : text) used[static_cast<uint8_t>(c)] = true;
  for (size_t byte = 0; byte < 256; ++byte) {
    if (used[byte]) parts.classes[byte] = static_cast<uint8_t>(parts.n_classes++);
  }
  const auto n = static_cast<size_t>(parts.n_classes);
  parts.next.assign((text.size() + 2) * n, 0);
  parts.accepts.assign(text.size() + 2, false);
  parts.accepts.back() = true;
  parts.start = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    parts.next[(i + 1) * n + parts.classes[static_cast<uint8_t>(text[i])]] =
        static_cast<uint32_t>(i + 2);
  }
  return ByteDfa(std::move(parts));
}

const ByteDfa& ByteDfa::AnyText() {
  static const ByteDfa* any = new ByteDfa(*Characters(0, 0xFFFFFFFFu));
  return *any;
}

absl::StatusOr<ByteDfa> ByteDfa::Characters(uint32_t min, uint32_t max) {
  const bool endless = max == 0xFFFFFFFFu;
  const uint64_t counts = uint64_t{endless ? min : max} + 1;
  if (counts * kUtf8Places > kDfaStatesMax) return TooLarge();
  Parts parts;
  parts.n_classes = 12;
  std::array<uint8_t, 12> bytes = {};  // one of each kind
  for (int byte = 0; byte < 256; ++byte) {
    const int kind = Utf8ByteKind(static_cast<uint8_t>(byte));
    parts.classes[size_t(byte)] = static_cast<uint8_t>(kind);
    bytes[size_t(kind)] = static_cast<uint8_t>(byte);
  }
  parts.next.assign((counts * kUtf8Places + 1) * 12, 0);
  parts.accepts.assign(counts * kUtf8Places + 1, false);
  parts.start = 1;
  for (uint64_t count = 0; count < counts; ++count) {
    for (int place = 0; place < kUtf8Places; ++place) {
      const uint64_t state = 1 + count * kUtf8Places + uint64_t(place);
      parts.accepts[state] = place == 0 && count >= min;
      for (size_t kind = 0; kind < bytes.size(); ++kind) {
        const int to = Utf8Step(place, bytes[kind]);
        if (to == kUtf8Bad) continue;
        if (count + 1 == counts && !endless) continue;  // no character may begin any more
        uint64_t after = to == 0 ? count + 1 : count;
        if (endless) after = std::min(after, counts - 1);
        parts.next[state * 12 + kind] =
            static_cast<uint32_t>(1 + after * kUtf8Places + uint64_t(to));
      }
    }
  }
  return ByteDfa(std::move(parts));
}

bool ByteDfa::Matches(std::string_view text) const {
  uint32_t state = start();
  for (const char c : text) state = Next(state, static_cast<uint8_t>(c));
  return Accepts(state);
}

bool ByteDfa::BetweenCharacters(uint32_t state) const {
  for (int byte = 0x80; byte < 0xC0; ++byte) {
    if (Next(state, static_cast<uint8_t>(byte)) != 0) return false;
  }
  return true;
}

// States that cannot accept any more become the dead one.
void ByteDfa::Trim() {
  const auto n = static_cast<size_t>(n_states());
  const auto k = static_cast<size_t>(parts_.n_classes);
  std::vector<std::vector<uint32_t>> from(n);
  for (uint32_t s = 0; s < n; ++s) {
    for (size_t c = 0; c < k; ++c) from[parts_.next[s * k + c]].push_back(s);
  }
  std::vector<bool> live(n, false);
  std::vector<uint32_t> queue;
  for (uint32_t s = 1; s < n; ++s) {
    if (parts_.accepts[s]) queue.push_back(s);
  }
  for (const uint32_t s : queue) live[s] = true;
  while (!queue.empty()) {
    const uint32_t s = queue.back();
    queue.pop_back();
    for (const uint32_t before : from[s]) {
      if (live[before] || before == 0) continue;
      live[before] = true;
      queue.push_back(before);
    }
  }
  for (uint32_t& next : parts_.next) next = live[next] ? next : 0;
  if (!live[parts_.start]) parts_.start = 0;
}

// Moore's partition refinement, then numbers in the order of a walk from the start: equal languages
// get equal tables.
void ByteDfa::Minimize() {
  const auto n = static_cast<size_t>(n_states());
  const auto k = static_cast<size_t>(parts_.n_classes);
  std::vector<uint32_t> block(n, 0);
  for (size_t s = 1; s < n; ++s) block[s] = parts_.accepts[s] ? 1 : 0;
  const auto hash = [&](size_t s) {
    uint64_t h = block[s];
    for (size_t c = 0; c < k; ++c) {
      h = (h ^ block[parts_.next[s * k + c]]) * 0x9E3779B97F4A7C15u;
      h ^= h >> 29;
    }
    return h;
  };
  const auto same = [&](size_t s, size_t t) {
    if (block[s] != block[t]) return false;
    for (size_t c = 0; c < k; ++c) {
      if (block[parts_.next[s * k + c]] != block[parts_.next[t * k + c]]) return false;
    }
    return true;
  };
  if (n > kMinimizeMax) std::iota(block.begin(), block.end(), 0u);
  for (size_t blocks = 0; n <= kMinimizeMax;) {
    std::unordered_multimap<uint64_t, std::pair<size_t, uint32_t>> found;
    std::vector<uint32_t> refined(n);
    uint32_t count = 0;
    for (size_t s = 0; s < n; ++s) {
      const uint64_t h = hash(s);
      uint32_t mine = count;
      for (auto [it, end] = found.equal_range(h); it != end; ++it) {
        if (same(it->second.first, s)) mine = it->second.second;
      }
      if (mine == count) {
        found.insert({h, {s, count}});
        ++count;
      }
      refined[s] = mine;
    }
    block = std::move(refined);
    if (count == blocks) break;
    blocks = count;
  }
  std::vector<uint32_t> number(n, 0);  // by block
  std::vector<uint32_t> order = {0};
  std::vector<bool> seen(n, false);
  seen[block[0]] = true;
  const auto visit = [&](uint32_t s) {
    if (seen[block[s]]) return;
    seen[block[s]] = true;
    number[block[s]] = static_cast<uint32_t>(order.size());
    order.push_back(s);
  };
  visit(parts_.start);
  Parts merged{.classes = parts_.classes, .n_classes = parts_.n_classes};
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] != 0) {
      for (size_t byte = 0; byte < 256; ++byte) {
        visit(parts_.next[order[i] * k + parts_.classes[byte]]);
      }
    }
    merged.accepts.push_back(parts_.accepts[order[i]]);
  }
  for (const uint32_t s : order) {
    for (size_t c = 0; c < k; ++c) merged.next.push_back(number[block[parts_.next[s * k + c]]]);
  }
  merged.start = number[block[parts_.start]];
  parts_ = std::move(merged);
}

absl::StatusOr<ByteDfa> ByteDfa::Product(const ByteDfa& a, const ByteDfa& b, Combine combine) {
  Parts parts;
  std::map<std::pair<uint8_t, uint8_t>, uint8_t> class_of;
  std::vector<uint8_t> bytes;  // one of each class
  for (size_t byte = 0; byte < 256; ++byte) {
    const auto pair = std::make_pair(a.parts_.classes[byte], b.parts_.classes[byte]);
    const auto [it, fresh] = class_of.insert({pair, static_cast<uint8_t>(class_of.size())});
    if (fresh) bytes.push_back(static_cast<uint8_t>(byte));
    parts.classes[byte] = it->second;
  }
  parts.n_classes = static_cast<int>(bytes.size());
  std::unordered_map<uint64_t, uint32_t> numbers;
  std::vector<std::pair<uint32_t, uint32_t>> pairs = {{0, 0}};
  const auto number = [&](uint32_t s, uint32_t t) -> uint32_t {
    if (combine != Combine::kOr && s == 0) return 0;
    if (combine == Combine::kAnd && t == 0) return 0;
    if (s == 0 && t == 0) return 0;
    const auto [it, fresh] =
        numbers.insert({uint64_t{s} << 32 | t, static_cast<uint32_t>(pairs.size())});
    if (fresh) pairs.push_back({s, t});
    return it->second;
  };
  parts.start = number(a.start(), b.start());
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (i > kDfaStatesMax) return TooLarge();
    const auto [s, t] = pairs[i];
    const bool in_a = a.Accepts(s), in_b = b.Accepts(t);
    parts.accepts.push_back(combine == Combine::kAnd  ? in_a && in_b
                            : combine == Combine::kOr ? in_a || in_b
                                                      : in_a && !in_b);
    for (const uint8_t byte : bytes) {
      parts.next.push_back(i == 0 ? 0 : number(a.Next(s, byte), b.Next(t, byte)));
    }
  }
  return ByteDfa(std::move(parts));
}

absl::StatusOr<ByteDfa> ByteDfa::And(const ByteDfa& a, const ByteDfa& b) {
  return Product(a, b, Combine::kAnd);
}

absl::StatusOr<ByteDfa> ByteDfa::Or(const ByteDfa& a, const ByteDfa& b) {
  return Product(a, b, Combine::kOr);
}

absl::StatusOr<ByteDfa> ByteDfa::Minus(const ByteDfa& a, const ByteDfa& b) {
  return Product(a, b, Combine::kMinus);
}

bool ByteDfa::operator==(const ByteDfa& other) const {
  if (start() != other.start() || parts_.accepts != other.parts_.accepts) return false;
  for (uint32_t s = 0; s < uint32_t(n_states()); ++s) {
    for (int byte = 0; byte < 256; ++byte) {
      if (Next(s, static_cast<uint8_t>(byte)) != other.Next(s, static_cast<uint8_t>(byte))) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace chimera
