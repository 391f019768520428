#include "train/depth_router_trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/philox.h"
#include "layers/swiglu.h"
#include "tensor/kernels.h"
#include "tensor/matmul.h"
#include "train/adamw.h"
#include "train/optimizer.h"

namespace chimera {
namespace {

constexpr int kHidden = kDepthRouterHidden, kDepths = kDepthRouterDepths;
constexpr int64_t kRunRows = 64;      // rows held out or trained on together
constexpr int64_t kHeldOutEvery = 5;  // every fifth run
constexpr int64_t kRowsMin = 10;
// Apart from the streams of the model's tensors and of its data.
constexpr uint32_t kRngStream = 0x44520000;

absl::Status CheckInput(std::span<const float> features, int d_model,
                        std::span<const uint8_t> labels, const DepthRouterOptions& options) {
  if (d_model <= 0 || d_model % kActBlock != 0 || d_model > kTernaryMaxCols) {
    return absl::InvalidArgumentError(absl::StrCat("d_model ", d_model, " is not a multiple of ",
                                                   kActBlock, " up to ", kTernaryMaxCols));
  }
  if (features.size() != labels.size() * static_cast<size_t>(d_model)) {
    return absl::InvalidArgumentError(absl::StrCat("features hold ", features.size(), " numbers, ",
                                                   labels.size(), " labels need ",
                                                   labels.size() * static_cast<size_t>(d_model)));
  }
  if (labels.size() < static_cast<size_t>(kRowsMin)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rows ", labels.size(), " below the minimum of ", kRowsMin));
  }
  if (options.epochs < 1 || options.batch_rows < 1) {
    return absl::InvalidArgumentError(absl::StrCat("epochs ", options.epochs, " and batch_rows ",
                                                   options.batch_rows, " must be at least 1"));
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 1 || labels[i] > kDepths) {
      return absl::InvalidArgumentError(absl::StrCat("label ", static_cast<int>(labels[i]),
                                                     " of row ", i, " is outside 1..", kDepths));
    }
  }
  for (size_t i = 0; i < features.size(); ++i) {
    if (!std::isfinite(features[i])) {
      return absl::InvalidArgumentError(absl::StrCat("feature ", i % static_cast<size_t>(d_model),
                                                     " of row ", i / static_cast<size_t>(d_model),
                                                     " is not finite"));
    }
  }
  return absl::OkStatus();
}

// A weight or bias with what AdamW keeps for it.
struct Tensor {
  std::vector<float>* value;
  bool decays;
  std::vector<float> grad, m, v;
};

class Fit {
 public:
  Fit(std::span<const float> features, std::span<const uint8_t> labels, uint64_t seed,
      const DepthRouterOptions& options, ExecContext* exec, DepthRouterReport* report)
      : x_(features),
        labels_(labels),
        seed_(seed),
        options_(options),
        exec_(exec),
        report_(report),
        d_(report->params.d_model) {
    Split();
    Initialize();
  }

  void Train() {
    const int64_t rows = static_cast<int64_t>(train_.size());
    batch_ = std::min<int64_t>(options_.batch_rows, rows);
    const int64_t per_epoch = rows / batch_;
    LearningRateSchedule schedule;
    schedule.lr = options_.lr;
    schedule.steps_total = per_epoch * options_.epochs;
    schedule.warmup_steps = schedule.steps_total / 20;
    for (auto* buffer : {&pre_, &hidden_, &d_hidden_, &unused_}) {
      buffer->resize(static_cast<size_t>(batch_ * kHidden));
    }
    ones_.assign(hidden_.size(), 1.0f);
    rows_.resize(static_cast<size_t>(batch_ * d_));
    logits_.resize(static_cast<size_t>(batch_ * kDepths));
    int64_t t = 0;
    for (int epoch = 0; epoch < options_.epochs; ++epoch) {
      Shuffle(epoch);
      double loss = 0;
      for (int64_t i = 0; i < per_epoch; ++i) {
        loss += Step(train_.data() + i * batch_);
        Update(schedule, ++t);
      }
      report_->train_loss = loss / static_cast<double>(per_epoch);
    }
  }

  void Measure() const {
    const DepthRouter router(report_->params);
    DepthRouterScratch scratch(d_, 1);
    int64_t float_hits = 0;
    for (const int64_t row : held_out_) {
      float logits[kDepths];
      const float* e = x_.data() + row * d_;
      const int oracle = labels_[static_cast<size_t>(row)];
      router.Logits(e, 1, &scratch, logits);
      ++report_->confusion[static_cast<size_t>(oracle - 1)]
                          [static_cast<size_t>(LikeliestDepth(logits) - 1)];
      DepthRouterLogits(report_->params, e, 1, &scratch, logits);
      float_hits += LikeliestDepth(logits) == oracle;
    }
    report_->train_rows = static_cast<int64_t>(train_.size());
    report_->held_out_rows = static_cast<int64_t>(held_out_.size());
    report_->float_accuracy =
        static_cast<double>(float_hits) / static_cast<double>(held_out_.size());
    Summarize(&report_->accuracy, &report_->majority, [](int depth) { return depth; });
    Summarize(&report_->collapsed_accuracy, &report_->collapsed_majority, CollapseDepth);
  }

 private:
  // Runs of rows, every fifth held out; short inputs have shorter runs so that both sides exist.
  void Split() {
    const int64_t n = static_cast<int64_t>(labels_.size());
    const int64_t run = std::clamp<int64_t>(n / (2 * kHeldOutEvery), 1, kRunRows);
    for (int64_t row = 0; row < n; ++row) {
      (row / run % kHeldOutEvery == kHeldOutEvery - 1 ? held_out_ : train_).push_back(row);
    }
  }

  // Uniform with variance 1 / inputs for the first matrix; the second starts small, so that the
  // first answers are even.
  void Initialize() {
    DepthRouterParams& p = report_->params;
    const auto draw = [&](std::vector<float>* w, uint32_t stream, float range) {
      const PhiloxStream rng(seed_, RngPurpose::kWeightInit, kRngStream + stream);
      for (size_t i = 0; i < w->size(); ++i) (*w)[i] = range * (2.0f * rng.Uniform(i) - 1.0f);
    };
    draw(&p.hidden, 0, std::sqrt(3.0f / static_cast<float>(d_)));
    draw(&p.out, 1, std::sqrt(0.03f / kHidden));
    tensors_ = {{&p.hidden, true}, {&p.hidden_bias, false}, {&p.out, true}, {&p.out_bias, false}};
    for (Tensor& t : tensors_) {
      for (auto* buffer : {&t.grad, &t.m, &t.v}) buffer->resize(t.value->size());
    }
  }

  void Shuffle(int epoch) {
    const PhiloxStream rng(seed_, RngPurpose::kDataShuffle, kRngStream);
    const uint64_t first = static_cast<uint64_t>(epoch) << 32;
    for (size_t i = train_.size(); i > 1; --i) {
      const uint64_t pick = (uint64_t{rng.Word(first + i)} * i) >> 32;  // in [0, i)
      std::swap(train_[i - 1], train_[pick]);
    }
  }

  // y = x w^T + bias for a batch.
  void Linear(const std::vector<float>& x, const std::vector<float>& w,
              const std::vector<float>& bias, int64_t in, int64_t out, float* y) {
    for (int64_t i = 0; i < batch_; ++i) std::copy_n(bias.begin(), out, y + i * out);
    ParallelMatmul(exec_,
                   {.m = batch_,
                    .n = out,
                    .k = in,
                    .lda = in,
                    .ldb = in,
                    .ldc = out,
                    .trans_b = true,
                    .accumulate = true},
                   x.data(), w.data(), y);
  }

  // dw = dy^T x and the bias' sums.
  void LinearGrads(const std::vector<float>& dy, const std::vector<float>& x, int64_t in,
                   int64_t out, Tensor* w, Tensor* bias) {
    ParallelMatmul(
        exec_, {.m = out, .n = in, .k = batch_, .lda = out, .ldb = in, .ldc = in, .trans_a = true},
        dy.data(), x.data(), w->grad.data());
    std::fill(bias->grad.begin(), bias->grad.end(), 0.0f);
    for (int64_t i = 0; i < batch_; ++i) {
      Kernels().add(bias->grad.data(), dy.data() + i * out, out, bias->grad.data());
    }
  }

  // Leaves the gradients of the mean loss of these rows; returns it.
  double Step(const int64_t* rows) {
    DepthRouterParams& p = report_->params;
    for (int64_t i = 0; i < batch_; ++i) {
      std::copy_n(x_.data() + rows[i] * d_, d_, rows_.data() + i * d_);
    }
    const int64_t cells = batch_ * kHidden;
    Linear(rows_, p.hidden, p.hidden_bias, d_, kHidden, pre_.data());
    Swiglu().forward(pre_.data(), ones_.data(), cells, hidden_.data());  // SiLU times one
    Linear(hidden_, p.out, p.out_bias, kHidden, kDepths, logits_.data());
    double loss = 0;
    for (int64_t i = 0; i < batch_; ++i) {
      float* row = logits_.data() + i * kDepths;
      const int64_t target = labels_[static_cast<size_t>(rows[i])] - 1;
      const float lse = Kernels().log_sum_exp(row, kDepths);
      loss += static_cast<double>(lse - row[target]);
      Kernels().softmax_grad(row, kDepths, lse, target, 1.0f / static_cast<float>(batch_), row);
    }
    LinearGrads(logits_, hidden_, kHidden, kDepths, &tensors_[2], &tensors_[3]);
    ParallelMatmul(
        exec_,
        {.m = batch_, .n = kHidden, .k = kDepths, .lda = kDepths, .ldb = kHidden, .ldc = kHidden},
        logits_.data(), p.out.data(), d_hidden_.data());
    Swiglu().backward(pre_.data(), ones_.data(), d_hidden_.data(), cells, d_hidden_.data(),
                      unused_.data());
    LinearGrads(d_hidden_, rows_, d_, kHidden, &tensors_[0], &tensors_[1]);
    return loss / static_cast<double>(batch_);
  }

  void Update(const LearningRateSchedule& schedule, int64_t t) {
    AdamWStep step;
    step.lr = static_cast<float>(LearningRate(schedule, t));
    step.beta1 = 0.9f;
    step.beta2 = 0.99f;
    step.eps = 1e-8f;
    step.correction1 = static_cast<float>(1.0 / (1.0 - std::pow(0.9, t)));
    step.correction2 = static_cast<float>(1.0 / (1.0 - std::pow(0.99, t)));
    step.grad_scale = 1.0f;
    for (Tensor& w : tensors_) {
      step.weight_decay = w.decays ? static_cast<float>(options_.weight_decay) : 0.0f;
      Kernels().adamw(step, static_cast<int64_t>(w.grad.size()), w.value->data(), w.grad.data(),
                      w.m.data(), w.v.data());
    }
  }

  // Accuracy and baseline from the confusion, with depths merged by `of`.
  template <typename Merge>
  void Summarize(double* accuracy, double* majority, const Merge& of) const {
    int64_t hits = 0;
    std::array<int64_t, kDepths + 1> oracle{};
    for (int row = 1; row <= kDepths; ++row) {
      for (int column = 1; column <= kDepths; ++column) {
        const int64_t n =
            report_->confusion[static_cast<size_t>(row - 1)][static_cast<size_t>(column - 1)];
        oracle[static_cast<size_t>(of(row))] += n;
        if (of(row) == of(column)) hits += n;
      }
    }
    const auto total = static_cast<double>(held_out_.size());
    *accuracy = static_cast<double>(hits) / total;
    *majority = static_cast<double>(*std::max_element(oracle.begin(), oracle.end())) / total;
  }

  std::span<const float> x_;
  std::span<const uint8_t> labels_;
  uint64_t seed_;
  DepthRouterOptions options_;
  ExecContext* exec_;
  DepthRouterReport* report_;
  int64_t d_;
  int64_t batch_ = 0;
  std::vector<int64_t> train_, held_out_;
  std::vector<Tensor> tensors_;  // hidden, hidden_bias, out, out_bias
  std::vector<float> rows_, pre_, hidden_, ones_, d_hidden_, unused_;
  std::vector<float> logits_;  // then their gradient
};

}  // namespace

absl::StatusOr<DepthRouterReport> TrainDepthRouter(std::span<const float> features, int d_model,
                                                   std::span<const uint8_t> labels, uint64_t seed,
                                                   const DepthRouterOptions& options,
                                                   ExecContext* exec) {
  if (absl::Status status = CheckInput(features, d_model, labels, options); !status.ok()) {
    return status;
  }
  DepthRouterReport report(d_model);
  Fit fit(features, labels, seed, options, exec, &report);
  fit.Train();
  fit.Measure();
  return report;
}

}  // namespace chimera
