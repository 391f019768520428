// The tape ops: gradients of the feed-forward block against the oracle, and what quantization does.
#include <gtest/gtest.h>

#include <cmath>

#include "layers/embedding_op.h"
#include "layers/kernel_testing.h"
#include "layers/linear_op.h"
#include "layers/mixer_ops.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

// A parameter with its own buffers.
struct Owned {
  Owned(Floats v, int rows, int cols) : value(std::move(v)), grad(value.size()) {
    param = {value.data(), grad.data(), rows, cols};
  }
  Floats value, grad;
  FloatParam param;
};

Var* Input(Tape* tape, const Floats& x, int64_t rows) {
  Var* var = tape->New(rows, static_cast<int64_t>(x.size()) / rows);
  std::copy(x.begin(), x.end(), var->value);
  return var;
}

Floats Values(const float* p, int64_t n) { return Floats(p, p + n); }

TEST(Ops, SwigluFfnGolden) {
  auto golden = [](const char* group, const char* name) {
    return Golden("blocks", "swiglu_ffn", group, name);
  };
  Floats in = ToFloats(golden("in", "w_gate"));
  const Floats up = ToFloats(golden("in", "w_up"));
  in.insert(in.end(), up.begin(), up.end());
  Owned w_in(in, 24, 8), w_out(ToFloats(golden("in", "w_down")), 8, 12);
  Owned gamma(ToFloats(golden("in", "gamma")), 1, 12);
  LinearParam first{.param = w_in.param, .quantized = false};
  LinearParam second{.param = w_out.param, .quantized = false};

  ExecContext exec(2);
  Tape tape(&exec);
  Var* x = Input(&tape, ToFloats(golden("in", "x")), 4);
  LinearInput input;
  input.normed = x;
  const auto gate_up = Linear(&tape, input, &first, {12, 12});
  const LinearInput hidden =
      NormQuantize(&tape, SwigluProduct(&tape, gate_up[0], gate_up[1]), gamma.param, false);
  Var* y = Linear(&tape, hidden, &second, {8})[0];
  ExpectClose(Values(y->value, y->size()), golden("out", "y"), 1e-5, "y");

  const Floats dy = ToFloats(golden("in", "dy"));
  bool accumulate = true;
  std::copy(dy.begin(), dy.end(), tape.GradTarget(y, &accumulate));
  tape.Backward();
  Doubles want = golden("grad", "w_gate");
  const Doubles want_up = golden("grad", "w_up");
  want.insert(want.end(), want_up.begin(), want_up.end());
  ExpectClose(w_in.grad, want, 1e-5, "gate and up");
  ExpectClose(w_out.grad, golden("grad", "w_down"), 1e-5, "down");
  ExpectClose(gamma.grad, golden("grad", "gamma"), 1e-5, "gamma");
  ExpectClose(Values(x->grad, x->size()), golden("grad", "x"), 1e-5, "x");
}

// A quantised linear map is the float map of the dequantised weights and activations, and its
// gradients pass straight through both quantizers (8.2).
TEST(Ops, QuantisedLinearIsTheDequantisedProduct) {
  const int rows = 48, cols = 128, tokens = 20;
  Owned w(Noise(rows * cols, 1.0f, 0.0f, 1), rows, cols);
  Owned gamma(Floats(cols, 1.0f), 1, cols);
  LinearParam linear{.param = w.param};
  ExecContext exec(1);
  PrepareLinear(&exec, &linear);
  Tape tape(&exec);
  Var* x = Input(&tape, Noise(tokens * cols, 1.0f, 0.0f, 2), tokens);
  const LinearInput input = NormQuantize(&tape, x, gamma.param, true);
  Var* y = Linear(&tape, input, &linear, {rows})[0];

  Floats acts(size_t(tokens * cols)), weights(size_t(rows * cols));
  DequantizeActivations(input.q, input.s, tokens, cols, acts.data());
  DequantizeWeights({linear.codes.data(), linear.scales.data(), rows, cols}, 0, RowTiles(rows),
                    weights.data());
  Floats dy = Noise(tokens * rows, 1.0f, 0.0f, 3);
  Doubles want(size_t(tokens * rows)), want_dx(size_t(tokens * cols)), want_dw(size_t(rows * cols));
  for (int t = 0; t < tokens; ++t) {
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < cols; ++c) {
        const double a = acts[size_t(t * cols + c)], m = weights[size_t(r * cols + c)];
        const double d = dy[size_t(t * rows + r)];
        want[size_t(t * rows + r)] += a * m;
        want_dx[size_t(t * cols + c)] += d * m;
        want_dw[size_t(r * cols + c)] += d * a;
      }
    }
  }
  ExpectClose(Values(y->value, y->size()), want, 1e-5, "y");
  EXPECT_NE(Values(input.normed->value, tokens * cols), acts) << "quantization must act";

  bool accumulate = false;
  std::copy(dy.begin(), dy.end(), tape.GradTarget(y, &accumulate));
  Floats dx;  // as Linear leaves it, before the norm takes it over: the closures run last first
  tape.OnBackward([] {});
  tape.Backward();
  ExpectClose(w.grad, want_dw, 5e-2, "dW, bf16 products");
}

TEST(Ops, EmbeddingRowsCollectTheirTokensInOrder) {
  const int vocab = 20, d = 64;
  Owned table(Noise(vocab * d, 1.0f, 0.0f, 4), vocab, d);
  EmbeddingParam embedding{.param = table.param, .quantized = false};
  ExecContext exec(2);
  Tape tape(&exec);
  const std::vector<int32_t> tokens = {3, 7, 3};
  Var* x = Embed(&tape, &embedding, tokens.data(), 3);
  EXPECT_EQ(Values(x->value, d), Values(table.value.data() + 3 * d, d));
  const Floats dx = Noise(3 * d, 1.0f, 0.0f, 5);
  bool accumulate = false;
  std::copy(dx.begin(), dx.end(), tape.GradTarget(x, &accumulate));
  tape.Backward();
  for (int i = 0; i < d; ++i) {
    EXPECT_EQ(table.grad[size_t(3 * d + i)], dx[size_t(i)] + dx[size_t(2 * d + i)]);
    EXPECT_EQ(table.grad[size_t(7 * d + i)], dx[size_t(d + i)]);
    EXPECT_EQ(table.grad[size_t(i)], 0.0f);
  }
}

}  // namespace
}  // namespace chimera
