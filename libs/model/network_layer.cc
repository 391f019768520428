#include "model/network_layer.h"

#include "model/layer_shapes.h"
#include "model/layout.h"
#include "model/state_layout.h"
#include "model/ternary_switches.h"

namespace chimera {

FloatParam BindFloat(Parameters* parameters, const std::string& name) {
  const Parameters::Entry& e = parameters->entry(name);
  return {parameters->values().data() + e.offset, parameters->grads().data() + e.offset,
          e.spec.rows, e.spec.cols};
}

LinearParam BindLinear(Parameters* parameters, const std::string& name, bool quantized) {
  LinearParam linear;
  linear.param = BindFloat(parameters, name);
  linear.quantized = quantized;
  BindTernarySwitches(parameters, name, &linear);
  return linear;
}

NetworkLayer::NetworkLayer(const ModelConfig& config, int index, const SpanKnot* knot,
                           Parameters* parameters)
    : config_(config),
      index_(index),
      kind_(config.layers[static_cast<size_t>(index)]),
      quantized_(config.quant.enabled),
      knot_(knot) {
  auto name = [&](const char* rest) { return LayerTensor(index, rest); };
  mixer_norm_ = BindFloat(parameters, name("mixer_norm"));
  BindMixer(LayerTensor(index, kind_ == LayerKind::kMlstm    ? "xm."
                               : kind_ == LayerKind::kTitans ? "tm."
                                                             : "gd."),
            parameters);
  ffn_norm_ = BindFloat(parameters, name("ffn_norm"));
  BindFfn(parameters);
}

void NetworkLayer::BindFfn(Parameters* parameters) {
  auto name = [&](const char* rest) { return LayerTensor(index_, rest); };
  const bool moe = config_.ffn[static_cast<size_t>(index_)] == FfnKind::kMoe;
  if (moe) {
    moe_.router = BindFloat(parameters, name("moe.router"));
    moe_.bias = BindFloat(parameters, name("moe.bias")).value;
    moe_.gain = BindFloat(parameters, name("moe.out_norm"));
    experts_in_ = BindLinear(parameters, name("moe.w_in"), quantized_);
    experts_out_ = BindLinear(parameters, name("moe.w_out"), quantized_);
    moe_.w_in = &experts_in_;
    moe_.w_out = &experts_out_;
    picks_.resize(static_cast<size_t>(config_.moe.n_routed));
    if (config_.moe.n_shared == 0) return;
  }
  ffn_in_ = BindLinear(parameters, name(moe ? "moe.shared_in" : "ffn.w_in"), quantized_);
  ffn_out_norm_ = BindFloat(parameters, name(moe ? "moe.shared_norm" : "ffn.out_norm"));
  ffn_out_ = BindLinear(parameters, name(moe ? "moe.shared_out" : "ffn.w_out"), quantized_);
}

void NetworkLayer::BindMixer(const std::string& prefix, Parameters* parameters) {
  w_in_ = BindLinear(parameters, prefix + "w_in", quantized_);
  w_gates_ = BindFloat(parameters, prefix + "w_gates");
  out_norm_ = BindFloat(parameters, prefix + "out_norm");
  w_out_ = BindLinear(parameters, prefix + "w_out", quantized_);
  if (kind_ == LayerKind::kMlstm) {
    xm_ = {BindFloat(parameters, prefix + "gate_bias"),
           BindFloat(parameters, prefix + "head_norm")};
    return;
  }
  if (kind_ == LayerKind::kTitans) {
    tm_ = {TitansShapeOf(config_),
           BindFloat(parameters, prefix + "gate_bias"),
           BindFloat(parameters, prefix + "w1"),
           BindFloat(parameters, prefix + "w2"),
           BindFloat(parameters, prefix + "persistent_k"),
           BindFloat(parameters, prefix + "persistent_v"),
           BindFloat(parameters, prefix + "head_norm")};
    block_norm_ = BindFloat(parameters, prefix + "block_norm");
    return;
  }
  gd_ = {BindFloat(parameters, prefix + "conv"), BindFloat(parameters, prefix + "a_log"),
         BindFloat(parameters, prefix + "dt_bias"), BindFloat(parameters, prefix + "head_norm"),
         DeltaRuleOf(config_, kind_)};
  if (kind_ != LayerKind::kSpanKnot) return;
  sk_ = {BindFloat(parameters, LayerTensor(index_, "sk.w_sketch")),
         BindFloat(parameters, LayerTensor(index_, "sk.w_back")),
         BindFloat(parameters, LayerTensor(index_, "sk.gate"))};
}

void NetworkLayer::Prepare(ExecContext* exec) {
  for (LinearParam* w : {&w_in_, &w_out_, &ffn_in_, &ffn_out_, &experts_in_, &experts_out_}) {
    if (w->param.value != nullptr) PrepareLinear(exec, w);
  }
}

Var* NetworkLayer::Mixer(Tape* tape, const TrainBatch& batch, int iteration, Var* x) {
  const int width = config_.n_heads * config_.head_dim, heads = config_.n_heads;
  const LinearInput in = NormQuantize(tape, x, mixer_norm_, quantized_);
  Var* y = nullptr;
  if (kind_ == LayerKind::kTitans) {
    y = Titans(tape, batch, iteration, in);
  } else if (kind_ == LayerKind::kMlstm) {
    const auto proj = Linear(tape, in, &w_in_, {3 * width, width});
    const auto gates = FloatLinear(tape, in, w_gates_, {heads, heads});
    y = MlstmMixer(tape, batch, xm_, proj[0], proj[1], gates[0], gates[1]);
  } else {
    y = Delta(tape, batch, in);
  }
  const LinearInput mixed = NormQuantize(tape, y, out_norm_, quantized_);
  return Linear(tape, mixed, &w_out_, {config_.d_model})[0];
}

// GD, and both phases of SK.
Var* NetworkLayer::Delta(Tape* tape, const TrainBatch& batch, const LinearInput& in) {
  const int width = config_.n_heads * config_.head_dim, heads = config_.n_heads;
  const auto proj = Linear(tape, in, &w_in_, {3 * width, width});
  const auto gates = FloatLinear(tape, in, w_gates_, {heads, heads});
  Var* y = GatedDeltaMixer(tape, batch, gd_, proj[0], proj[1], gates[0], gates[1]);
  if (kind_ != LayerKind::kSpanKnot) return y;
  static const SketchFields kNone;
  const auto offset = static_cast<int64_t>(LayerStateFloats(config_, LayerKind::kGatedDelta));
  return Residual(
      tape, y,
      SpanKnotBranch(tape, batch, *knot_, sk_, batch.fields != nullptr ? *batch.fields : kNone,
                     in.normed, offset));
}

Var* NetworkLayer::Titans(Tape* tape, const TrainBatch& batch, int iteration,
                          const LinearInput& in) {
  const int width = tm_.shape.width(), kv = 2 * tm_.shape.kv_width();
  const auto proj = Linear(tape, in, &w_in_, {4 * width, kv});
  const auto gates = FloatLinear(tape, in, w_gates_, {3 * config_.n_heads});
  TitansOptions options;
  options.use = memory_use_;
  if (iteration > 0) {
    options.use = TitansUse::kReadOnly;
    options.memory = memory_;
  }
  const TitansOutput out =
      TitansMixer(tape, batch, tm_, options, proj[0], proj[1], gates[0], [&](Var* means) {
        const LinearInput block = NormQuantize(tape, means, block_norm_, quantized_);
        return Linear(tape, block, &w_in_, {4 * width, kv})[1];
      });
  memory_ = out.memory;
  return out.y;
}

Var* NetworkLayer::Ffn(Tape* tape, Var* x) {
  const LinearInput in = NormQuantize(tape, x, ffn_norm_, quantized_);
  if (picks_.empty()) return DenseFfn(tape, in);
  Var* shared = config_.moe.n_shared > 0 ? DenseFfn(tape, in) : nullptr;
  return MoeExperts(tape, in, shared, moe_, counting_ ? picks_.data() : nullptr);
}

Var* NetworkLayer::DenseFfn(Tape* tape, const LinearInput& in) {
  const int width = ffn_in_.param.rows / 2;
  const auto gate_up = Linear(tape, in, &ffn_in_, {width, width});
  Var* hidden = SwigluProduct(tape, gate_up[0], gate_up[1]);
  const LinearInput down = NormQuantize(tape, hidden, ffn_out_norm_, quantized_);
  return Linear(tape, down, &ffn_out_, {config_.d_model})[0];
}

Var* NetworkLayer::Forward(Tape* tape, const TrainBatch& batch, int iteration, Var* x) {
  x = Residual(tape, x, Mixer(tape, batch, iteration, x));
  return Residual(tape, x, Ffn(tape, x));
}

}  // namespace chimera
