#include "cluster/pass_engine.h"

#include <algorithm>

#include "base/check.h"
#include "decode/row_set.h"

namespace chimera {
namespace {

void Add(const GateMeans& more, GateMeans* sum) {
  const int64_t count = sum->count + more.count;
  if (count == 0) return;
  const double share = static_cast<double>(more.count) / static_cast<double>(count);
  sum->alpha += share * (more.alpha - sum->alpha);
  sum->beta += share * (more.beta - sum->beta);
  sum->count = count;
}

// Steps may run between a prompt's last layer and its head.
constexpr size_t kWantedMax = Stepper::kBatchMax + kHeadRowsMax;

}  // namespace

int64_t PassEngine::Bytes(const ModelConfig& config) {
  const int64_t head = int64_t{kWantedMax} * config.d_model + kHeadRowsMax * config.vocab_size;
  return Stepper::Bytes(config, Stepper::kBatchMax) + Stepper::Bytes(config, Stepper::kPrefillMax) +
         head * int64_t{sizeof(float)};
}

PassEngine::PassEngine(std::shared_ptr<const Model> model, ExecContext* exec)
    : model_(std::move(model)),
      steps_(*model_, exec),
      prompts_(*model_, exec, Stepper::kPrefillMax) {
  const auto d_model = static_cast<size_t>(model_->shape().d_model);
  const auto vocab_size = static_cast<size_t>(model_->shape().vocab_size);
  rows_.reserve(Stepper::kBatchMax);
  head_in_.resize(kWantedMax * d_model);
  head_out_.resize(kHeadRowsMax * vocab_size);
  head_to_.reserve(kWantedMax);
  tile_jobs_.reserve(kWantedMax);
}

void PassEngine::RunSteps(std::span<PassJob* const> jobs) {
  rows_.clear();
  for (const PassJob* job : jobs) rows_.insert(rows_.end(), job->rows.begin(), job->rows.end());
  const auto d_model = static_cast<size_t>(model_->shape().d_model);
  const float* hidden = steps_.Batch(rows_).data();
  int end = 0;
  for (PassJob* job : jobs) {
    const int n = static_cast<int>(job->rows.size());
    Collect(job, 0, n, hidden + static_cast<size_t>(end) * d_model);
    Report(steps_, end, 0, n, job);
    end += n;
  }
  Add(steps_.TakeGateMeans(), &jobs[0]->gates);
  RunHead();
}

void PassEngine::StartPrompt(PassJob* job, int begin, int chunk_max) {
  const int n = std::min(chunk_max, static_cast<int>(job->rows.size()) - begin);
  CHIMERA_CHECK(!prompt_.has_value() && n > 0 && job->wanted.size() <= kHeadRowsMax);
  const int taken = prompts_.Start(job->rows.subspan(size_t(begin), size_t(n)));
  prompt_ = {job, begin, begin + taken};
}

bool PassEngine::AdvancePrompt(int rows_max) {
  Prompt& p = *prompt_;
  slice_rows_ = 0;
  if (!p.layers_done) {
    p.layers_done = prompts_.Advance(rows_max);
    slice_rows_ = prompts_.slice_rows();
    if (!p.layers_done) return false;
    Collect(p.job, p.begin, p.end, prompts_.Rows().data());
    Report(prompts_, 0, p.begin, p.end, p.job);
    Add(prompts_.TakeGateMeans(), &p.job->gates);
    if (!head_to_.empty() || !tile_jobs_.empty()) return false;
  }
  RunHead();
  return true;
}

void PassEngine::Collect(PassJob* job, int begin, int end, const float* hidden) {
  const auto d_model = static_cast<size_t>(model_->shape().d_model);
  const auto vocab_size = static_cast<size_t>(model_->shape().vocab_size);
  for (size_t w = 0; w < job->wanted.size(); ++w) {
    const int row = job->wanted[w];
    if (row < begin || row >= end) continue;
    const float* from = hidden + static_cast<size_t>(row - begin) * d_model;
    std::copy_n(from, d_model, job->hidden + w * d_model);
    if (w >= size_t{kHeadRowsMax}) continue;
    if (!job->tiles.empty()) {
      tile_jobs_.push_back(job);
      continue;
    }
    std::copy_n(from, d_model, head_in_.data() + head_to_.size() * d_model);
    head_to_.push_back(job->logits + w * vocab_size);
  }
}

void PassEngine::Report(const Stepper& pass, int first, int begin, int end, PassJob* job) {
  const int last = first + end - begin - 1;
  job->loops_run = pass.loops_run(last);
  job->residual = pass.residual(last);
  if (job->surprises == nullptr) return;
  for (int row = begin; row < end; ++row) {
    job->surprises[row] = pass.surprise(first + row - begin);
  }
}

void PassEngine::RunHead() {
  const auto d_model = static_cast<size_t>(model_->shape().d_model);
  const auto vocab_size = static_cast<size_t>(model_->shape().vocab_size);
  for (size_t begin = 0; begin < head_to_.size(); begin += kHeadRowsMax) {
    const size_t n = std::min<size_t>(kHeadRowsMax, head_to_.size() - begin);
    const float* in = head_in_.data() + begin * d_model;
    if (n == 1) {
      Head(in, 1, head_to_[begin]);
      continue;
    }
    Head(in, static_cast<int>(n), head_out_.data());
    for (size_t i = 0; i < n; ++i) {
      std::copy_n(head_out_.data() + i * vocab_size, vocab_size, head_to_[begin + i]);
    }
  }
  head_to_.clear();
  for (const PassJob* job : tile_jobs_) HeadOfTiles(job->hidden, job->tiles, job->logits);
  tile_jobs_.clear();
}

void PassEngine::HeadOfTiles(const float* hidden, std::span<const int32_t> tiles, float* logits) {
  const auto d_model = static_cast<size_t>(model_->shape().d_model);
  steps_.LogitsOfTiles({hidden, d_model}, tiles, {logits, tiles.size() * kHeadTile});
}

void PassEngine::Head(const float* hidden, int n, float* logits) {
  const auto rows = static_cast<size_t>(n);
  const auto d_model = static_cast<size_t>(model_->shape().d_model);
  const auto vocab_size = static_cast<size_t>(model_->shape().vocab_size);
  steps_.Logits({hidden, rows * d_model}, n, {logits, rows * vocab_size});
}

}  // namespace chimera
