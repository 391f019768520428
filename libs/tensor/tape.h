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

 private:
  struct Free {
    void operator()(void* p) const;
  };
  struct Chunk {
    std::unique_ptr<void, Free> memory;
    size_t size;
  };
  std::vector<Chunk> chunks_;
  size_t current_ = 0;  // chunk in use
  size_t used_ = 0;     // bytes of it
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

  void OnBackward(std::function<void()> closure);
  // Runs the closures, last first. The caller has filled the gradient of the last value.
  void Backward();
  // Forgets everything recorded and frees the arena for the next step.
  void Reset();

 private:
  ExecContext* exec_;
  Arena arena_;
  bool recording_ = true;
  std::vector<std::unique_ptr<Var>> vars_;
  std::vector<std::function<void()>> closures_;
};

}  // namespace chimera
