#include "layers/mixer_ops.h"

#include "layers/gated_delta.h"
#include "layers/mlstm.h"
#include "layers/short_conv.h"
#include "layers/swiglu.h"
#include "layers/token_blocks.h"

namespace chimera {
namespace {

// Runs body(sequence, head) for all pairs; where their rows and saved chunk states begin.
struct HeadGrid {
  HeadGrid(const TrainBatch& batch, int n_heads) : batch(batch), n_heads(n_heads) {
    chunk_begin.push_back(0);
    for (int s = 0; s < batch.n_seqs; ++s) {
      chunk_begin.push_back(chunk_begin.back() + CountChunks(Reset(s), batch.seq_len));
    }
  }
  const uint8_t* Reset(int seq) const { return batch.reset + int64_t{seq} * batch.seq_len; }
  int64_t Row(int seq) const { return int64_t{seq} * batch.seq_len; }
  int64_t Chunks() const { return chunk_begin.back() * n_heads; }
  // Index of the first saved state of a head: all chunks of one head stand together.
  int64_t FirstChunk(int seq, int head) const {
    const auto s = static_cast<size_t>(seq);
    return chunk_begin[s] * n_heads + (chunk_begin[s + 1] - chunk_begin[s]) * head;
  }
  template <typename Body>
  void ForEach(ExecContext* exec, const Body& body) const {
    exec->ParallelFor(int64_t{batch.n_seqs} * n_heads, [&](int64_t i) {
      body(static_cast<int>(i / n_heads), static_cast<int>(i % n_heads));
    });
  }

  TrainBatch batch;
  int n_heads;
  std::vector<int64_t> chunk_begin;
};

// What the gated delta forward leaves for its backward.
struct GatedDeltaSaved {
  float* conv_out;  // [rows][3 * width], q and k normalised
  float* inv;       // [rows][2 * n_heads] of the key norms
  float* g;         // [rows][n_heads]
  float* beta;
  float* states;    // chunk start states
  float* o;         // [rows][width]
  float* head_inv;  // [rows][n_heads]
};

GatedDeltaSequence HeadOf(const HeadGrid& grid, const GatedDeltaSaved& saved, int seq, int head) {
  const int64_t width = int64_t{grid.n_heads} * kHeadDim;
  const float* base = saved.conv_out + grid.Row(seq) * 3 * width + head * kHeadDim;
  GatedDeltaSequence sequence;
  sequence.q = base;
  sequence.k = base + width;
  sequence.v = base + 2 * width;
  sequence.stride = 3 * width;
  sequence.g = saved.g + grid.Row(seq) * grid.n_heads + head;
  sequence.beta = saved.beta + grid.Row(seq) * grid.n_heads + head;
  sequence.gate_stride = grid.n_heads;
  sequence.reset = grid.Reset(seq);
  sequence.n_tokens = grid.batch.seq_len;
  return sequence;
}

// The kernels write o at the strides of q; o is kept at stride 3 * width too.
void GatedDeltaForward(Tape* tape, const HeadGrid& grid, const GatedDeltaSaved& saved, float* o3) {
  const TrainBatch& batch = grid.batch;
  const int64_t width = int64_t{grid.n_heads} * kHeadDim;
  const int64_t conv_floats = kConvState * 3 * width;
  grid.ForEach(tape->exec(), [&](int seq, int head) {
    const GatedDeltaSequence sequence = HeadOf(grid, saved, seq, head);
    const int64_t at = seq * batch.state_stride + conv_floats + int64_t{head} * kHeadState;
    GatedDeltaTrain().forward(&sequence, batch.start + at,
                              o3 + grid.Row(seq) * 3 * width + head * kHeadDim, batch.end + at,
                              saved.states + grid.FirstChunk(seq, head) * kHeadState);
  });
}

// Copies column block [0, width) of rows of 3 * width to or from packed rows of width.
void PackRows(Tape* tape, int64_t rows, int64_t width, const float* from, int64_t from_stride,
              float* to, int64_t to_stride) {
  ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
    for (int64_t r = t; r < t + n; ++r) {
      std::memcpy(to + r * to_stride, from + r * from_stride,
                  static_cast<size_t>(width) * sizeof(float));
    }
  });
}

}  // namespace

Var* GatedDeltaMixer(Tape* tape, const TrainBatch& batch, const GatedDeltaParams& params, Var* qkv,
                     Var* gate, Var* a, Var* b) {
  const int n_heads = static_cast<int>(a->cols);
  const int64_t width = int64_t{n_heads} * kHeadDim, rows = batch.rows();
  const int channels = static_cast<int>(3 * width);
  const HeadGrid grid(batch, n_heads);
  Arena& arena = tape->arena();
  GatedDeltaSaved saved;
  saved.conv_out = arena.New<float>(rows * 3 * width);
  saved.inv = arena.New<float>(rows * 2 * n_heads);
  saved.g = arena.New<float>(rows * n_heads);
  saved.beta = arena.New<float>(rows * n_heads);
  saved.states = arena.New<float>(grid.Chunks() * kHeadState);
  saved.o = arena.New<float>(rows * width);
  saved.head_inv = arena.New<float>(rows * n_heads);
  float* o3 = arena.New<float>(rows * 3 * width);

  tape->exec()->ParallelFor(batch.n_seqs, [&](int64_t s) {
    const int64_t row = grid.Row(static_cast<int>(s));
    ShortConv().forward(qkv->value + row * channels, params.conv.value,
                        batch.start + s * batch.state_stride, grid.Reset(static_cast<int>(s)),
                        batch.seq_len, channels, channels, saved.conv_out + row * channels,
                        batch.end + s * batch.state_stride);
  });
  ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
    for (int64_t r = t; r < t + n; ++r) {
      GatedDelta().l2norm(saved.conv_out + r * channels, 2 * n_heads, saved.conv_out + r * channels,
                          saved.inv + r * 2 * n_heads);
    }
    GatedDelta().gates(a->value + t * n_heads, b->value + t * n_heads, params.a_log.value,
                       params.dt_bias.value, n, n_heads, saved.g + t * n_heads,
                       saved.beta + t * n_heads);
  });
  GatedDeltaForward(tape, grid, saved, o3);
  PackRows(tape, rows, width, o3, 3 * width, saved.o, width);
  Var* y = tape->New(rows, width);
  ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
    GatedDelta().head_norm(saved.o + t * width, gate->value + t * width, params.head_norm.value,
                           n * n_heads, y->value + t * width, saved.head_inv + t * n_heads);
  });

  tape->OnBackward([tape, grid, params, saved, qkv, gate, a, b, y, n_heads, width, rows, channels,
                    o3] {
    Arena& memory = tape->arena();
    const TrainBatch& in = grid.batch;
    bool accumulate = false;
    float* d_gate = tape->GradTarget(gate, &accumulate);
    float* d_a = tape->GradTarget(a, &accumulate);
    float* d_b = tape->GradTarget(b, &accumulate);
    float* d_qkv = tape->GradTarget(qkv, &accumulate);
    float* d_o = o3;  // rows of 3 * width, as the kernels want it
    float* d_conv = memory.New<float>(rows * 3 * width);
    PartialSums d_norm(tape, rows, kHeadDim);
    float* d_packed = memory.New<float>(rows * width);
    ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
      GatedDeltaTrain().head_norm_backward(saved.o + t * width, gate->value + t * width,
                                           params.head_norm.value, saved.head_inv + t * n_heads,
                                           y->grad + t * width, n * n_heads, d_packed + t * width,
                                           d_gate + t * width, d_norm.Block(t));
    });
    d_norm.AddTo(params.head_norm.grad);
    PackRows(tape, rows, width, d_packed, width, d_o, 3 * width);
    grid.ForEach(tape->exec(), [&](int seq, int head) {
      const GatedDeltaSequence sequence = HeadOf(grid, saved, seq, head);
      const int64_t at = grid.Row(seq) * 3 * width + head * kHeadDim;
      const int64_t gates = grid.Row(seq) * n_heads + head;
      GatedDeltaTrain().backward(&sequence, saved.states + grid.FirstChunk(seq, head) * kHeadState,
                                 d_o + at, nullptr, d_conv + at, d_conv + at + width,
                                 d_conv + at + 2 * width, d_a + gates, d_b + gates, nullptr);
    });
    PartialSums d_a_log(tape, rows, n_heads), d_dt(tape, rows, n_heads);
    ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
      const int64_t h = t * n_heads;
      GatedDeltaTrain().gates_backward(a->value + h, params.a_log.value, params.dt_bias.value,
                                       saved.g + h, saved.beta + h, d_a + h, d_b + h, n, n_heads,
                                       d_a + h, d_b + h, d_a_log.Block(t), d_dt.Block(t));
      for (int64_t r = t; r < t + n; ++r) {
        GatedDeltaTrain().l2norm_backward(saved.conv_out + r * channels,
                                          saved.inv + r * 2 * n_heads, d_conv + r * channels,
                                          2 * n_heads, d_conv + r * channels);
      }
    });
    d_a_log.AddTo(params.a_log.grad);
    d_dt.AddTo(params.dt_bias.grad);
    // One partial dw per sequence, added in order.
    const int64_t taps = int64_t{channels} * kConvWidth;
    float* dw = memory.New<float>(in.n_seqs * taps);
    std::memset(dw, 0, static_cast<size_t>(in.n_seqs * taps) * sizeof(float));
    tape->exec()->ParallelFor(in.n_seqs, [&](int64_t s) {
      const int64_t row = grid.Row(static_cast<int>(s)) * channels;
      ShortConv().backward(qkv->value + row, params.conv.value, in.start + s * in.state_stride,
                           grid.Reset(static_cast<int>(s)), d_conv + row, in.seq_len, channels,
                           channels, d_qkv + row, dw + s * taps);
    });
    for (int64_t s = 0; s < in.n_seqs; ++s) {
      for (int64_t i = 0; i < taps; ++i) params.conv.grad[i] += dw[s * taps + i];
    }
  });
  return y;
}

namespace {

struct MlstmSaved {
  float* i;  // [rows][n_heads], capped
  float* f;
  float* states;  // chunk start states
  float* h3;      // [rows][3 * width], only the first width columns are used
  float* h;       // [rows][width]
  float* head_inv;
};

MlstmSequence HeadOf(const HeadGrid& grid, const MlstmSaved& saved, const float* qkv, int seq,
                     int head) {
  const int64_t width = int64_t{grid.n_heads} * kHeadDim;
  const float* base = qkv + grid.Row(seq) * 3 * width + head * kHeadDim;
  MlstmSequence sequence;
  sequence.q = base;
  sequence.k = base + width;
  sequence.v = base + 2 * width;
  sequence.stride = 3 * width;
  sequence.i = saved.i + grid.Row(seq) * grid.n_heads + head;
  sequence.f = saved.f + grid.Row(seq) * grid.n_heads + head;
  sequence.gate_stride = grid.n_heads;
  sequence.reset = grid.Reset(seq);
  sequence.n_tokens = grid.batch.seq_len;
  return sequence;
}

// One head's part of a sequence's state block.
MlstmState StateOf(float* block, int n_heads, int head) {
  return {block + int64_t{head} * kHeadState,
          block + int64_t{n_heads} * kHeadState + int64_t{head} * kHeadDim,
          block + int64_t{n_heads} * (kHeadState + kHeadDim) + head};
}

}  // namespace

Var* MlstmMixer(Tape* tape, const TrainBatch& batch, const MlstmParams& params, Var* qkv, Var* gate,
                Var* i, Var* f) {
  const int n_heads = static_cast<int>(i->cols);
  const int64_t width = int64_t{n_heads} * kHeadDim, rows = batch.rows();
  const HeadGrid grid(batch, n_heads);
  Arena& arena = tape->arena();
  MlstmSaved saved;
  saved.i = arena.New<float>(rows * n_heads);
  saved.f = arena.New<float>(rows * n_heads);
  saved.states = arena.New<float>(grid.Chunks() * kMlstmSaved);
  saved.h3 = arena.New<float>(rows * 3 * width);
  saved.h = arena.New<float>(rows * width);
  saved.head_inv = arena.New<float>(rows * n_heads);
  Var* y = tape->New(rows, width);

  ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
    Mlstm().gate_cap(i->value + t * n_heads, params.gate_bias.value, n, n_heads,
                     saved.i + t * n_heads);
    Mlstm().gate_cap(f->value + t * n_heads, params.gate_bias.value + n_heads, n, n_heads,
                     saved.f + t * n_heads);
  });
  grid.ForEach(tape->exec(), [&](int seq, int head) {
    const MlstmSequence sequence = HeadOf(grid, saved, qkv->value, seq, head);
    // The kernel only reads the start state.
    const MlstmState start =
        StateOf(const_cast<float*>(batch.start) + seq * batch.state_stride, n_heads, head);
    const MlstmState end = StateOf(batch.end + seq * batch.state_stride, n_heads, head);
    MlstmTrain().forward(&sequence, &start, saved.h3 + grid.Row(seq) * 3 * width + head * kHeadDim,
                         &end, saved.states + grid.FirstChunk(seq, head) * kMlstmSaved);
  });
  PackRows(tape, rows, width, saved.h3, 3 * width, saved.h, width);
  ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
    Mlstm().head_norm(saved.h + t * width, gate->value + t * width, params.head_norm.value, n,
                      n_heads, y->value + t * width, saved.head_inv + t * n_heads);
  });

  tape->OnBackward([tape, grid, params, saved, qkv, gate, i, f, y, n_heads, width, rows] {
    bool accumulate = false;
    float* d_gate = tape->GradTarget(gate, &accumulate);
    float* d_i = tape->GradTarget(i, &accumulate);
    float* d_f = tape->GradTarget(f, &accumulate);
    float* d_qkv = tape->GradTarget(qkv, &accumulate);
    float* d_packed = tape->arena().New<float>(rows * width);
    float* d_h = tape->arena().New<float>(rows * 3 * width);
    PartialSums d_norm(tape, rows, width);
    ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
      MlstmTrain().head_norm_backward(saved.h + t * width, gate->value + t * width,
                                      params.head_norm.value, saved.head_inv + t * n_heads,
                                      y->grad + t * width, n, n_heads, d_packed + t * width,
                                      d_gate + t * width, d_norm.Block(t));
    });
    d_norm.AddTo(params.head_norm.grad);
    PackRows(tape, rows, width, d_packed, width, d_h, 3 * width);
    const MlstmState none = {nullptr, nullptr, nullptr};
    grid.ForEach(tape->exec(), [&](int seq, int head) {
      const MlstmSequence sequence = HeadOf(grid, saved, qkv->value, seq, head);
      const int64_t at = grid.Row(seq) * 3 * width + head * kHeadDim;
      const int64_t gates = grid.Row(seq) * n_heads + head;
      MlstmTrain().backward(&sequence, saved.states + grid.FirstChunk(seq, head) * kMlstmSaved,
                            saved.h3 + at, d_h + at, &none, d_qkv + at, d_qkv + at + width,
                            d_qkv + at + 2 * width, d_i + gates, d_f + gates, &none);
    });
    PartialSums d_bias_i(tape, rows, n_heads), d_bias_f(tape, rows, n_heads);
    ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
      const int64_t h = t * n_heads;
      MlstmTrain().gate_cap_backward(saved.i + h, d_i + h, n, n_heads, d_i + h, d_bias_i.Block(t));
      MlstmTrain().gate_cap_backward(saved.f + h, d_f + h, n, n_heads, d_f + h, d_bias_f.Block(t));
    });
    d_bias_i.AddTo(params.gate_bias.grad);
    d_bias_f.AddTo(params.gate_bias.grad + n_heads);
  });
  return y;
}

Var* SwigluProduct(Tape* tape, Var* gate, Var* up) {
  Var* out = tape->New(gate->rows, gate->cols);
  const int64_t cols = gate->cols;
  ForTokens(tape->exec(), gate->rows, [&](int64_t t, int64_t n) {
    Swiglu().forward(gate->value + t * cols, up->value + t * cols, n * cols, out->value + t * cols);
  });
  tape->OnBackward([tape, gate, up, out, cols] {
    bool accumulate = false;
    float* d_gate = tape->GradTarget(gate, &accumulate);
    float* d_up = tape->GradTarget(up, &accumulate);
    ForTokens(tape->exec(), gate->rows, [&](int64_t t, int64_t n) {
      const int64_t at = t * cols;
      Swiglu().backward(gate->value + at, up->value + at, out->grad + at, n * cols, d_gate + at,
                        d_up + at);
    });
  });
  return out;
}

}  // namespace chimera
