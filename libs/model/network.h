// The network as it trains: parameters in flat buffers, one forward pass on a tape. The serving
// form of the same definition is model/step.h; both read model/layout.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/exec_context.h"
#include "config/model_config.h"
#include "layers/quant_progress.h"
#include "layers/span_knot.h"
#include "layers/train_batch.h"
#include "model/layout.h"
#include "model/state_layout.h"
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

// Initial values of the tensor at `index` of ModelLayout: what Parameters::Initialize gives it.
void FillInitial(const ModelConfig& config, const TensorSpec& spec, size_t index, uint64_t seed,
                 ExecContext* exec, float* out);

class NetworkLayer;

// One iteration of the looped block as it ran: for telemetry and for fitting the depth router.
struct LoopIteration {
  int iteration = 0;              // from 1
  int64_t n_rows = 0;             // tokens that ran it
  const int32_t* rows = nullptr;  // their rows in the batch
  const float* e = nullptr;       // [n_rows][d_model] what the loop is fed with
  const float* before = nullptr;  // [n_rows][d_model] hidden state after the iteration before; null
                                  // in the first
  const float* after = nullptr;
};
using LoopObserver = std::function<void(const LoopIteration&)>;

// Thread-compatible. The parameters must outlive it.
class Network {
 public:
  Network(const ModelConfig& config, Parameters* parameters);
  ~Network();

  // Re-derives the quantised forms; after every change of the parameters.
  void Prepare(ExecContext* exec);

  // Mean negative log-likelihood in nats of the batch; nll [rows] receives each token's. start and
  // end: recurrent state of every lane, StateFloats() apart; batch.start, .end and .state_stride
  // are set here. Leaves the tape ready for Backward when it records.
  double Forward(Tape* tape, TrainBatch batch, const float* start, float* end, float* nll);

  // Trades time for memory in passes that record: each layer keeps its input only and runs once
  // more in Backward (Tape::Checkpoint). Same bits. Passes that do not record never keep more.
  void set_checkpointing(bool on) { checkpointing_ = on; }

  // Called after every iteration of the loop; null to stop.
  void set_loop_observer(LoopObserver observer) { observer_ = std::move(observer); }

  // On: the memories of TM layers keep their first weights (TitansUse::kFrozen), to measure what
  // learning while reading is worth.
  void FreezeMemories(bool on);

  // How often each routed expert of a layer was picked by all passes since the last call; empty for
  // layers without experts.
  std::vector<int64_t> TakePicks(int layer);

  // Floats of one sequence's state, laid out as a BraidState of loops_max iterations.
  int64_t StateFloats() const;

 private:
  Var* RunLayers(Tape* tape, TrainBatch batch, const float* start, float* end, int first, int last,
                 int iteration, Var* x);
  Var* RunLoop(Tape* tape, const TrainBatch& batch, const float* start, float* end, Var* x);
  void CountPicks(bool on);

  const ModelConfig config_;
  const StateLayout state_;
  std::optional<SpanKnot> knot_;  // with SK layers
  bool checkpointing_ = false;
  std::vector<std::unique_ptr<NetworkLayer>> layers_;
  LoopObserver observer_;
  struct Ends;
  std::unique_ptr<Ends> ends_;
};

}  // namespace chimera
