#include "decode/memory_track.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "base/check.h"
#include "text/utf8.h"

namespace chimera {

MemoryTrack::MemoryTrack(std::unique_ptr<MemoryView> view,
                         std::shared_ptr<const Tokenizer> tokenizer,
                         const std::vector<RecalledText>& first)
    : view_(std::move(view)), tokenizer_(std::move(tokenizer)) {
  CHIMERA_CHECK(view_ != nullptr && tokenizer_ != nullptr);
  Use(first);
}

void MemoryTrack::Ran(std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) {
    if (token != tokenizer_->eot()) tail_.append(tokenizer_->TokenBytes(token));
  }
  if (tail_.size() > kMemoryTailBytes) tail_.erase(0, tail_.size() - kMemoryTailBytes);
  last_.insert(last_.end(), tokens.begin(), tokens.end());
  if (last_.size() > kCopyTokensMax) {
    last_.erase(last_.begin(), last_.end() - static_cast<std::ptrdiff_t>(kCopyTokensMax));
  }
}

void MemoryTrack::Weigh(std::span<const int32_t> tokens, VerifyNode* node) const {
  std::vector<int32_t> text = last_;
  text.insert(text.end(), tokens.begin(), tokens.end());
  for (const std::vector<int32_t>& fact : facts_) {
    size_t best = 0, next = 0;
    for (size_t at = kCopyTokensMin; at < fact.size(); ++at) {
      size_t repeated = 0;
      while (repeated < std::min({at, text.size(), kCopyTokensMax}) &&
             fact[at - 1 - repeated] == text[text.size() - 1 - repeated]) {
        ++repeated;
      }
      if (repeated > best) best = repeated, next = at;
    }
    if (best < kCopyTokensMin) continue;
    const float weight = kCopyWeight * static_cast<float>(best);
    const auto same = std::find_if(node->token_weights.begin(), node->token_weights.end(),
                                   [&](const TokenWeight& w) { return w.token_id == fact[next]; });
    if (same != node->token_weights.end()) {
      same->weight = std::max(same->weight, weight);
    } else if (node->token_weights.size() < kTokenWeightsMax) {
      node->token_weights.push_back({.token_id = fact[next], .weight = weight});
    }
  }
}

void MemoryTrack::Turn(int64_t position, std::vector<MemoryRead>* reads) {
  if (position % kKnotPositions != 0) return;
  while (!issued_.empty() && issued_.front() + kMemoryLagPositions <= position) {
    const int64_t asked = issued_.front();
    issued_.pop_front();
    MemoryRead& read = reads->emplace_back();
    read.position = position;
    const absl::StatusOr<std::vector<RecalledText>> found = view_->Collect(asked);
    if (!found.ok()) {
      read.missed = std::string(found.status().message());
      ++counts_.missed;
      continue;
    }
    ++counts_.used;
    for (const RecalledText& one : *found) read.fact_ids.push_back(one.fact_id);
    Use(*found);
  }
  const std::string_view text = Utf8Tail(tail_, kMemoryTailBytes);
  if (text.empty()) return;
  issued_.push_back(position);
  view_->Issue(position, std::string(text));
}

// An answer without facts lets the field go: nothing is like the text any more.
void MemoryTrack::Use(const std::vector<RecalledText>& found) {
  fields_.memory = {};
  facts_.clear();
  // Within a text a fact begins behind a space.
  for (const RecalledText& one : found) facts_.push_back(tokenizer_->Encode(" " + one.text));
  if (!found.empty() && found.front().sketch != nullptr) {
    fields_.memory = {.sketch = found.front().sketch, .weight = 1.0f};
  }
}

}  // namespace chimera
