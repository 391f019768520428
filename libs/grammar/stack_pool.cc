#include "grammar/machine.h"

namespace chimera {
namespace {

uint64_t Hash(const GrammarItem& item) {
  uint64_t h = (uint64_t{item.at} << 32 | item.a) * 0x9E3779B97F4A7C15u;
  h = (h ^ (h >> 29) ^ (uint64_t{item.b} << 32 | item.stack)) * 0xBF58476D1CE4E5B9u;
  return h ^ (h >> 32);
}

}  // namespace

StackPool::StackPool() : frames_(1), depths_(1, 0), table_(64, 0) {}

uint32_t StackPool::Push(const GrammarItem& frame) {
  if (2 * frames_.size() >= table_.size()) Grow();
  const size_t mask = table_.size() - 1;
  size_t at = Hash(frame) & mask;
  for (; table_[at] != 0; at = (at + 1) & mask) {
    if (frames_[table_[at]] == frame) return table_[at];
  }
  const auto id = static_cast<uint32_t>(frames_.size());
  table_[at] = id;
  depths_.push_back(static_cast<uint16_t>(depths_[frame.stack] + 1));
  frames_.push_back(frame);
  return id;
}

void StackPool::Grow() {
  table_.assign(2 * table_.size(), 0);
  const size_t mask = table_.size() - 1;
  for (uint32_t id = 1; id < frames_.size(); ++id) {
    size_t at = Hash(frames_[id]) & mask;
    while (table_[at] != 0) at = (at + 1) & mask;
    table_[at] = id;
  }
}

int64_t StackPool::bytes() const {
  return static_cast<int64_t>(frames_.capacity() * sizeof(GrammarItem) +
                              depths_.capacity() * sizeof(uint16_t) +
                              table_.capacity() * sizeof(uint32_t));
}

}  // namespace chimera
