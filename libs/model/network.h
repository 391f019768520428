// The network as it trains: parameters in flat buffers, one forward pass on a tape. The serving
// form of the same definition is model/step.h; both read model/layout.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/exec_context.h"
#include "config/model_config.h"
#include "layers/quant_progress.h"
#include "layers/train_batch.h"
#include "model/layout.h"
#include "tensor/tape.h"

namespace chimera {

// All parameters in one buffer, gradients in another, in the order of ModelLayout.
// Thread-compatible.
class Parameters {
 public:
  explicit Parameters(const ModelConfig& config);

  // Initial values from the seed (math-backbone 1.1, 2.1; uniform with the config's deviation).
  void Initialize(const ModelConfig& config, uint64_t seed);

  struct Entry {
    TensorSpec spec;
    int64_t offset = 0;
    int64_t size = 0;
    bool frozen = false;  // the optimizer leaves it as it is
  };
  const std::vector<Entry>& entries() const { return entries_; }
  const Entry& entry(const std::string& name) const;
  const Entry* Find(const std::string& name) const;  // null when there is none
  // The buffers never move: the network keeps pointers into them.
  std::span<float> values() { return values_; }
  std::span<const float> values() const { return values_; }
  std::span<float> grads() { return grads_; }
  std::span<const float> value(const std::string& name) const;

  // Tells the ternary maps how far the run is (layers/quant_progress.h): 0 at the first step, 1 at
  // the last and wherever the model is measured; 1 until somebody says otherwise. Takes effect when
  // the network is prepared next.
  void SetProgress(double progress);
  const QuantProgress& progress() const { return *progress_; }

 private:
  std::vector<Entry> entries_;
  std::vector<float> values_;
  std::vector<float> grads_;
  std::unique_ptr<QuantProgress> progress_;  // linear maps point to it
};

// Thread-compatible. The parameters must outlive it.
class Network {
 public:
  Network(const ModelConfig& config, Parameters* parameters);
  ~Network();

  // Re-derives the quantised forms; after every change of the parameters.
  void Prepare(ExecContext* exec);

  // Mean negative log-likelihood in nats of the batch; nll [rows] receives each token's. start and
  // end: recurrent state of every sequence, n_seqs x StateFloats(); batch.start, .end and
  // .state_stride are set here. Leaves the tape ready for Backward when it records.
  double Forward(Tape* tape, TrainBatch batch, const float* start, float* end, float* nll);

  // Floats of one sequence's state, laid out as BraidState.
  int64_t StateFloats() const;

 private:
  struct Layer;
  const ModelConfig config_;
  Parameters* parameters_;
  std::vector<std::unique_ptr<Layer>> layers_;
  struct Ends;
  std::unique_ptr<Ends> ends_;
};

}  // namespace chimera
