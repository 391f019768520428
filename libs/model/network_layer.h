// One layer of the network as it trains: its parameters, and x += Mixer(x), x += FFN(x) on the tape
// (math-backbone 0.1; every linear input is normalised). The serving form is model/layer_step.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/exec_context.h"
#include "config/model_config.h"
#include "layers/linear_op.h"
#include "layers/mixer_ops.h"
#include "layers/moe_op.h"
#include "layers/span_knot_op.h"
#include "layers/titans_op.h"
#include "layers/train_batch.h"
#include "model/network.h"
#include "tensor/tape.h"

namespace chimera {

// Binds parameters by name: "embedding", "layers.3.gd.w_in".
FloatParam BindFloat(Parameters* parameters, const std::string& name);
LinearParam BindLinear(Parameters* parameters, const std::string& name, bool quantized);

// Thread-compatible. The parameters must outlive it.
class NetworkLayer {
 public:
  // knot: of SK layers; must outlive this.
  NetworkLayer(const ModelConfig& config, int index, const SpanKnot* knot, Parameters* parameters);

  // Re-derives the quantised forms.
  void Prepare(ExecContext* exec);
  // batch.start, .end point at this layer's state of this iteration (0 outside the loop).
  Var* Forward(Tape* tape, const TrainBatch& batch, int iteration, Var* x);

  LayerKind kind() const { return kind_; }

  // On: the memory of a TM layer does not learn.
  void FreezeMemory(bool on) { memory_use_ = on ? TitansUse::kFrozen : TitansUse::kWrite; }

  // While on, Forward counts how often each routed expert is picked.
  void CountPicks(bool on) { counting_ = on; }
  // The counts since the last call; empty without experts.
  std::vector<int64_t> TakePicks() {
    std::vector<int64_t> taken(picks_.size());
    taken.swap(picks_);
    return taken;
  }

 private:
  void BindMixer(const std::string& prefix, Parameters* parameters);
  Var* Mixer(Tape* tape, const TrainBatch& batch, int iteration, Var* x);
  Var* Delta(Tape* tape, const TrainBatch& batch, const LinearInput& in);
  Var* Titans(Tape* tape, const TrainBatch& batch, int iteration, const LinearInput& in);
  void BindFfn(Parameters* parameters);
  Var* Ffn(Tape* tape, Var* x);
  Var* DenseFfn(Tape* tape, const LinearInput& in);

  const ModelConfig& config_;
  const int index_;
  const LayerKind kind_;
  const bool quantized_;
  FloatParam mixer_norm_;
  LinearParam w_in_;
  FloatParam w_gates_;
  GatedDeltaParams gd_;
  const SpanKnot* knot_;
  SpanKnotParams sk_;
  TitansParams tm_;
  TitansUse memory_use_ = TitansUse::kWrite;  // of the first iteration
  FloatParam block_norm_;
  // Of the first iteration of the pass that runs now; later iterations read it.
  std::shared_ptr<TitansMemoryPass> memory_;
  MlstmParams xm_;
  FloatParam out_norm_;
  LinearParam w_out_;
  FloatParam ffn_norm_;
  // The dense feed-forward, or the shared expert.
  LinearParam ffn_in_;
  FloatParam ffn_out_norm_;
  LinearParam ffn_out_;
  MoeParams moe_;
  LinearParam experts_in_, experts_out_;
  bool counting_ = false;
  std::vector<int64_t> picks_;
};

}  // namespace chimera
