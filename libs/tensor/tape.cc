#include "tensor/tape.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

#include "base/check.h"
#include "tensor/kernels.h"

namespace chimera {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kChunkBytes = size_t{64} << 20;
constexpr size_t kHugePage = size_t{2} << 20;

size_t RoundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

}  // namespace

void Arena::Free::operator()(void* p) const { std::free(p); }

void* Arena::Allocate(size_t bytes) {
  bytes = RoundUp(std::max<size_t>(bytes, 1), kAlign);
  while (current_ < chunks_.size() && used_ + bytes > chunks_[current_].size) {
    ++current_;
    used_ = 0;
  }
  if (current_ == chunks_.size()) {
    const size_t size = RoundUp(std::max(bytes, kChunkBytes), kHugePage);
    void* memory = std::aligned_alloc(kHugePage, size);
    CHIMERA_CHECK(memory != nullptr);
    madvise(memory, size, MADV_HUGEPAGE);  // advice only: fewer page faults on long buffers
    chunks_.push_back({std::unique_ptr<void, Free>(memory), size});
  }
  void* result = static_cast<char*>(chunks_[current_].memory.get()) + used_;
  used_ += bytes;
  return result;
}

void Arena::Reset() {
  current_ = 0;
  used_ = 0;
}

size_t Arena::reserved_bytes() const {
  size_t bytes = 0;
  for (const Chunk& chunk : chunks_) bytes += chunk.size;
  return bytes;
}

Var* Tape::New(int64_t rows, int64_t cols) {
  auto var = std::make_unique<Var>();
  var->rows = rows;
  var->cols = cols;
  var->value = arena_.New<float>(rows * cols);
  vars_.push_back(std::move(var));
  return vars_.back().get();
}

float* Tape::GradTarget(Var* var, bool* accumulate) {
  if (var->grad == nullptr) var->grad = arena_.New<float>(var->size());
  *accumulate = var->has_grad;
  var->has_grad = true;
  return var->grad;
}

void Tape::PassGrad(const Var* from, Var* to) {
  CHIMERA_CHECK(from->has_grad && from->size() == to->size());
  if (!to->has_grad) {
    to->grad = from->grad;
    to->has_grad = true;
    return;
  }
  constexpr int64_t kBlock = 1 << 16;
  const int64_t blocks = (to->size() + kBlock - 1) / kBlock;
  exec_->ParallelFor(blocks, [&](int64_t i) {
    const int64_t n = std::min(kBlock, to->size() - i * kBlock);
    Kernels().add(to->grad + i * kBlock, from->grad + i * kBlock, n, to->grad + i * kBlock);
  });
}

void Tape::OnBackward(std::function<void()> closure) {
  if (recording_) closures_.push_back(std::move(closure));
}

void Tape::Backward() {
  for (auto it = closures_.rbegin(); it != closures_.rend(); ++it) (*it)();
  closures_.clear();
}

void Tape::Reset() {
  closures_.clear();
  vars_.clear();
  arena_.Reset();
}

}  // namespace chimera
