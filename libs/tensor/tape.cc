#include "tensor/tape.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/huge_pages.h"
#include "tensor/kernels.h"

namespace chimera {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kChunkBytes = size_t{64} << 20;

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
    void* const memory = AllocateHuge(size);
    chunks_.push_back({std::unique_ptr<void, Free>(memory), size});
  }
  void* result = static_cast<char*>(chunks_[current_].memory.get()) + used_;
  used_ += bytes;
  peak_ = std::max(peak_, BytesInUse());
  return result;
}

void Arena::Reset() { Rewind({}); }

void Arena::Rewind(const Mark& mark) {
  current_ = mark.chunk;
  used_ = mark.used;
}

bool Arena::IsAfter(const Mark& mark, const void* p) const {
  const auto address = reinterpret_cast<uintptr_t>(p);
  for (size_t i = mark.chunk; i < chunks_.size(); ++i) {
    const auto begin = reinterpret_cast<uintptr_t>(chunks_[i].memory.get());
    if (address < begin || address >= begin + chunks_[i].size) continue;
    return i > mark.chunk || address - begin >= mark.used;
  }
  return false;
}

size_t Arena::BytesInUse() const {
  size_t bytes = used_;
  for (size_t i = 0; i < current_; ++i) bytes += chunks_[i].size;
  return bytes;
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

Var* Tape::Checkpoint(std::vector<Var*> inputs, std::function<Var*()> block) {
  Var* result = New(inputs[0]->rows, inputs[0]->cols);
  const Arena::Mark mark = arena_.Here();
  const size_t n_vars = vars_.size();
  const bool recorded = std::exchange(recording_, false);
  const Var* inner = block();
  recording_ = recorded;
  CHIMERA_CHECK(inner->rows == result->rows && inner->cols == result->cols);
  std::memcpy(result->value, inner->value, static_cast<size_t>(result->size()) * sizeof(float));
  vars_.resize(n_vars);
  arena_.Rewind(mark);
  OnBackward([this, inputs = std::move(inputs), block = std::move(block), result] {
    if (result->has_grad) RunBlockBackward(inputs, block, result);
  });
  return result;
}

void Tape::RunBlockBackward(const std::vector<Var*>& inputs, const std::function<Var*()>& block,
                            const Var* result) {
  const Arena::Mark mark = arena_.Here();
  const size_t n_vars = vars_.size(), n_closures = closures_.size();
  const bool recorded = std::exchange(recording_, true);
  Var* inner = block();
  recording_ = recorded;
  CHIMERA_CHECK(std::find(inputs.begin(), inputs.end(), inner) == inputs.end());
  inner->grad = result->grad;
  inner->has_grad = true;
  RunClosures(n_closures);
  // A gradient that an input got from inside the block outlives the block.
  std::vector<std::vector<float>> kept;
  std::vector<Var*> homeless;
  for (Var* input : inputs) {
    if (!arena_.IsAfter(mark, input->grad)) continue;
    kept.emplace_back(input->grad, input->grad + input->size());
    homeless.push_back(input);
    input->grad = nullptr;
  }
  vars_.resize(n_vars);
  arena_.Rewind(mark);
  for (size_t i = 0; i < homeless.size(); ++i) {
    homeless[i]->grad = arena_.New<float>(homeless[i]->size());
    std::copy(kept[i].begin(), kept[i].end(), homeless[i]->grad);
  }
}

void Tape::OnBackward(std::function<void()> closure) {
  if (recording_) closures_.push_back(std::move(closure));
}

void Tape::RunClosures(size_t down_to) {
  while (closures_.size() > down_to) {
    const std::function<void()> closure = std::move(closures_.back());
    closures_.pop_back();
    closure();
  }
}

void Tape::Backward() { RunClosures(0); }

void Tape::Reset() {
  closures_.clear();
  vars_.clear();
  arena_.Reset();
}

}  // namespace chimera
