#include "model/network.h"

#include <algorithm>
#include <cstring>

#include "layers/embedding_op.h"
#include "layers/linear_op.h"
#include "layers/loop_op.h"
#include "layers/row_ops.h"
#include "model/layer_shapes.h"
#include "model/loop_rows.h"
#include "model/network_layer.h"

namespace chimera {

struct Network::Ends {
  EmbeddingParam embedding;
  FloatParam final_norm;
  FloatParam loop_norm;
  LoopParams loop;
};

Network::Network(const ModelConfig& config, Parameters* parameters)
    : config_(config),
      state_(config),
      knot_(MakeSpanKnot(config)),
      ends_(std::make_unique<Ends>()) {
  const SpanKnot* knot = knot_.has_value() ? &*knot_ : nullptr;
  for (int i = 0; i < config.n_layers; ++i) {
    layers_.push_back(std::make_unique<NetworkLayer>(config_, i, knot, parameters));
  }
  ends_->embedding.param = BindFloat(parameters, "embedding");
  ends_->embedding.quantized = config.quant.enabled;
  ends_->embedding.bits = config.quant.head_bits;
  ends_->final_norm = BindFloat(parameters, "final_norm");
  if (config.loop.enabled) {
    ends_->loop_norm = BindFloat(parameters, "loop.norm");
    ends_->loop = {BindFloat(parameters, "loop.a_log"), BindFloat(parameters, "loop.dt_bias"),
                   BindFloat(parameters, "loop.b")};
  }
}

Network::~Network() = default;

void Network::Prepare(ExecContext* exec) {
  PrepareEmbedding(exec, &ends_->embedding);
  for (const auto& layer : layers_) layer->Prepare(exec);
}

int64_t Network::StateFloats() const {
  return static_cast<int64_t>(state_.Total(config_.loop.loops_max));
}

Var* Network::RunLayers(Tape* tape, TrainBatch batch, const float* start, float* end, int first,
                        int last, int iteration, Var* x) {
  batch.state_stride = StateFloats();
  for (int i = first; i <= last; ++i) {
    batch.start = start + state_.Offset(i, iteration);
    batch.end = end + state_.Offset(i, iteration);
    batch.memory_start = start + state_.MemoryOffset(i);
    batch.memory_end = end + state_.MemoryOffset(i);
    NetworkLayer* layer = layers_[static_cast<size_t>(i)].get();
    const auto run = [tape, layer, batch, iteration, x] {
      return layer->Forward(tape, batch, iteration, x);
    };
    // Later iterations read what the first left of a TM layer: it must stay.
    const bool shared = config_.loop.Contains(i) && layer->kind() == LayerKind::kTitans;
    const bool keep = shared || (tape->recording() && !checkpointing_);
    x = keep ? run() : tape->Checkpoint({x}, run);
  }
  return x;
}

// math-backbone 4.2: u = Abar h + Bbar e, h = layers(u), as often as each token says.
Var* Network::RunLoop(Tape* tape, const TrainBatch& batch, const float* start, float* end, Var* x) {
  const LoopConfig& loop = config_.loop;
  Var* e = NormQuantize(tape, x, ends_->loop_norm, false).normed;
  const std::vector<HeldState> held = PlanHeldStates(batch, loop.loops_default, loop.loops_max);
  auto part = [&](const HeldState& h) {
    return int64_t{h.lane} * StateFloats() +
           static_cast<int64_t>(state_.IterationBegin(h.iteration));
  };
  const size_t bytes = state_.IterationFloats() * sizeof(float);
  for (const HeldState& h : held) {
    if (!h.executed) std::memcpy(end + part(h), start + part(h), bytes);
  }
  const bool recording = tape->recording();
  std::vector<RowPiece> pieces;
  for (const std::vector<LoopRows>& group : PlanLoops(tape, batch, loop.loops_default)) {
    Var* h = nullptr;
    for (size_t i = 0; i < group.size(); ++i) {
      const LoopRows& now = group[i];
      tape->set_recording(recording && now.taped);
      const int64_t n = now.batch.rows();
      Var* before = i == 0 ? nullptr : GatherRows(tape, h, now.previous, n, now.keep_grad);
      Var* fed = GatherRows(tape, e, now.rows, n, nullptr);
      h = RunLayers(tape, now.batch, start, end, loop.first_layer, loop.last_layer,
                    static_cast<int>(i), LoopInject(tape, before, fed, ends_->loop));
      if (!now.last.empty()) pieces.push_back({h, now.last, now.last_to});
      if (observer_) {
        observer_({static_cast<int>(i) + 1, n, now.rows, fed->value,
                   before != nullptr ? before->value : nullptr, h->value});
      }
    }
  }
  tape->set_recording(recording);
  for (const HeldState& h : held) {
    if (h.dropped) std::memset(end + part(h), 0, bytes);
  }
  return AssembleRows(tape, pieces, batch.rows());
}

void Network::CountPicks(bool on) {
  for (const auto& layer : layers_) layer->CountPicks(on);
}

void Network::FreezeMemories(bool on) {
  for (const auto& layer : layers_) layer->FreezeMemory(on);
}

std::vector<int64_t> Network::TakePicks(int layer) {
  return layers_[static_cast<size_t>(layer)]->TakePicks();
}

double Network::Forward(Tape* tape, TrainBatch batch, const float* start, float* end, float* nll) {
  CountPicks(true);  // and not again when Backward runs a layer once more
  Var* x = Embed(tape, &ends_->embedding, batch.tokens, batch.rows());
  if (config_.loop.enabled) {
    x = RunLayers(tape, batch, start, end, 0, config_.loop.first_layer - 1, 0, x);
    x = RunLoop(tape, batch, start, end, x);
    x = RunLayers(tape, batch, start, end, config_.loop.last_layer + 1, config_.n_layers - 1, 0, x);
  } else {
    x = RunLayers(tape, batch, start, end, 0, config_.n_layers - 1, 0, x);
  }
  CountPicks(false);
  const LinearInput top = NormQuantize(tape, x, ends_->final_norm, config_.quant.enabled);
  return CrossEntropy(tape, top, &ends_->embedding, batch.targets, nll);
}

}  // namespace chimera
