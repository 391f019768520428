#include "layers/titans_needle.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/philox.h"
#include "layers/linear_op.h"
#include "layers/titans_op.h"
#include "tensor/kernels.h"
#include "tensor/tape.h"

namespace chimera {
namespace {

constexpr int kFactSpace = 16;
constexpr int kQuerySpace = 8;
constexpr int kQueries = 3;  // of each fact
constexpr int kNear = 128;   // distance a run begins with
constexpr int kStepTokens = 2048;
constexpr float kRate = 2e-3f;
constexpr uint32_t kHeldOut = 1u << 30;  // first document of the evaluation

// Numbers of one document or of the first weights, one after another.
class Draws {
 public:
  Draws(uint32_t seed, RngPurpose purpose, uint32_t stream) : words_(seed, purpose, stream) {}
  uint32_t Next(uint32_t n) { return words_.Word(next_++) % n; }
  float Uniform(float scale) { return scale * (2.0f * words_.Uniform(next_++) - 1.0f); }

 private:
  PhiloxStream words_;
  uint64_t next_ = 0;
};

struct Param {
  std::vector<float> value, grad, m, v;
  FloatParam param;
};

}  // namespace

struct NeedleModel::Net {
  Net(const NeedleOptions& o, int threads) : options(o), exec(threads), tape(&exec) {
    shape = {
        .n_heads = o.n_heads, .kv_heads = 1, .persistent_slots = 8, .window_len = o.window_len};
    const int w = shape.width(), vocab = o.n_keys + o.n_values + o.n_fillers;
    Draws draws(o.seed, RngPurpose::kWeightInit, 0);
    const float unit = 1.7f / std::sqrt(static_cast<float>(w));
    const auto make = [&](int rows, int cols, float scale, float offset = 0.0f) {
      auto p = std::make_unique<Param>();
      for (int i = 0; i < rows * cols; ++i) p->value.push_back(offset + draws.Uniform(scale));
      p->grad = p->m = p->v = std::vector<float>(p->value.size());
      p->param = {p->value.data(), p->grad.data(), rows, cols};
      params.push_back(std::move(p));
      return params.back().get();
    };
    now = make(vocab, w, 1), before = make(vocab, w, 1);
    norm = make(1, w, 0, 1);
    in.param = make(shape.in_width(), w, unit)->param;
    gates = make(3 * o.n_heads, w, 0.02f);
    bias = make(1, 3 * o.n_heads, 0);
    for (int h = 0; h < o.n_heads; ++h) {
      bias->value[h] = -2, bias->value[o.n_heads + h] = 1, bias->value[2 * o.n_heads + h] = -4;
    }
    w1 = make(w, kHeadDim, 0.87f), w2 = make(w, kHeadDim, 0.1f);
    slot_k = make(8, kHeadDim, 1), slot_v = make(8, kHeadDim, 1);
    head_norm = make(1, kHeadDim, 0, 1);
    block_norm = make(1, w, 0, 1), out_norm = make(1, w, 0, 1);
    out.param = make(o.n_values, w, unit)->param;
    in.quantized = out.quantized = false;
  }

  // x = now[token] + before[previous token].
  Var* Embed(const std::vector<int32_t>& tokens, int seq_len) {
    const int w = shape.width();
    const auto rows = static_cast<int64_t>(tokens.size());
    Var* x = tape.New(rows, w);
    const auto previous = [tokens, seq_len](int64_t r) {
      return r % seq_len == 0 ? tokens[size_t(r)] : tokens[size_t(r) - 1];
    };
    for (int64_t r = 0; r < rows; ++r) {
      for (int i = 0; i < w; ++i) {
        x->value[r * w + i] = now->value[size_t(tokens[size_t(r)] * w + i)] +
                              before->value[size_t(previous(r) * w + i)];
      }
    }
    tape.OnBackward([this, x, rows, w, tokens, previous] {
      for (int64_t r = 0; r < rows; ++r) {
        for (int i = 0; i < w; ++i) {
          now->grad[size_t(tokens[size_t(r)] * w + i)] += x->grad[r * w + i];
          before->grad[size_t(previous(r) * w + i)] += x->grad[r * w + i];
        }
      }
    });
    return x;
  }

  // Logits [rows][n_values] of fresh documents.
  Var* Forward(const std::vector<int32_t>& tokens, int n_seqs, TitansUse use) {
    const int kv = 2 * shape.kv_width();
    TrainBatch batch;
    batch.n_seqs = n_seqs;
    batch.seq_len = static_cast<int>(tokens.size()) / n_seqs;
    batch.state_stride = TitansStateFloats(shape);
    start.assign(size_t(n_seqs) * size_t(batch.state_stride), 0.0f);
    end.resize(start.size());
    batch.memory_start = start.data(), batch.memory_end = end.data();
    batch.start = start.data() + TitansMemoryFloats(shape);
    batch.end = end.data() + TitansMemoryFloats(shape);
    reset.assign(tokens.size(), 0);
    batch.reset = reset.data();
    const LinearInput x = NormQuantize(&tape, Embed(tokens, batch.seq_len), norm->param, false);
    const auto projected = Linear(&tape, x, &in, {4 * shape.width(), kv});
    Var* gate = FloatLinear(&tape, x, gates->param, {3 * shape.n_heads})[0];
    const TitansParams titans = {shape,         bias->param,   w1->param,       w2->param,
                                 slot_k->param, slot_v->param, head_norm->param};
    const TitansOutput y = TitansMixer(
        &tape, batch, titans, {.use = use}, projected[0], projected[1], gate, [&](Var* means) {
          if (!options.block_tokens) {
            Var* zero = tape.New(means->rows, kv);
            std::fill_n(zero->value, zero->size(), 0.0f);
            return zero;
          }
          const LinearInput m = NormQuantize(&tape, means, block_norm->param, false);
          return Linear(&tape, m, &in, {4 * shape.width(), kv})[1];
        });
    const LinearInput last = NormQuantize(&tape, y.y, out_norm->param, false);
    return Linear(&tape, last, &out, {options.n_values})[0];
  }

  void Update(float lr) {
    ++steps;
    const float t = static_cast<float>(steps);
    const AdamWStep step = {.lr = lr * std::min(1.0f, t / 20),
                            .beta1 = 0.9f,
                            .beta2 = 0.98f,
                            .eps = 1e-8f,
                            .weight_decay = 0,
                            .correction1 = 1 / (1 - std::pow(0.9f, t)),
                            .correction2 = 1 / (1 - std::pow(0.98f, t)),
                            .grad_scale = Clip()};
    for (const auto& p : params) {
      Kernels().adamw(step, static_cast<int64_t>(p->value.size()), p->value.data(), p->grad.data(),
                      p->m.data(), p->v.data());
      std::fill(p->grad.begin(), p->grad.end(), 0.0f);
    }
  }
  float Clip() const {
    double squares = 0;
    for (const auto& p : params) {
      squares += Kernels().sum_squares(p->grad.data(), static_cast<int64_t>(p->grad.size()));
    }
    return static_cast<float>(std::min(1.0, 1.0 / std::sqrt(squares + 1e-12)));
  }

  NeedleOptions options;
  TitansShape shape;
  ExecContext exec;
  Tape tape;
  std::vector<std::unique_ptr<Param>> params;
  Param *now, *before, *norm, *gates, *bias, *w1, *w2, *slot_k, *slot_v, *head_norm, *block_norm;
  Param* out_norm;
  LinearParam in, out;
  std::vector<float> start, end;
  std::vector<uint8_t> reset;
  int64_t steps = 0;
  uint32_t documents = 0;
};

NeedleModel::NeedleModel(const NeedleOptions& options, int threads)
    : net_(std::make_unique<Net>(options, threads)) {}
NeedleModel::~NeedleModel() = default;

NeedleText NeedleModel::Text(uint32_t index, int distance) const {
  const NeedleOptions& o = net_->options;
  Draws draws(o.seed, RngPurpose::kDataShuffle, index);
  NeedleText text;
  const int facts = o.n_facts * kFactSpace, asked = o.n_facts * kQueries;
  const int total = facts + distance + asked * kQuerySpace;
  for (int t = 0; t < total; ++t) {
    text.tokens.push_back(o.n_keys + o.n_values +
                          static_cast<int32_t>(draws.Next(static_cast<uint32_t>(o.n_fillers))));
  }
  text.answers.assign(text.tokens.size(), -1);
  std::vector<int> keys(static_cast<size_t>(o.n_keys)), order(static_cast<size_t>(asked));
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<int>(i);
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  const auto shuffle = [&](std::vector<int>* x) {
    for (size_t i = x->size(); i > 1; --i) std::swap((*x)[i - 1], (*x)[draws.Next(uint32_t(i))]);
  };
  shuffle(&keys), shuffle(&order);
  for (int f = 0; f < o.n_facts; ++f) {
    const auto value = static_cast<int32_t>(draws.Next(static_cast<uint32_t>(o.n_values)));
    const auto at = static_cast<size_t>(f * kFactSpace) + draws.Next(kFactSpace - 1);
    text.tokens[at] = keys[size_t(f)];
    text.tokens[at + 1] = o.n_keys + value;
    for (int i = 0; i < kQueries; ++i) {
      const int place = order[size_t(f * kQueries + i)];
      const auto ask =
          static_cast<size_t>(facts + distance + place * kQuerySpace) + draws.Next(kQuerySpace);
      text.tokens[ask] = keys[size_t(f)];
      text.answers[ask] = value;
    }
  }
  return text;
}

double NeedleModel::Train(int step, int steps, int far) {
  Net& n = *net_;
  const int distance = 2 * step <= steps ? std::min(kNear, far) : far;
  const int batch = std::max(2, kStepTokens / (distance + 160));
  const float left = 2.0f * static_cast<float>(steps - step) / static_cast<float>(steps);
  std::vector<int32_t> tokens, answers;
  for (int i = 0; i < batch; ++i) {
    const NeedleText text = Text(n.documents++, distance);
    tokens.insert(tokens.end(), text.tokens.begin(), text.tokens.end());
    answers.insert(answers.end(), text.answers.begin(), text.answers.end());
  }
  n.tape.Reset();
  Var* logits = n.Forward(tokens, batch, n.options.use);
  bool accumulate = false;
  float* grad = n.tape.GradTarget(logits, &accumulate);
  std::fill_n(grad, logits->size(), 0.0f);
  const int64_t values = n.options.n_values;
  const float part = 1.0f / static_cast<float>(batch * n.options.n_facts * kQueries);
  double loss = 0;
  for (size_t r = 0; r < answers.size(); ++r) {
    if (answers[r] < 0) continue;
    const float* row = logits->value + static_cast<int64_t>(r) * values;
    const float lse = Kernels().log_sum_exp(row, values);
    loss += static_cast<double>((lse - row[answers[r]]) * part);
    Kernels().softmax_grad(row, values, lse, answers[r], part,
                           grad + static_cast<int64_t>(r) * values);
  }
  n.tape.Backward();
  n.Update(kRate * std::min(1.0f, left + 0.02f));
  return loss;
}

double NeedleModel::Recall(int documents, int distance, TitansUse use) {
  Net& n = *net_;
  int right = 0;
  n.tape.set_recording(false);
  for (int i = 0; i < documents; ++i) {
    const NeedleText text = Text(kHeldOut + static_cast<uint32_t>(i), distance);
    n.tape.Reset();
    const Var* logits = n.Forward(text.tokens, 1, use);
    for (size_t r = 0; r < text.answers.size(); ++r) {
      if (text.answers[r] < 0) continue;
      const float* row = logits->value + static_cast<int64_t>(r) * n.options.n_values;
      right += std::max_element(row, row + n.options.n_values) - row == text.answers[r];
    }
  }
  n.tape.set_recording(true);
  return right / static_cast<double>(documents * n.options.n_facts * kQueries);
}

}  // namespace chimera
