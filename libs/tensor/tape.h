// Reverse-mode automatic differentiation over coarse operations. An op computes its value at once
// and leaves a closure; Backward runs the closures in reverse. Training only: serving has no tape.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/exec_context.h"

namespace chimera {

// A matrix of activations [rows][cols] with its gradient. Owned by the tape's arena.
struct Var {
  int64_t rows = 0;
  int64_t cols = 0;
  float* value = nullptr;
  float* grad = nullptr;  // null until somebody asks
  bool has_grad = false;  // grad holds a sum already: add to it, do not overwrite
  int64_t size() const { return rows * cols; }
};

// Memory that lives until Reset and is reused by the next step. Thread-compatible.
class Arena {
 public:
  // 64-byte aligned, uninitialised.
  void* Allocate(size_t bytes);
  template <typename T>
  T* New(int64_t n) {
    return static_cast<T*>(Allocate(static_cast<size_t>(n) * sizeof(T)));
  }
  void Reset();
  size_t reserved_bytes() const;
  // Most bytes in use at once since construction.
  size_t peak_bytes() const { return peak_; }

  // A place in the order of allocation. Rewind frees everything allocated after it was taken.
  struct Mark {
    size_t chunk = 0;
    size_t used = 0;
  };
  Mark Here() const { return {current_, used_}; }
  void Rewind(const Mark& mark);
  // Whether p was allocated here after the mark was taken. False for memory of others.
  bool IsAfter(const Mark& mark, const void* p) const;

 private:
  struct Free {
    void operator()(void* p) const;
  };
  struct Chunk {
    std::unique_ptr<void, Free> memory;
    size_t size;
  };
  size_t BytesInUse() const;

  std::vector<Chunk> chunks_;
  size_t current_ = 0;  // chunk in use
  size_t used_ = 0;     // bytes of it
  size_t peak_ = 0;
};

// Thread-compatible; one step at a time.
class Tape {
 public:
  // exec is borrowed and used by the ops.
  explicit Tape(ExecContext* exec) : exec_(exec) {}

  ExecContext* exec() { return exec_; }
  Arena& arena() { return arena_; }

  // When off, ops leave no closures: a forward pass for validation.
  void set_recording(bool on) { recording_ = on; }
  bool recording() const { return recording_; }

  Var* New(int64_t rows, int64_t cols);
  // The gradient buffer; *accumulate tells whether to add to it or to overwrite. Marks it live.
  float* GradTarget(Var* var, bool* accumulate);
  // Makes `to` share the live gradient of `from` when it has none yet, else adds it.
  void PassGrad(const Var* from, Var* to);

  // Runs a block of ops for its result alone and frees what else it left on the arena; Backward
  // runs it again, recorded this time, then backwards, and frees it again. So a step holds the
  // results of its blocks and the inside of one block, for one more forward pass (math-backbone
  // 11). The gradients are bit-identical to those of the block run in place. Blocks may hold
  // blocks.
  //
  // inputs: every Var from outside that the block reads. The block returns a Var of its own making
  // with the shape of inputs[0]. It runs twice when the tape records, the first time unrecorded,
  // and must compute the same both times. It may read what does not change before Backward has
  // returned (parameters, the batch); what it writes outside the arena (end states) it overwrites
  // and never adds to, since it is written twice.
  Var* Checkpoint(std::vector<Var*> inputs, std::function<Var*()> block);

  void OnBackward(std::function<void()> closure);
  // Runs the closures, last first. The caller has filled the gradient of the last value.
  void Backward();
  // Forgets everything recorded and frees the arena for the next step.
  void Reset();

 private:
  void RunBlockBackward(const std::vector<Var*>& inputs, const std::function<Var*()>& block,
                        const Var* result);
  // Runs and drops closures, last first, until `down_to` are left.
  void RunClosures(size_t down_to);

  ExecContext* exec_;
  Arena arena_;
  bool recording_ = true;
  std::vector<std::unique_ptr<Var>> vars_;
  std::vector<std::function<void()>> closures_;
};

}  // namespace chimera
