#include "grammar/regex.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "grammar/regex_parse.h"

namespace chimera {
namespace {

// Thompson's construction over bytes, then the subset construction. An anchor is a jump that only
// some walks may take: at the beginning none has read a byte, behind an end none may read one more.
class RegexAutomaton {
 public:
  RegexAutomaton(bool search, int64_t* steps_left) : search_(search), steps_left_(steps_left) {}

  absl::StatusOr<ByteDfa> Compile(const RegexNode& tree) {
    const uint32_t first = Add();
    uint32_t last = Add();
    start_ = first;
    uint32_t begin = first;
    if (search_) begin = AnyText(first);
    CHIMERA_RETURN_IF_ERROR(Emit(tree, begin, last));
    accept_ = search_ ? AnyText(last) : last;
    *steps_left_ -= static_cast<int64_t>(nodes_.size());
    return Determinize();
  }

 private:
  enum class JumpKind : uint8_t { kFree, kBegin, kEnd };
  struct Node {
    std::vector<std::pair<ByteRange, uint32_t>> edges;
    std::vector<std::pair<JumpKind, uint32_t>> jumps;
  };
  // A walk of the subset construction: a node, and whether an end has been passed.
  using Walk = std::pair<uint32_t, bool>;

  uint32_t Add() {
    nodes_.emplace_back();
    return static_cast<uint32_t>(nodes_.size() - 1);
  }
  void Free(uint32_t from, uint32_t to) { nodes_[from].jumps.push_back({JumpKind::kFree, to}); }

  // Any characters; returns the place behind them.
  uint32_t AnyText(uint32_t from) {
    const uint32_t top = Add();
    Free(from, top);
    EmitSet(CodePointSet::All(), top, top);
    return top;
  }

  void EmitSet(const CodePointSet& set, uint32_t from, uint32_t to) {
    // Sequences that share their tail after the first byte share its nodes.
    std::map<std::vector<uint8_t>, uint32_t> tails;
    for (const Utf8Sequence& row : Utf8Sequences(set)) {
      uint32_t target = to;
      std::vector<uint8_t> tail;
      for (int i = row.size - 1; i > 0; --i) {
        tail.insert(tail.end(), {row.bytes[i].low, row.bytes[i].high});
        const auto [it, fresh] = tails.insert({tail, 0});
        if (fresh) {
          it->second = Add();
          nodes_[it->second].edges.push_back({row.bytes[i], target});
        }
        target = it->second;
      }
      nodes_[from].edges.push_back({row.bytes[0], target});
    }
  }

  absl::Status Emit(const RegexNode& node, uint32_t from, uint32_t to) {
    if (nodes_.size() > kRegexStatesMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the regex needs more than ", kRegexStatesMax, " states"));
    }
    switch (node.kind) {
      case RegexNode::Kind::kSet:
        EmitSet(node.set, from, to);
        return absl::OkStatus();
      case RegexNode::Kind::kBegin:
        nodes_[from].jumps.push_back({JumpKind::kBegin, to});
        return absl::OkStatus();
      case RegexNode::Kind::kEnd:
        nodes_[from].jumps.push_back({JumpKind::kEnd, to});
        return absl::OkStatus();
      case RegexNode::Kind::kChoice:
        for (const RegexNode& part : node.parts) CHIMERA_RETURN_IF_ERROR(Emit(part, from, to));
        return absl::OkStatus();
      case RegexNode::Kind::kSequence:
        for (const RegexNode& part : node.parts) {
          const uint32_t next = Add();
          CHIMERA_RETURN_IF_ERROR(Emit(part, from, next));
          from = next;
        }
        Free(from, to);
        return absl::OkStatus();
      case RegexNode::Kind::kRepeat:
        return EmitRepeat(node, from, to);
    }
    return absl::OkStatus();
  }

  absl::Status EmitRepeat(const RegexNode& node, uint32_t from, uint32_t to) {
    const RegexNode& body = node.parts[0];
    for (int i = 0; i < node.min; ++i) {
      const uint32_t next = Add();
      CHIMERA_RETURN_IF_ERROR(Emit(body, from, next));
      from = next;
    }
    if (node.max == RegexNode::kEndless) {
      const uint32_t top = Add();
      Free(from, top);
      const uint32_t again = Add();
      CHIMERA_RETURN_IF_ERROR(Emit(body, top, again));
      Free(again, top);
      Free(top, to);
      return absl::OkStatus();
    }
    for (int i = node.min; i < node.max; ++i) {
      Free(from, to);
      const uint32_t next = Add();
      CHIMERA_RETURN_IF_ERROR(Emit(body, from, next));
      from = next;
    }
    Free(from, to);
    return absl::OkStatus();
  }

  // Follows jumps; the result is sorted and holds what decides: walks with edges, and the end.
  std::vector<Walk> Closure(std::vector<Walk> walks, bool at_begin) {
    for (const Walk& walk : walks) Mark(walk);
    for (size_t i = 0; i < walks.size(); ++i) {
      const auto [node, ended] = walks[i];
      for (const auto& [kind, to] : nodes_[node].jumps) {
        if (kind == JumpKind::kBegin && !at_begin) continue;
        const Walk next = {to, ended || kind == JumpKind::kEnd};
        if (Mark(next)) walks.push_back(next);
      }
    }
    std::vector<Walk> kept;
    for (const Walk& walk : walks) {
      marks_[size_t{walk.first} * 2 + walk.second] = false;
      const bool reads = !nodes_[walk.first].edges.empty() && !walk.second;
      if (reads || walk.first == accept_) kept.push_back(walk);
    }
    std::sort(kept.begin(), kept.end());
    kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
    return kept;
  }
  bool Mark(const Walk& walk) {
    const size_t at = size_t{walk.first} * 2 + walk.second;
    if (marks_[at]) return false;
    marks_[at] = true;
    return true;
  }

  void FindClasses(ByteDfa::Parts* parts, std::vector<uint8_t>* bytes) const {
    std::vector<bool> cut(257, false);
    cut[0] = true;
    for (const Node& node : nodes_) {
      for (const auto& [range, to] : node.edges) {
        cut[range.low] = true;
        cut[size_t{range.high} + 1] = true;
      }
    }
    for (size_t byte = 0; byte < 256; ++byte) {
      if (cut[byte]) bytes->push_back(static_cast<uint8_t>(byte));
      parts->classes[byte] = static_cast<uint8_t>(bytes->size() - 1);
    }
    parts->n_classes = static_cast<int>(bytes->size());
  }

  absl::StatusOr<ByteDfa> Determinize() {
    marks_.assign(2 * nodes_.size(), false);
    ByteDfa::Parts parts;
    std::vector<uint8_t> bytes;
    FindClasses(&parts, &bytes);
    std::map<std::vector<Walk>, uint32_t> numbers = {{{}, 0}};
    std::vector<std::vector<Walk>> sets = {{}};
    const auto number = [&](std::vector<Walk> set) {
      const auto [it, fresh] = numbers.insert({set, static_cast<uint32_t>(sets.size())});
      if (fresh) sets.push_back(std::move(set));
      return it->second;
    };
    // The beginning is a state of its own: no other one may pass a begin anchor.
    parts.start = number(Closure({{start_, false}}, true));
    for (size_t i = 0; i < sets.size(); ++i) {
      if (sets.size() > kDfaStatesMax) {
        return absl::ResourceExhaustedError(
            absl::StrCat("the regex needs more than ", kDfaStatesMax, " deterministic states"));
      }
      if (*steps_left_ < 0) {
        return absl::ResourceExhaustedError(absl::StrCat(
            "the regex needs more than ", kRegexStepsMax, " steps to become an automaton"));
      }
      const std::vector<Walk> set = sets[i];
      parts.accepts.push_back(std::any_of(set.begin(), set.end(),
                                          [&](const Walk& walk) { return walk.first == accept_; }));
      for (const uint8_t byte : bytes) {
        std::vector<Walk> next;
        for (const auto& [node, ended] : set) {
          if (ended) continue;
          *steps_left_ -= static_cast<int64_t>(nodes_[node].edges.size());
          for (const auto& [range, to] : nodes_[node].edges) {
            if (byte >= range.low && byte <= range.high) next.push_back({to, false});
          }
        }
        parts.next.push_back(number(Closure(std::move(next), false)));
      }
    }
    return ByteDfa(std::move(parts));
  }

  const bool search_;
  int64_t* const steps_left_;
  std::vector<Node> nodes_;
  std::vector<bool> marks_;
  uint32_t start_ = 0, accept_ = 0;
};

}  // namespace

absl::StatusOr<ByteDfa> CompileRegex(std::string_view pattern, RegexOptions options) {
  CHIMERA_ASSIGN_OR_RETURN(const RegexNode tree, ParseRegex(pattern, options));
  int64_t steps = kRegexStepsMax;
  int64_t* left = options.steps_left ? options.steps_left : &steps;
  return RegexAutomaton(options.ecma_search, left).Compile(tree);
}

}  // namespace chimera
