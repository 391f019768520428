#include "grammar/mask_builder.h"

#include <algorithm>
#include <utility>

namespace chimera {

void TokenMask::Write(std::span<uint64_t> out) const {
  if (slice != nullptr) {
    const std::span<const uint64_t> base =
        slice_chars == 0 ? slice->all() : slice->UpTo(slice_chars);
    std::copy(base.begin(), base.end(), out.begin());
  } else if (bits.empty()) {
    std::fill(out.begin(), out.end(), 0);
  } else {
    std::copy(bits.begin(), bits.end(), out.begin());
    return;
  }
  if (!bits.empty()) {
    for (size_t w = 0; w < out.size(); ++w) out[w] |= bits[w];
  }
  for (const int32_t id : ids) out[size_t(id) / 64] |= uint64_t{1} << (id % 64);
}

int64_t TokenMask::bytes() const {
  return static_cast<int64_t>(sizeof(TokenMask) + ids.capacity() * sizeof(int32_t) +
                              bits.capacity() * sizeof(uint64_t));
}

MaskBuilder::MaskBuilder(std::shared_ptr<const GrammarVocabulary> vocabulary, StateTable* table)
    : vocabulary_(std::move(vocabulary)), table_(table) {
  for (const TokenSlice& slice : vocabulary_->slices()) slice_bytes_.push_back(BytesOf(slice));
}

MaskBuilder::CharBytes MaskBuilder::BytesOf(const TokenSlice& slice) const {
  CharBytes result;
  for (int place = 0; place < kUtf8Places; ++place) {
    std::array<uint8_t, 256> tried = {};  // by class, one bit a place
    for (int byte = 0; byte < 256; ++byte) {
      const auto b = static_cast<uint8_t>(byte);
      if (place == 0 && (byte < 128 ? !slice.Has(b) : !slice.others())) continue;
      const int to = Utf8Step(place, b);
      if (to == kUtf8Bad || (tried[table_->classes()[b]] >> to & 1)) continue;
      tried[table_->classes()[b]] |= static_cast<uint8_t>(1 << to);
      result[size_t(place)].push_back({b, to});
    }
  }
  return result;
}

TokenMask MaskBuilder::Build(GrammarState state, uint32_t close_bytes_max) {
  TokenMask mask;
  const TokenTrie* trie = &vocabulary_->trie();
  for (size_t i = 0; i < slice_bytes_.size(); ++i) {
    const Run run = RunOf(state, i);
    const bool whole = run.chars == kEndless;
    if (run.chars == 0 || run.close_bytes > close_bytes_max) continue;
    if (!whole && !run.exact && run.chars < kSliceCharsMax) continue;
    mask.slice = &vocabulary_->slices()[i];
    mask.slice_chars = whole ? 0 : run.chars;
    mask.close_bytes_max = run.close_bytes;
    if (!whole && !run.exact) Walk(state, mask.slice->longer(), close_bytes_max, &mask);
    mask.count = whole ? mask.slice->n_all() : mask.slice->n_up_to(run.chars);
    trie = &mask.slice->outside();
    break;
  }
  Walk(state, *trie, close_bytes_max, &mask);
  mask.count += static_cast<int>(mask.ids.size());
  if (mask.ids.size() * sizeof(int32_t) > vocabulary_->mask_words() * sizeof(uint64_t)) {
    mask.bits.assign(vocabulary_->mask_words(), 0);
    for (const int32_t id : mask.ids) mask.bits[size_t(id) / 64] |= uint64_t{1} << (id % 64);
    mask.ids.clear();
  }
  mask.ids.shrink_to_fit();
  return mask;
}

MaskBuilder::Run MaskBuilder::RunOf(GrammarState state, size_t slice) {
  if (slice == GrammarVocabulary::kStringSlice) {
    const ContentRun known =
        table_->machine().StringContent(table_->Items(state), table_->stacks());
    if (known.chars == ContentRun::kEndless) return {kEndless, false, known.close_bytes};
    if (known.chars >= kSliceCharsMax) return {kSliceCharsMax, false, known.close_bytes};
    if (known.chars > 0 && known.exact) return {int(known.chars), true, known.close_bytes};
  }
  return FindRun(state, slice_bytes_[slice]);
}

// Layers of states, each behind one more character of the slice, until nothing new turns up, or
// some character cannot follow.
MaskBuilder::Run MaskBuilder::FindRun(GrammarState state, const CharBytes& bytes) {
  constexpr size_t kStatesMax = 64;
  Run run;
  std::vector<GrammarState> at = {state}, seen = {state};
  bool loops = false;
  for (run.chars = 0; run.chars < kSliceCharsMax && seen.size() <= kStatesMax; ++run.chars) {
    Layer layer;
    for (const GrammarState from : at) Follow(bytes, from, 0, &run, &layer);
    if (!layer.all) {
      run.exact = !layer.any && !loops;
      return run;
    }
    std::sort(layer.ends.begin(), layer.ends.end());
    at.clear();
    const auto known = static_cast<ptrdiff_t>(seen.size());
    for (const GrammarState to : layer.ends) {
      loops = loops || std::find(seen.begin(), seen.begin() + known, to) != seen.begin() + known;
      if (std::find(seen.begin(), seen.end(), to) != seen.end()) continue;
      at.push_back(to);
      seen.push_back(to);
    }
    if (at.empty()) {
      run.chars = kEndless;
      return run;
    }
  }
  return run;
}

void MaskBuilder::Follow(const CharBytes& bytes, GrammarState state, int place, Run* run,
                         Layer* layer) {
  for (const CharByte& next_byte : bytes[size_t(place)]) {
    const GrammarState next = table_->Next(state, next_byte.byte);
    if (next == kDeadState) {
      layer->all = false;
    } else {
      const bool is_new = layer->met.insert(uint64_t{next} << 8 | uint32_t(next_byte.place)).second;
      if (is_new) run->close_bytes = std::max(run->close_bytes, table_->CloseBytes(next));
      if (is_new && next_byte.place != 0) Follow(bytes, next, next_byte.place, run, layer);
      if (is_new && next_byte.place == 0) layer->ends.push_back(next);
      layer->any = layer->any || next_byte.place == 0;
    }
    if (!layer->all && layer->any) return;  // the slice does not fit: that is all to know
  }
}

void MaskBuilder::Walk(GrammarState state, const TokenTrie& trie, uint32_t close_bytes_max,
                       TokenMask* mask) {
  std::array<GrammarState, 256> at;  // by depth
  at[0] = state;
  const std::span<const TokenTrie::Node> nodes = trie.nodes();
  for (size_t i = 0; i < nodes.size();) {
    const TokenTrie::Node node = nodes[i];
    const GrammarState next =
        table_->Next(at[size_t{node.depth} - 1], static_cast<uint8_t>(node.byte));
    if (next == kDeadState) {
      i += node.size;
      continue;
    }
    at[node.depth] = next;
    ++i;
    if (node.token == 0) continue;
    const uint32_t close_bytes = table_->CloseBytes(next);
    if (close_bytes > close_bytes_max) continue;
    mask->ids.push_back(node.id());
    mask->close_bytes_max = std::max(mask->close_bytes_max, close_bytes);
  }
}

}  // namespace chimera
