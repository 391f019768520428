// The op on the tape: against the naive twin's gradients, against a serving stream, over resets and
// carried states.
#include "layers/titans_op.h"

#include <algorithm>
#include <string>

#include "gtest/gtest.h"
#include "layers/titans_slab.h"
#include "layers/titans_testing.h"

namespace chimera {
namespace {

TitansShape Shape(int heads, int kv_heads, int slots, int window, bool decay = false) {
  return {.n_heads = heads,
          .kv_heads = kv_heads,
          .persistent_slots = slots,
          .window_len = window,
          .decay_linear = decay};
}

Floats Join(const Floats& a, const Floats& b) {
  Floats out = a;
  out.insert(out.end(), b.begin(), b.end());
  return out;
}

using Naive = NaiveTitansLayer<double>;

TEST(TitansLayerNaiveTest, GradientsMatchCentralDifferences) {
  for (const int mode : {0, 1, 2}) {
    Naive x;
    x.heads = 2, x.kv_heads = 1, x.d = 4, x.slots = 2, x.window = 5, x.chunk = 4, x.blocks = 2;
    x.frozen = mode == 1, x.decay_linear = mode == 2;
    const int n = 15, w = 8, kv = 4;
    uint32_t seed = 1;
    const auto noise = [&](int size, float scale, float offset) {
      return ToDoubles(Noise(size, scale, offset, seed++));
    };
    x.p = {noise(6, 1, 0),      noise(w * 4, 1, 0), noise(w * 4, 0.7f, 0),      noise(2 * kv, 1, 0),
           noise(2 * kv, 1, 0), noise(4, 1, 1),     noise(2 * kv * w, 0.7f, 0), noise(w, 0.5f, 1)};
    x.in = noise(n * (4 * w + 2 * kv), 1.5f, 0), x.gates = noise(n * 6, 1.5f, 0);
    if (mode == 0) {
      x.k_offset = noise(n * kv, 0.1f, 0), x.block_v_offset = noise(3 * kv, 0.1f, 0);
    }
    const Doubles dy = noise(n * w, 1, 0);
    x.Forward();  // leaves the guards frozen
    auto g = x.Backward(dy);
    const auto loss = [&] {
      x.Forward();
      return Inner(x.y, dy);
    };
    ExpectSlopes(x.in, g.in, "in", loss);
    ExpectSlopes(x.gates, g.gates, "gates", loss);
    ExpectSlopes(x.p.gate_bias, g.p.gate_bias, "gate_bias", loss);
    ExpectSlopes(x.p.w1, g.p.w1, "w1", loss);
    ExpectSlopes(x.p.w2, g.p.w2, "w2", loss);
    ExpectSlopes(x.p.slot_k, g.p.slot_k, "slot_k", loss);
    ExpectSlopes(x.p.slot_v, g.p.slot_v, "slot_v", loss);
    ExpectSlopes(x.p.head_norm, g.p.head_norm, "head_norm", loss);
    ExpectSlopes(x.p.w_kv, g.p.w_kv, "w_kv", loss);
    ExpectSlopes(x.p.block_norm, g.p.block_norm, "block_norm", loss);
  }
}

void ExpectNaiveGrads(const TitansOpRun& run, const Naive::Grads& want, double tol) {
  ExpectClose(run.InGrad(), want.in, tol, "d in");
  ExpectClose(run.GatesGrad(), want.gates, tol, "d gates");
  ExpectClose(run.gate_bias.grad, want.p.gate_bias, tol, "d gate_bias");
  ExpectClose(run.w1.grad, want.p.w1, tol, "d w1");
  ExpectClose(run.w2.grad, want.p.w2, tol, "d w2");
  ExpectClose(run.slot_k.grad, want.p.slot_k, tol, "d slot_k");
  ExpectClose(run.slot_v.grad, want.p.slot_v, tol, "d slot_v");
  ExpectClose(run.head_norm.grad, want.p.head_norm, tol, "d head_norm");
  ExpectClose(run.w_kv.grad, want.p.w_kv, tol, "d w_kv");
  ExpectClose(run.block_norm.grad, want.p.block_norm, tol, "d block_norm");
}

TEST(TitansOpTest, GradientsMatchTheNaiveTwin) {
  struct Case {
    TitansShape shape;
    TitansUse use;
    bool first_order;
  };
  for (const Case& c : {Case{Shape(2, 1, 5, 32), TitansUse::kWrite, false},
                        Case{Shape(2, 2, 64, 16), TitansUse::kWrite, true},
                        Case{Shape(3, 1, 9, 64), TitansUse::kFrozen, false},
                        Case{Shape(4, 2, 7, 16, true), TitansUse::kWrite, false}}) {
    const TitansFixture fixture(c.shape, 11);
    const int n = 83;
    const Floats in = fixture.In(n, 100), gates = fixture.Gates(n, 101);
    const Floats dy = Noise(n * c.shape.width(), 1, 0, 102);
    TitansStream stream(fixture, c.use);
    stream.Run(in, gates);
    Naive naive = fixture.Naive(in, gates);
    naive.first_order = c.first_order, naive.frozen = c.use == TitansUse::kFrozen;
    if (c.shape.decay_linear) {
      naive.Forward();
    } else {
      AdoptRounding(stream, &naive);
    }
    TitansOpRun run(fixture, 1);
    run.Forward(in, gates, {}, {}, {.use = c.use, .first_order = c.first_order});
    run.Backward(dy);
    ExpectClose(run.y, naive.y, 1e-5, "y");
    ExpectNaiveGrads(run, naive.Backward(ToDoubles(dy)), 2e-5);
  }
}

// The state a stream has, against the one training leaves. Codes of block tokens may differ by one:
// their means are summed in another order.
void ExpectSameState(const TitansShape& s, Floats got, Floats want, bool exact_tokens) {
  const int64_t memory = TitansMemoryFloats(s);
  const auto header = ReadHeader<TitansMemoryHeader>(got.data());
  const auto want_header = ReadHeader<TitansMemoryHeader>(want.data());
  EXPECT_EQ(header.position, want_header.position);
  EXPECT_EQ(header.pending, want_header.pending);
  EXPECT_EQ(header.started, 1);
  // Tokens of the pending write; after it, what lies beyond them is of no interest.
  for (int h = 0; h < s.n_heads; ++h) {
    for (float* slab : {got.data(), want.data()}) {
      float* tokens = slab + TitansTokensAt(s, h);
      for (int i = header.pending; i < kTitansChunk; ++i) {
        std::fill_n(tokens + i * kHeadDim, kHeadDim, 0.0f);
        std::fill_n(tokens + (kTitansChunk + i) * kHeadDim, kHeadDim, 0.0f);
        for (int g = 0; g < 3; ++g) tokens[kTitansTheta + g * kTitansChunk + i] = 0;
      }
    }
  }
  const auto part = [](const Floats& x, int64_t from, int64_t to) {
    return Floats(x.begin() + from, x.begin() + to);
  };
  ExpectClose(part(got, kTitansHeader, memory), ToDoubles(part(want, kTitansHeader, memory)), 2e-5,
              "memory");
  if (s.decay_linear) {
    const auto size = static_cast<int64_t>(got.size());
    ExpectClose(part(got, memory + kTitansHeader, size),
                ToDoubles(part(want, memory + kTitansHeader, size)), 2e-5, "matrices");
    return;
  }
  const float *ring = got.data() + memory, *want_ring = want.data() + memory;
  const auto block = ReadHeader<TitansRingHeader>(ring),
             want_block = ReadHeader<TitansRingHeader>(want_ring);
  EXPECT_EQ(block.block_count, want_block.block_count);
  EXPECT_EQ(block.block, want_block.block);
  ExpectClose(Floats(ring + kTitansHeader, ring + kTitansHeader + s.width()),
              ToDoubles(Floats(want_ring + kTitansHeader, want_ring + kTitansHeader + s.width())),
              2e-5, "sum of r");
  const auto compare = [&](const TitansBank& a, const TitansBank& b, int slack) {
    for (int at = 0; at < a.size(); ++at) {
      ASSERT_EQ(a.number(at), b.number(at));
      for (int h = 0; h < s.kv_heads && a.number(at) != 0; ++h) {
        EXPECT_NEAR(a.k_scale(h)[at], b.k_scale(h)[at], slack * 1e-6);
        EXPECT_NEAR(a.v_scale(h)[at], b.v_scale(h)[at], slack * 1e-6);
        for (int d = 0; d < kHeadDim; ++d) {
          ASSERT_NEAR(a.k_tile(h, at / 16)[d * 16 + at % 16],
                      b.k_tile(h, at / 16)[d * 16 + at % 16], slack);
          ASSERT_NEAR(a.v_row(h, at)[d], b.v_row(h, at)[d], slack);
        }
      }
    }
  };
  compare(TitansTokenBank(s, ring), TitansTokenBank(s, want_ring), exact_tokens ? 0 : 1);
  compare(TitansBlockBank(s, ring), TitansBlockBank(s, want_ring), 1);
}

TEST(TitansOpTest, ForwardAndStateEqualServingOverSequencesAndResets) {
  for (const bool decay : {false, true}) {
    const TitansShape shape = Shape(2, 1, 12, 32, decay);
    const TitansFixture fixture(shape, 12);
    const int n = 100, n_seqs = 3;
    const Floats in = fixture.In(n * n_seqs, 110), gates = fixture.Gates(n * n_seqs, 111);
    std::vector<uint8_t> reset(n * n_seqs);
    for (const int row : {37, 100, 148, 149, 199, 216}) reset[row] = 1;
    TitansOpRun run(fixture, n_seqs);
    run.Forward(in, gates, reset, {});
    const int64_t floats = TitansStateFloats(shape);
    for (int seq = 0; seq < n_seqs; ++seq) {
      TitansStream stream(fixture);
      Floats y;
      for (int t = seq * n; t < (seq + 1) * n; ++t) {
        if (reset[t] != 0) {
          stream = TitansStream(fixture);
        }
        y = Join(y, stream.Step(&in[t * shape.in_width()], &gates[t * 3 * shape.n_heads]));
      }
      const int64_t at = int64_t{seq} * n * shape.width();
      ExpectClose(Floats(&run.y[at], &run.y[at] + n * shape.width()), ToDoubles(y), 1e-5, "y");
      ExpectSameState(shape, Floats(&run.end[seq * floats], &run.end[seq * floats] + floats),
                      stream.state(), true);
    }
  }
}

TEST(TitansOpTest, CarriedStatesJoinTheStepsOfOneDocument) {
  for (const bool decay : {false, true}) {
    const TitansShape shape = Shape(2, 2, 8, 48, decay);
    const TitansFixture fixture(shape, 13);
    const int n = 140;
    const Floats in = fixture.In(n, 120), gates = fixture.Gates(n, 121);
    TitansOpRun whole(fixture, 1);
    whole.Forward(in, gates, {}, {});
    for (const std::vector<int>& cuts : {std::vector<int>{5, 9, 16, 48}, {32, 37, 96}, {80, 139}}) {
      Floats state, y;
      int from = 0;
      for (size_t i = 0; i <= cuts.size(); ++i) {
        const int to = i < cuts.size() ? cuts[i] : n;
        TitansOpRun part(fixture, 1);
        part.Forward(Floats(&in[from * shape.in_width()], &in[0] + to * shape.in_width()),
                     Floats(&gates[from * 3 * 2], &gates[0] + to * 3 * 2), {}, state);
        state = part.end;
        y = Join(y, part.y);
        from = to;
      }
      ExpectClose(y, ToDoubles(whole.y), 2e-5, "y cut at " + std::to_string(cuts[0]));
      ExpectSameState(shape, state, whole.end, true);
    }
  }
}

// A ring of the largest size and all block tokens, filled more than once.
TEST(TitansOpTest, LongDocumentsEqualServingWithTheLargestWindow) {
  const TitansShape shape = Shape(1, 1, 64, kTitansWindowMax);
  const TitansFixture fixture(shape, 18);
  const int n = 2300;
  const Floats in = fixture.In(n, 170), gates = fixture.Gates(n, 171);
  TitansStream stream(fixture);
  const Floats y = stream.Run(in, gates);
  TitansOpRun run(fixture, 1);
  run.Forward(in, gates, {}, {});
  ExpectClose(run.y, ToDoubles(y), 2e-5, "y");
  ExpectSameState(shape, run.end, stream.state(), true);
}

// What is carried is a constant: gradients are those of the second part alone, and they reach the
// projection of a block that began before it.
TEST(TitansOpTest, GradientsStopAtTheStartOfTheStep) {
  const TitansShape shape = Shape(2, 1, 6, 32);
  const TitansFixture fixture(shape, 14);
  const int n = 120, cut = 56;
  const Floats in = fixture.In(n, 130), gates = fixture.Gates(n, 131);
  const Floats dy = Noise((n - cut) * shape.width(), 1, 0, 132);
  TitansOpRun first(fixture, 1), second(fixture, 1);
  const auto head = [&](const Floats& x, int width) {
    return Floats(x.begin(), x.begin() + cut * width);
  };
  const auto tail = [&](const Floats& x, int width) {
    return Floats(x.begin() + cut * width, x.end());
  };
  first.Forward(head(in, shape.in_width()), head(gates, 6), {}, {});
  second.Forward(tail(in, shape.in_width()), tail(gates, 6), {}, first.end);
  second.Backward(dy);
  ExpectClose(second.w1.grad, Doubles(second.w1.grad.size()), 0,
              "the first weights are not reached");
  // A loss on the second part of the whole document has the same gradients where the carried parts
  // do not take part: queries.
  TitansOpRun whole(fixture, 1);
  whole.Forward(in, gates, {}, {});
  whole.Backward(Join(Floats(cut * shape.width()), dy));
  const Floats got = second.InGrad(), all = tail(whole.InGrad(), shape.in_width());
  Doubles q, want_q;
  for (int t = 0; t < n - cut; ++t) {
    for (int i = 0; i < shape.width(); ++i) {
      q.push_back(got[t * shape.in_width() + i]);
      want_q.push_back(all[t * shape.in_width() + i]);
    }
  }
  ExpectClose(q, want_q, 2e-5, "dq");
  EXPECT_NE(second.w_kv.grad, Floats(second.w_kv.grad.size()));
}

TEST(TitansOpTest, DocumentsOfOneSequenceAddTheirGradients) {
  for (const bool decay : {false, true}) {
    const TitansShape shape = Shape(2, 1, 6, 16, decay);
    const TitansFixture fixture(shape, 15);
    const int a = 53, n = 104;
    const Floats in = fixture.In(n, 140), gates = fixture.Gates(n, 141);
    const Floats dy = Noise(n * shape.width(), 1, 0, 142);
    std::vector<uint8_t> reset(n);
    reset[a] = 1;
    TitansOpRun both(fixture, 1), first(fixture, 1), second(fixture, 1);
    both.Forward(in, gates, reset, {});
    both.Backward(dy);
    const auto part = [&](const Floats& x, int width, int from, int to) {
      return Floats(x.begin() + from * width, x.begin() + to * width);
    };
    first.Forward(part(in, shape.in_width(), 0, a), part(gates, 6, 0, a), {}, {});
    first.Backward(part(dy, shape.width(), 0, a));
    second.Forward(part(in, shape.in_width(), a, n), part(gates, 6, a, n), {}, {});
    second.Backward(part(dy, shape.width(), a, n));
    ExpectClose(both.y, ToDoubles(Join(first.y, second.y)), 1e-6, "y");
    ExpectClose(both.InGrad(), ToDoubles(Join(first.InGrad(), second.InGrad())), 1e-5, "d in");
    const auto sum = [](const OwnedParam& x, const OwnedParam& y) {
      Doubles out = ToDoubles(x.grad);
      for (size_t i = 0; i < out.size(); ++i) out[i] += y.grad[i];
      return out;
    };
    ExpectClose(both.w1.grad, sum(first.w1, second.w1), 2e-5, "w1");
    ExpectClose(both.slot_k.grad, sum(first.slot_k, second.slot_k), 2e-5, "slot_k");
    ExpectClose(both.slot_v.grad, sum(first.slot_v, second.slot_v), 2e-5, "slot_v");
    ExpectClose(both.w_kv.grad, sum(first.w_kv, second.w_kv), 2e-5, "w_kv");
    ExpectClose(both.gate_bias.grad, sum(first.gate_bias, second.gate_bias), 2e-5, "gate_bias");
  }
}

TEST(TitansOpTest, IsCausalToTheBit) {
  for (const bool decay : {false, true}) {
    const TitansShape shape = Shape(2, 1, 4, 32, decay);
    const TitansFixture fixture(shape, 16);
    const int n = 300;
    Floats in = fixture.In(n, 150), gates = fixture.Gates(n, 151);
    TitansOpRun run(fixture, 1);
    run.Forward(in, gates, {}, {});
    const Floats before = run.y;
    for (const int t : {270, 150, 64, 31}) {
      for (int i = t * shape.in_width(); i < (t + 1) * shape.in_width(); ++i) in[i] = 0.25f;
      for (int i = t * 6; i < (t + 1) * 6; ++i) gates[i] = 1.0f;
      TitansOpRun other(fixture, 1);
      other.Forward(in, gates, {}, {});
      const Floats after = other.y;
      const int from = t * shape.width(), last = (n - 1) * shape.width();
      EXPECT_TRUE(std::equal(before.begin(), before.begin() + from, after.begin())) << t;
      EXPECT_NE(before[from], after[from]) << t;
      EXPECT_NE(before[last], after[last]) << t;
    }
  }
}

TEST(TitansOpTest, ThreadsDoNotChangeABit) {
  for (const bool decay : {false, true}) {
    const TitansShape shape = Shape(4, 2, 10, 32, decay);
    const TitansFixture fixture(shape, 17);
    const int n = 70, n_seqs = 3;
    const Floats in = fixture.In(n * n_seqs, 160), gates = fixture.Gates(n * n_seqs, 161);
    const Floats dy = Noise(n * n_seqs * shape.width(), 1, 0, 162);
    TitansOpRun one(fixture, n_seqs, 1), many(fixture, n_seqs, 4);
    for (TitansOpRun* run : {&one, &many}) {
      run->Forward(in, gates, {}, {});
      run->Backward(dy);
    }
    ExpectSame(many.y, one.y, "y");
    ExpectSame(many.InGrad(), one.InGrad(), "d in");
    ExpectSame(many.GatesGrad(), one.GatesGrad(), "d gates");
    ExpectSame(many.w1.grad, one.w1.grad, "w1");
    ExpectSame(many.w2.grad, one.w2.grad, "w2");
    ExpectSame(many.slot_k.grad, one.slot_k.grad, "slot_k");
    ExpectSame(many.head_norm.grad, one.head_norm.grad, "head_norm");
    ExpectSame(many.gate_bias.grad, one.gate_bias.grad, "gate_bias");
  }
}

}  // namespace
}  // namespace chimera
