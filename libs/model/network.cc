#include "model/network.h"

#include "layers/embedding_op.h"
#include "layers/linear_op.h"
#include "layers/mixer_ops.h"
#include "model/braid_state.h"
#include "model/ternary_switches.h"

namespace chimera {

struct Network::Layer {
  LayerKind kind;
  FloatParam mixer_norm;
  LinearParam w_in;
  FloatParam w_gates;
  GatedDeltaParams gd;
  MlstmParams xm;
  FloatParam out_norm;
  LinearParam w_out;
  FloatParam ffn_norm;
  LinearParam ffn_in;
  FloatParam ffn_out_norm;
  LinearParam ffn_out;
};

struct Network::Ends {
  EmbeddingParam embedding;
  FloatParam final_norm;
};

namespace {

FloatParam Bind(Parameters* parameters, const std::string& name) {
  const Parameters::Entry& e = parameters->entry(name);
  return {parameters->values().data() + e.offset, parameters->grads().data() + e.offset,
          e.spec.rows, e.spec.cols};
}

LinearParam BindLinear(Parameters* parameters, const std::string& name, bool quantized) {
  LinearParam linear;
  linear.param = Bind(parameters, name);
  linear.quantized = quantized;
  BindTernarySwitches(parameters, name, &linear);
  return linear;
}

}  // namespace

Network::Network(const ModelConfig& config, Parameters* parameters)
    : config_(config), parameters_(parameters), ends_(std::make_unique<Ends>()) {
  const bool quantized = config.quant.enabled;
  for (int i = 0; i < config.n_layers; ++i) {
    auto layer = std::make_unique<Layer>();
    auto name = [&](const char* rest) { return LayerTensor(i, rest); };
    layer->kind = config.layers[static_cast<size_t>(i)];
    const bool gd = layer->kind == LayerKind::kGatedDelta;
    layer->mixer_norm = Bind(parameters, name("mixer_norm"));
    layer->w_in = BindLinear(parameters, name(gd ? "gd.w_in" : "xm.w_in"), quantized);
    layer->w_gates = Bind(parameters, name(gd ? "gd.w_gates" : "xm.w_gates"));
    if (gd) {
      layer->gd = {Bind(parameters, name("gd.conv")), Bind(parameters, name("gd.a_log")),
                   Bind(parameters, name("gd.dt_bias")), Bind(parameters, name("gd.head_norm"))};
    } else {
      layer->xm = {Bind(parameters, name("xm.gate_bias")), Bind(parameters, name("xm.head_norm"))};
    }
    layer->out_norm = Bind(parameters, name(gd ? "gd.out_norm" : "xm.out_norm"));
    layer->w_out = BindLinear(parameters, name(gd ? "gd.w_out" : "xm.w_out"), quantized);
    layer->ffn_norm = Bind(parameters, name("ffn_norm"));
    layer->ffn_in = BindLinear(parameters, name("ffn.w_in"), quantized);
    layer->ffn_out_norm = Bind(parameters, name("ffn.out_norm"));
    layer->ffn_out = BindLinear(parameters, name("ffn.w_out"), quantized);
    layers_.push_back(std::move(layer));
  }
  ends_->embedding.param = Bind(parameters, "embedding");
  ends_->embedding.quantized = quantized;
  ends_->final_norm = Bind(parameters, "final_norm");
}

Network::~Network() = default;

void Network::Prepare(ExecContext* exec) {
  PrepareEmbedding(exec, &ends_->embedding);
  for (const auto& layer : layers_) {
    for (LinearParam* w : {&layer->w_in, &layer->w_out, &layer->ffn_in, &layer->ffn_out}) {
      PrepareLinear(exec, w);
    }
  }
}

int64_t Network::StateFloats() const {
  return BraidState::Bytes(config_) / static_cast<int64_t>(sizeof(float));
}

// Block (math-backbone 0.1): x += Mixer(x), x += FFN(x), every linear input normalised.
double Network::Forward(Tape* tape, TrainBatch batch, const float* start, float* end, float* nll) {
  const bool quantized = config_.quant.enabled;
  const int width = config_.n_heads * config_.head_dim, heads = config_.n_heads;
  batch.state_stride = StateFloats();
  batch.start = start;
  batch.end = end;
  Var* x = Embed(tape, &ends_->embedding, batch.tokens, batch.rows());
  for (const auto& layer : layers_) {
    const LinearInput in = NormQuantize(tape, x, layer->mixer_norm, quantized);
    const auto proj = Linear(tape, in, &layer->w_in, {3 * width, width});
    const auto gates = FloatLinear(tape, in, layer->w_gates, {heads, heads});
    Var* y = layer->kind == LayerKind::kGatedDelta
                 ? GatedDeltaMixer(tape, batch, layer->gd, proj[0], proj[1], gates[0], gates[1])
                 : MlstmMixer(tape, batch, layer->xm, proj[0], proj[1], gates[0], gates[1]);
    const LinearInput mixed = NormQuantize(tape, y, layer->out_norm, quantized);
    x = Residual(tape, x, Linear(tape, mixed, &layer->w_out, {config_.d_model})[0]);

    const LinearInput ffn = NormQuantize(tape, x, layer->ffn_norm, quantized);
    const auto gate_up = Linear(tape, ffn, &layer->ffn_in, {config_.d_ff, config_.d_ff});
    Var* hidden = SwigluProduct(tape, gate_up[0], gate_up[1]);
    const LinearInput down = NormQuantize(tape, hidden, layer->ffn_out_norm, quantized);
    x = Residual(tape, x, Linear(tape, down, &layer->ffn_out, {config_.d_model})[0]);

    batch.start += LayerStateFloats(config_, layer->kind);
    batch.end += LayerStateFloats(config_, layer->kind);
  }
  const LinearInput top = NormQuantize(tape, x, ends_->final_norm, quantized);
  return CrossEntropy(tape, top, &ends_->embedding, batch.targets, nll);
}

}  // namespace chimera
