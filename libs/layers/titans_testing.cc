#include "layers/titans_testing.h"

#include <algorithm>
#include <cmath>

#include "gtest/gtest.h"
#include "layers/rms_norm_naive.h"
#include "layers/titans_slab.h"

namespace chimera {
namespace {

using Memory = NaiveTitansMemory<double>;

// A [rows][cols] matrix, transposed into the corner of [64][64].
void PadMatrix(const Doubles& w, int rows, int cols, float* out) {
  for (size_t i = 0; i < w.size(); ++i) {
    const int row = static_cast<int>(i) / cols, col = static_cast<int>(i) % cols;
    out[col * kHeadDim + row] = static_cast<float>(w[i]);
  }
  (void)rows;
}
Doubles UnpadMatrix(const float* from, int rows, int cols) {
  Doubles w(rows * cols);
  for (int i = 0; i < rows * cols; ++i) w[i] = from[i % cols * kHeadDim + i / cols];
  return w;
}

}  // namespace

Floats PadFast(const Memory& memory, const Memory::State& state) {
  Floats fast(kTitansFast);
  const int d = memory.d, hidden = memory.hidden;
  PadMatrix(state.w1, hidden, d, fast.data());
  PadMatrix(state.w2, d, hidden, fast.data() + kHeadState);
  PadMatrix(state.s1, hidden, d, fast.data() + kTitansWeights);
  PadMatrix(state.s2, d, hidden, fast.data() + kTitansWeights + kHeadState);
  return fast;
}

Memory::State UnpadFast(const Memory& memory, const float* fast) {
  const int d = memory.d, hidden = memory.hidden;
  return {UnpadMatrix(fast, hidden, d), UnpadMatrix(fast + kHeadState, d, hidden),
          UnpadMatrix(fast + kTitansWeights, hidden, d),
          UnpadMatrix(fast + kTitansWeights + kHeadState, d, hidden)};
}

Floats PadTokens(const Memory::Tokens& tokens, int d) {
  Floats out(kTitansTokens);
  for (int t = 0; t < tokens.n; ++t) {
    for (int i = 0; i < d; ++i) {
      out[t * kHeadDim + i] = static_cast<float>(tokens.k[t * d + i]);
      out[(kTitansChunk + t) * kHeadDim + i] = static_cast<float>(tokens.v[t * d + i]);
    }
    out[kTitansTheta + t] = static_cast<float>(tokens.theta[t]);
    out[kTitansTheta + kTitansChunk + t] = static_cast<float>(tokens.eta[t]);
    out[kTitansTheta + 2 * kTitansChunk + t] = static_cast<float>(tokens.alpha[t]);
  }
  return out;
}

Floats PadRows(const Doubles& x, int d) {
  Floats out(x.size() / d * kHeadDim);
  for (size_t i = 0; i < x.size(); ++i) out[i / d * kHeadDim + i % d] = static_cast<float>(x[i]);
  return out;
}

Doubles UnpadRows(const Floats& x, int d) {
  Doubles out;
  for (size_t at = 0; at < x.size(); at += kHeadDim) {
    out.insert(out.end(), x.begin() + at, x.begin() + at + d);
  }
  return out;
}

TitansFixture::TitansFixture(const TitansShape& s, uint32_t seed) : shape(s) {
  const int w = s.width(), kv = s.kv_width(), slots = s.persistent_slots * kv;
  gate_bias = Noise(3 * s.n_heads, 0.5f, 0, seed);
  for (int h = 0; h < s.n_heads; ++h) {
    gate_bias[h] -= 2;
    gate_bias[s.n_heads + h] += 1;
    gate_bias[2 * s.n_heads + h] -= 4;
  }
  w1 = Noise(w * kHeadDim, 0.8f, 0, seed + 1);
  w2 = Noise(w * kHeadDim, 0.1f, 0, seed + 2);
  slot_k = Noise(slots, 1, 0, seed + 3);
  slot_v = Noise(slots, 1, 0, seed + 4);
  head_norm = Noise(kHeadDim, 0.5f, 1, seed + 5);
  w_kv = Noise(2 * kv * w, 1.7f / std::sqrt(static_cast<float>(w)), 0, seed + 6);
  block_norm = Noise(w, 0.3f, 1, seed + 7);
}

TitansLayer TitansFixture::layer() const {
  return {shape,         gate_bias.data(), w1.data(),       w2.data(),
          slot_k.data(), slot_v.data(),    head_norm.data()};
}

Floats TitansFixture::In(int n, uint32_t seed) const {
  return Noise(int64_t{n} * shape.in_width(), 1.5f, 0, seed);
}

Floats TitansFixture::Gates(int n, uint32_t seed) const {
  return Noise(int64_t{n} * 3 * shape.n_heads, 1, 0, seed);
}

void TitansFixture::ProjectKv(const float* mean, float* k, float* v) const {
  const int w = shape.width(), kv = shape.kv_width();
  Floats normed(w);
  NaiveRmsNorm(mean, block_norm.data(), w, normed.data());
  for (int o = 0; o < 2 * kv; ++o) {
    float sum = 0;
    for (int i = 0; i < w; ++i) sum += w_kv[o * w + i] * normed[i];
    (o < kv ? k[o] : v[o - kv]) = sum;
  }
}

NaiveTitansLayer<double> TitansFixture::Naive(const Floats& in, const Floats& gates) const {
  NaiveTitansLayer<double> naive;
  naive.heads = shape.n_heads, naive.kv_heads = shape.kv_heads, naive.d = kHeadDim;
  naive.slots = shape.persistent_slots, naive.window = shape.window_len;
  naive.chunk = kTitansChunk, naive.blocks = kTitansBlocks;
  naive.decay_linear = shape.decay_linear, naive.momentum_guard = shape.momentum_guard;
  naive.p = {ToDoubles(gate_bias), ToDoubles(w1),        ToDoubles(w2),   ToDoubles(slot_k),
             ToDoubles(slot_v),    ToDoubles(head_norm), ToDoubles(w_kv), ToDoubles(block_norm)};
  naive.in = ToDoubles(in), naive.gates = ToDoubles(gates);
  return naive;
}

TitansStream::TitansStream(const TitansFixture& fixture, TitansUse use)
    : fixture_(&fixture),
      use_(use),
      state_(TitansStateFloats(fixture.shape)),
      block_(3 * fixture.shape.width()),
      node_(TitansNodeFloats(fixture.shape)) {}

Floats TitansStream::Step(const float* in, const float* gates) {
  Floats y(fixture_->shape.width());
  TitansStep(
      fixture_->layer(), use_, position_, in, gates,
      [&](const float* mean, float* k, float* v) {
        fixture_->ProjectKv(mean, k, v);
        ++blocks_;
      },
      block_.data(), node_.data(), memory(), ring(), y.data());
  Remember();
  ++position_;
  return y;
}

void TitansStream::Forget() {
  for (Doubles* kept : {&k_hat, &v_hat, &block_k_hat, &block_v_hat}) kept->clear();
  remembered_ = blocks_;
}

void TitansStream::Remember() {
  const TitansShape& s = fixture_->shape;
  if (s.decay_linear) return;
  const auto read = [&](const TitansBank& bank, int64_t n, Doubles* k, Doubles* v) {
    const int at = static_cast<int>(n % bank.size());
    EXPECT_EQ(bank.number(at), n + 1);
    for (int h = 0; h < s.kv_heads; ++h) {
      for (int d = 0; d < kHeadDim; ++d) {
        k->push_back(double{bank.k_scale(h)[at]} * bank.k_tile(h, at / 16)[d * 16 + at % 16]);
        v->push_back(double{bank.v_scale(h)[at]} * bank.v_row(h, at)[d]);
      }
    }
  };
  read(TitansTokenBank(s, ring()), position_, &k_hat, &v_hat);
  for (; remembered_ < blocks_; ++remembered_) {
    read(TitansBlockBank(s, ring()), remembered_, &block_k_hat, &block_v_hat);
  }
}

Floats TitansStream::Run(const Floats& in, const Floats& gates) {
  const TitansShape& s = fixture_->shape;
  Floats out;
  const int n = static_cast<int>(in.size()) / s.in_width();
  for (int t = 0; t < n; ++t) {
    const Floats y = Step(&in[t * s.in_width()], &gates[t * 3 * s.n_heads]);
    out.insert(out.end(), y.begin(), y.end());
  }
  return out;
}

void AdoptRounding(const TitansStream& stream, NaiveTitansLayer<double>* naive) {
  naive->Forward();
  const auto offset = [](const Doubles& hat, const Doubles& exact) {
    EXPECT_EQ(hat.size(), exact.size());
    Doubles out(exact.size());
    for (size_t row = 0; row < hat.size(); row += kHeadDim) {
      double top = 0;
      for (size_t i = row; i < row + kHeadDim; ++i) top = std::max(top, std::abs(exact[i]));
      for (size_t i = row; i < row + kHeadDim; ++i) {
        out[i] = hat[i] - exact[i];
        EXPECT_LE(std::abs(out[i]), 0.501 * top / 127 + 1e-5) << "not a rounding, at " << i;
      }
    }
    return out;
  };
  naive->k_offset = offset(stream.k_hat, naive->k);
  naive->v_offset = offset(stream.v_hat, naive->v);
  naive->block_k_offset = offset(stream.block_k_hat, naive->block_k);
  naive->block_v_offset = offset(stream.block_v_hat, naive->block_v);
  naive->Forward();
}

TitansOpRun::TitansOpRun(const TitansFixture& f, int n_seqs, int threads)
    : gate_bias(f.gate_bias, 1, 3 * f.shape.n_heads),
      w1(f.w1, f.shape.width(), kHeadDim),
      w2(f.w2, f.shape.width(), kHeadDim),
      slot_k(f.slot_k, f.shape.persistent_slots, f.shape.kv_width()),
      slot_v(f.slot_v, f.shape.persistent_slots, f.shape.kv_width()),
      head_norm(f.head_norm, 1, kHeadDim),
      w_kv(f.w_kv, 2 * f.shape.kv_width(), f.shape.width()),
      block_norm(f.block_norm, 1, f.shape.width()),
      shape_(f.shape),
      n_seqs_(n_seqs),
      exec_(threads),
      tape_(&exec_) {
  linear_.param = w_kv.param;
  linear_.quantized = false;
}

TitansMemoryPass* TitansOpRun::Forward(const Floats& in, const Floats& gates,
                                       const std::vector<uint8_t>& reset, const Floats& start,
                                       const TitansOptions& options) {
  const int w = shape_.width(), kv = 2 * shape_.kv_width(), in_width = shape_.in_width();
  const int64_t rows = static_cast<int64_t>(in.size()) / in_width;
  const bool reads = options.use == TitansUse::kReadOnly;
  const int64_t floats = reads ? TitansRingFloats(shape_) : TitansStateFloats(shape_);
  auto a = std::make_unique<Application>();
  a->proj = tape_.New(rows, 4 * w);
  a->kv = tape_.New(rows, kv);
  a->gates = tape_.New(rows, 3 * shape_.n_heads);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(&in[r * in_width], 4 * w, a->proj->value + r * 4 * w);
    std::copy_n(&in[r * in_width + 4 * w], kv, a->kv->value + r * kv);
  }
  std::copy(gates.begin(), gates.end(), a->gates->value);
  const int64_t n_seqs = options.source == nullptr ? n_seqs_ : rows * n_seqs_ / rows_;
  if (!reads) rows_ = rows;
  a->reset = reset.empty() ? std::vector<uint8_t>(rows) : reset;
  a->start = start.empty() ? Floats(n_seqs * floats) : start;
  a->end.assign(n_seqs * floats, 9.0f);  // whatever was there
  TrainBatch batch;
  batch.n_seqs = static_cast<int>(n_seqs);
  batch.seq_len = static_cast<int>(rows / n_seqs);
  batch.reset = a->reset.data();
  batch.start = a->start.data(), batch.end = a->end.data();
  batch.state_stride = floats;
  const TitansParams params = {shape_,       gate_bias.param, w1.param,       w2.param,
                               slot_k.param, slot_v.param,    head_norm.param};
  const TitansOutput out =
      TitansMixer(&tape_, batch, params, options, a->proj, a->kv, a->gates, [&](Var* means) {
        const LinearInput input = NormQuantize(&tape_, means, block_norm.param, false);
        return Linear(&tape_, input, &linear_, {kv})[0];
      });
  memory = out.memory;
  a->y = out.y;
  y = Floats(out.y->value, out.y->value + out.y->size());
  end = a->end;
  applications_.push_back(std::move(a));
  return memory.get();
}

void TitansOpRun::Backward(const Floats& dy) {
  bool accumulate = false;
  // Applications before the last one have no loss of their own.
  for (const auto& a : applications_) {
    float* grad = tape_.GradTarget(a->y, &accumulate);
    std::fill_n(grad, a->y->size(), 0.0f);
  }
  std::copy(dy.begin(), dy.end(), applications_.back()->y->grad);
  tape_.Backward();
}

Floats TitansOpRun::InGrad(int i) const {
  const Application& a = *applications_[static_cast<size_t>(i)];
  Floats out;
  for (int64_t r = 0; r < a.proj->rows; ++r) {
    const float *proj = a.proj->grad + r * a.proj->cols, *kv = a.kv->grad + r * a.kv->cols;
    out.insert(out.end(), proj, proj + a.proj->cols);
    out.insert(out.end(), kv, kv + a.kv->cols);
  }
  return out;
}

Floats TitansOpRun::GatesGrad(int i) const {
  const Var* gates = applications_[static_cast<size_t>(i)]->gates;
  return Floats(gates->grad, gates->grad + gates->size());
}

}  // namespace chimera
