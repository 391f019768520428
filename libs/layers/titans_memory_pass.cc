#include "layers/titans_memory_pass.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "layers/titans_slab.h"
#include "layers/titans_train.h"

namespace chimera {
namespace {

constexpr size_t kRowBytes = kHeadDim * sizeof(float);

}  // namespace

ScratchPool::ScratchPool(Tape* tape, int64_t floats) {
  for (int i = 0; i < tape->exec()->threads(); ++i) {
    free_.push_back(tape->arena().New<float>(floats));
  }
}

float* ScratchPool::Take() {
  MutexLock lock(&mutex_);
  CHIMERA_CHECK(!free_.empty());
  float* buffer = free_.back();
  free_.pop_back();
  return buffer;
}

void ScratchPool::Give(float* buffer) {
  MutexLock lock(&mutex_);
  free_.push_back(buffer);
}

TitansMemoryPass::TitansMemoryPass(Tape* tape, const TrainBatch& batch, const TitansShape& shape,
                                   FloatParam w1, FloatParam w2, TitansUse use, bool first_order,
                                   std::shared_ptr<const TitansPlan> plan,
                                   const TitansMemoryInput& input)
    : tape_(tape),
      batch_(batch),
      shape_(shape),
      w1_(w1),
      w2_(w2),
      writes_(use == TitansUse::kWrite),
      first_order_(first_order),
      plan_(std::move(plan)),
      in_(input),
      scratch_(tape, int64_t{kSpanChunks} * kTitansFast) {
  span_begin_.push_back(0);
  for (const TitansPiece& piece : plan_->pieces()) {
    const int chunks = piece.chunk_end - piece.chunk_begin;
    span_begin_.push_back(span_begin_.back() + (chunks + kSpanChunks - 1) / kSpanChunks);
  }
  saved_ = tape->arena().New<float>(span_begin_.back() * shape.n_heads * kTitansFast);
}

float* TitansMemoryPass::Saved(int piece, int chunk, int head) const {
  const int first = plan_->pieces()[static_cast<size_t>(piece)].chunk_begin;
  const int64_t span = span_begin_[static_cast<size_t>(piece)] + (chunk - first) / kSpanChunks;
  return saved_ + (span * shape_.n_heads + head) * kTitansFast;
}

// The weights the first chunk of a piece reads.
void TitansMemoryPass::Begin(int seq, const TitansPiece& piece, int head, float* fast) const {
  if (!piece.carried) {
    std::memcpy(fast, w1_.value + head * kHeadState, kHeadState * sizeof(float));
    std::memcpy(fast + kHeadState, w2_.value + head * kHeadState, kHeadState * sizeof(float));
    std::memset(fast + kTitansWeights, 0, kTitansWeights * sizeof(float));
    return;
  }
  const float* slab = batch_.MemoryStart(seq);
  const auto header = ReadHeader<TitansMemoryHeader>(slab);
  std::memcpy(fast, slab + TitansFastAt(head), kTitansFast * sizeof(float));
  if (writes_ && header.pending > 0 && piece.position % kTitansChunk == 0) {
    TitansMemoryTrain().write(slab + TitansTokensAt(shape_, head), header.pending,
                              shape_.momentum_guard, fast);
  }
}

// The tokens of a chunk; those before its first row come from the start state.
void TitansMemoryPass::Pack(int seq, int chunk, int head, float* tokens) const {
  const TitansChunk& c = plan_->chunk(chunk);
  if (c.lane > 0) {
    std::memcpy(tokens, batch_.MemoryStart(seq) + TitansTokensAt(shape_, head),
                kTitansTokens * sizeof(float));
  }
  float* gates = tokens + kTitansTheta;
  for (int i = 0; i < c.n; ++i) {
    const int64_t row = c.row + i;
    const int at = c.lane + i;
    std::memcpy(tokens + at * kHeadDim, in_.km + row * shape_.width() + head * kHeadDim, kRowBytes);
    std::memcpy(tokens + (kTitansChunk + at) * kHeadDim,
                in_.vm + row * in_.vm_stride + head * kHeadDim, kRowBytes);
    for (int g = 0; g < 3; ++g) {
      gates[g * kTitansChunk + at] = in_.gates[(row * 3 + g) * shape_.n_heads + head];
    }
  }
}

void TitansMemoryPass::WriteChunkOf(int seq, int chunk, int head, float* fast) const {
  if (!writes_) return;
  alignas(64) float tokens[kTitansTokens];
  Pack(seq, chunk, head, tokens);
  TitansMemoryTrain().write(tokens, kTitansChunk, shape_.momentum_guard, fast);
}

void TitansMemoryPass::Forward(const float* qm, float* r) {
  tape_->exec()->ParallelFor(int64_t{batch_.n_seqs} * shape_.n_heads, [&](int64_t i) {
    ForwardHead(static_cast<int>(i / shape_.n_heads), static_cast<int>(i % shape_.n_heads), qm, r);
  });
  for (int s = 0; s < batch_.n_seqs; ++s) WriteEndHeader(s);
}

void TitansMemoryPass::ForwardHead(int seq, int head, const float* qm, float* r) {
  alignas(64) float fast[kTitansFast];
  for (int p = plan_->piece_begin(seq); p < plan_->piece_end(seq); ++p) {
    const TitansPiece& piece = plan_->pieces()[static_cast<size_t>(p)];
    Begin(seq, piece, head, fast);
    for (int c = piece.chunk_begin; c < piece.chunk_end; ++c) {
      if (c > piece.chunk_begin) WriteChunkOf(seq, c - 1, head, fast);
      if ((c - piece.chunk_begin) % kSpanChunks == 0) {
        std::memcpy(Saved(p, c, head), fast, sizeof(fast));
      }
      const TitansChunk& chunk = plan_->chunk(c);
      const int64_t at = chunk.row * shape_.width() + head * kHeadDim;
      TitansMemoryTrain().retrieve(fast, qm + at, shape_.width(), chunk.n, r + at);
    }
    if (p + 1 == plan_->piece_end(seq)) WriteEnd(seq, piece, head, fast);
  }
}

void TitansMemoryPass::WriteEnd(int seq, const TitansPiece& piece, int head,
                                const float* fast) const {
  float* slab = batch_.MemoryEnd(seq);
  std::memcpy(slab + TitansFastAt(head), fast, kTitansFast * sizeof(float));
  float* tokens = slab + TitansTokensAt(shape_, head);
  std::memset(tokens, 0, kTitansTokens * sizeof(float));
  if (writes_) Pack(seq, piece.chunk_end - 1, head, tokens);
}

void TitansMemoryPass::WriteEndHeader(int seq) const {
  const TitansPiece& piece = plan_->pieces()[static_cast<size_t>(plan_->piece_end(seq)) - 1];
  const TitansChunk& last = plan_->chunk(piece.chunk_end - 1);
  TitansMemoryHeader header = {};
  if (piece.carried) {
    header = ReadHeader<TitansMemoryHeader>(batch_.MemoryStart(seq));
  }
  header.started = 1;
  header.pending = writes_ ? last.lane + last.n : 0;
  header.position = piece.position + piece.n;
  WriteHeader(header, batch_.MemoryEnd(seq));
}

void TitansMemoryPass::Rebuild(int seq, int piece, int begin, int end, int head,
                               float* states) const {
  std::memcpy(states, Saved(piece, begin, head), kTitansFast * sizeof(float));
  for (int c = begin + 1; c < end; ++c) {
    float* state = states + (c - begin) * int64_t{kTitansFast};
    std::memcpy(state, state - kTitansFast, kTitansFast * sizeof(float));
    WriteChunkOf(seq, c - 1, head, state);
  }
}

template <typename Body>
void TitansMemoryPass::ForChunks(int seq, int head, float* states, const Body& body) const {
  for (int p = plan_->piece_begin(seq); p < plan_->piece_end(seq); ++p) {
    const TitansPiece& piece = plan_->pieces()[static_cast<size_t>(p)];
    for (int begin = piece.chunk_begin; begin < piece.chunk_end; begin += kSpanChunks) {
      const int end = std::min(piece.chunk_end, begin + kSpanChunks);
      Rebuild(seq, p, begin, end, head, states);
      for (int c = begin; c < end; ++c) {
        body(states + (c - begin) * int64_t{kTitansFast}, plan_->chunk(c));
      }
    }
  }
}

void TitansMemoryPass::ReadForward(const Reader& reader, float* r) {
  const int width = shape_.width();
  tape_->exec()->ParallelFor(int64_t{reader.n_seqs} * shape_.n_heads, [&](int64_t i) {
    const int seq = static_cast<int>(i / shape_.n_heads),
              head = static_cast<int>(i % shape_.n_heads);
    const int source = reader.source == nullptr ? seq : reader.source[seq];
    float* states = scratch_.Take();
    ForChunks(source, head, states, [&](const float* state, const TitansChunk& chunk) {
      const int64_t at = (chunk.row - Row(source) + Row(seq)) * width + head * kHeadDim;
      TitansMemoryTrain().retrieve(state, reader.qm + at, width, chunk.n, r + at);
    });
    scratch_.Give(states);
  });
}

void TitansMemoryPass::ReadBackward(const Reader& reader, float* dqm) {
  const int width = shape_.width();
  tape_->exec()->ParallelFor(int64_t{reader.n_seqs} * shape_.n_heads, [&](int64_t i) {
    const int seq = static_cast<int>(i / shape_.n_heads),
              head = static_cast<int>(i % shape_.n_heads);
    const int source = reader.source == nullptr ? seq : reader.source[seq];
    float* states = scratch_.Take();
    ForChunks(source, head, states, [&](const float* state, const TitansChunk& chunk) {
      const int64_t at = (chunk.row - Row(source) + Row(seq)) * width + head * kHeadDim;
      TitansMemoryTrain().retrieve_backward(state, reader.qm + at, reader.dr + at, width, chunk.n,
                                            dqm + at, nullptr);
    });
    scratch_.Give(states);
  });
  readers_.push_back(reader);
}

// Scatters the gradients of one written chunk over its rows.
void TitansMemoryPass::WriteBackward(int seq, const TitansPiece& piece, int chunk, int head,
                                     const float* fast, float* d_fast,
                                     const TitansMemoryGrads& grads) const {
  const TitansChunk& c = plan_->chunk(chunk);
  alignas(64) float tokens[kTitansTokens], d_tokens[kTitansTokens];
  const bool written = writes_ && chunk + 1 < piece.chunk_end;
  if (written) {
    Pack(seq, chunk, head, tokens);
    TitansMemoryTrain().write_backward(tokens, kTitansChunk, shape_.momentum_guard, fast,
                                       first_order_, d_fast, d_tokens);
  } else {
    std::memset(d_tokens, 0, sizeof(d_tokens));
  }
  for (int i = 0; i < c.n; ++i) {
    const int64_t row = c.row + i;
    const int at = c.lane + i;
    std::memcpy(grads.km + row * shape_.width() + head * kHeadDim, d_tokens + at * kHeadDim,
                kRowBytes);
    std::memcpy(grads.vm + row * grads.vm_stride + head * kHeadDim,
                d_tokens + (kTitansChunk + at) * kHeadDim, kRowBytes);
    for (int g = 0; g < 3; ++g) {
      grads.gates[(row * 3 + g) * shape_.n_heads + head] =
          d_tokens[kTitansTheta + g * kTitansChunk + at];
    }
  }
}

void TitansMemoryPass::BackwardHead(int seq, int head, const float* qm, const float* dr, float* dqm,
                                    const TitansMemoryGrads& grads, float* states, float* d_first) {
  alignas(64) float d_fast[kTitansFast];
  const int width = shape_.width();
  for (int p = plan_->piece_end(seq) - 1; p >= plan_->piece_begin(seq); --p) {
    const TitansPiece& piece = plan_->pieces()[static_cast<size_t>(p)];
    const int spans = (piece.chunk_end - piece.chunk_begin + kSpanChunks - 1) / kSpanChunks;
    std::memset(d_fast, 0, sizeof(d_fast));
    for (int span = spans - 1; span >= 0; --span) {
      const int begin = piece.chunk_begin + span * kSpanChunks;
      const int end = std::min(piece.chunk_end, begin + kSpanChunks);
      Rebuild(seq, p, begin, end, head, states);
      for (int c = end - 1; c >= begin; --c) {
        const float* fast = states + (c - begin) * int64_t{kTitansFast};
        const TitansChunk& chunk = plan_->chunk(c);
        WriteBackward(seq, piece, c, head, fast, d_fast, grads);
        const int64_t at = chunk.row * width + head * kHeadDim;
        TitansMemoryTrain().retrieve_backward(fast, qm + at, dr + at, width, chunk.n, dqm + at,
                                              d_fast);
        for (const Reader& reader : readers_) {
          for (int s = 0; s < reader.n_seqs; ++s) {
            if ((reader.source == nullptr ? s : reader.source[s]) != seq) continue;
            const int64_t from = (chunk.row - Row(seq) + Row(s)) * width + head * kHeadDim;
            TitansMemoryTrain().retrieve_backward(fast, reader.qm + from, reader.dr + from, width,
                                                  chunk.n, nullptr, d_fast);
          }
        }
      }
    }
    if (piece.carried) continue;
    for (int i = 0; i < kTitansWeights; ++i) d_first[i] += d_fast[i];
  }
}

void TitansMemoryPass::Backward(const float* qm, const float* dr, float* dqm,
                                const TitansMemoryGrads& grads) {
  const int64_t heads = shape_.n_heads, tasks = batch_.n_seqs * heads;
  float* d_first = tape_->arena().New<float>(tasks * kTitansWeights);
  std::memset(d_first, 0, static_cast<size_t>(tasks) * kTitansWeights * sizeof(float));
  tape_->exec()->ParallelFor(tasks, [&](int64_t i) {
    float* states = scratch_.Take();
    BackwardHead(static_cast<int>(i / heads), static_cast<int>(i % heads), qm, dr, dqm, grads,
                 states, d_first + i * kTitansWeights);
    scratch_.Give(states);
  });
  // Sequences in order, whoever computed them.
  for (int64_t i = 0; i < tasks; ++i) {
    const float* d = d_first + i * kTitansWeights;
    const int64_t at = i % heads * kHeadState;
    for (int j = 0; j < kHeadState; ++j) {
      w1_.grad[at + j] += d[j];
      w2_.grad[at + j] += d[kHeadState + j];
    }
  }
}

}  // namespace chimera
