// The two renderings of a model report (config/inspect.h).
#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/inspect.h"

namespace chimera {
namespace {

using Json = nlohmann::ordered_json;

const char* PartName(LoopPart part) {
  switch (part) {
    case LoopPart::kNone:
      return "";
    case LoopPart::kPrelude:
      return "prelude";
    case LoopPart::kLoop:
      return "loop";
    case LoopPart::kCoda:
      return "coda";
  }
  return "";
}

// 12345678 -> "12,345,678".
std::string Grouped(int64_t value) {
  std::string digits = absl::StrCat(value);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

std::string Mib(int64_t bytes) {
  return absl::StrFormat("%.2f MiB", static_cast<double>(bytes) / (1 << 20));
}

void AppendCount(const char* name, int64_t value, std::string* out) {
  absl::StrAppendFormat(out, "  %-24s %18s\n", name, Grouped(value));
}

void AppendBytes(const char* name, int64_t value, std::string* out) {
  absl::StrAppendFormat(out, "  %-24s %18s\n", name, Mib(value));
}

void AppendLayers(const ModelReport& r, std::string* out) {
  absl::StrAppend(out, "\nLayers\n");
  absl::StrAppendFormat(out, "  %5s  %-5s  %-5s  %-7s  %15s  %15s\n", "layer", "mixer", "ffn",
                        "part", "mixer weights", "ffn weights");
  for (const LayerRow& row : r.layers) {
    absl::StrAppendFormat(out, "  %5d  %-5s  %-5s  %-7s  %15s  %15s\n", row.index,
                          LayerKindName(row.mixer), FfnKindName(row.ffn), PartName(row.part),
                          Grouped(row.mixer_parameters), Grouped(row.ffn_parameters));
  }
}

void AppendCounts(const ModelReport& r, std::string* out) {
  const ParameterCounts& p = r.parameters;
  absl::StrAppend(out, "\nParameters, counted from the dimensions\n");
  AppendCount("embedding (tied)", p.embedding, out);
  AppendCount("mixers", p.mixers, out);
  AppendCount("dense ffn", p.ffn, out);
  AppendCount("experts", p.moe, out);
  AppendCount("norms", p.norms, out);
  AppendCount("loop injection", p.loop, out);
  if (p.hgf > 0) AppendCount("low-rank corrections", p.hgf, out);
  AppendCount("total", p.total, out);
  AppendCount("of these ternary", p.ternary, out);
  AppendCount("active per token", p.active, out);
  AppendCount("active with full head", p.active_with_head, out);
  for (size_t i = 1; i < p.executed.size(); ++i) {
    AppendCount(absl::StrCat("executed at ", i + 1, " loops").c_str(), p.executed[i], out);
  }
  absl::StrAppend(out, "\nBytes\n");
  AppendBytes("ternary weights", r.bytes.ternary, out);
  if (r.bytes.ternary_file != r.bytes.ternary) {
    AppendBytes("... packed in the file", r.bytes.ternary_file, out);
  }
  if (p.hgf > 0) AppendBytes("... their corrections", 4 * p.hgf, out);
  AppendBytes("embedding", r.bytes.embedding, out);
  AppendBytes("float weights", r.bytes.floats, out);
  AppendBytes("all weights", r.bytes.weights, out);
  AppendBytes("state of a stream", r.bytes.stream_state, out);
}

void AppendLabels(const ModelReport& r, std::string* out) {
  absl::StrAppend(out, "\nLabels of the file beside the counted values\n");
  absl::StrAppendFormat(out, "  %-42s %10s  %s\n", "key", "label", "counted");
  for (const LabelRow& row : r.labels) {
    absl::StrAppendFormat(out, "  %-42s %10s  %s\n", row.key, row.label,
                          row.measured.empty() ? "-" : row.measured);
  }
}

Json ParametersJson(const ParameterCounts& p) {
  return {{"total", p.total},
          {"embedding", p.embedding},
          {"mixers", p.mixers},
          {"ffn", p.ffn},
          {"moe", p.moe},
          {"norms", p.norms},
          {"loop", p.loop},
          {"hgf", p.hgf},
          {"ternary", p.ternary},
          {"floats", p.floats},
          {"moe_active", p.moe_active},
          {"active", p.active},
          {"active_with_head", p.active_with_head},
          {"executed", p.executed}};
}

}  // namespace

std::string RenderReport(const ModelReport& r) {
  const ModelConfig& m = r.model;
  std::string out = absl::StrCat("Model ", r.name, ", config version ", r.version, "\n");
  absl::StrAppendFormat(
      &out, "  width %d, %d layers, %d heads of %d, ffn %d, vocabulary %d, %s weights\n", m.d_model,
      m.n_layers, m.n_heads, m.head_dim, m.d_ff, m.vocab_size,
      m.quant.enabled ? "ternary" : "float");
  if (m.loop.enabled) {
    absl::StrAppendFormat(&out, "  layers %d..%d run %d..%d times, %d by default\n",
                          m.loop.first_layer, m.loop.last_layer, m.loop.loops_min, m.loop.loops_max,
                          m.loop.loops_default);
  }
  if (m.moe.n_routed > 0) {
    absl::StrAppendFormat(&out, "  experts: %d routed (%d chosen) and %d shared, width %d\n",
                          m.moe.n_routed, m.moe.top_k, m.moe.n_shared, m.moe.d_expert);
  }
  AppendLayers(r, &out);
  AppendCounts(r, &out);
  AppendLabels(r, &out);
  absl::StrAppend(&out, "\nConfig keys: ", r.claimed_keys, " act, ", r.pending_keys,
                  " wait for a feature, ", r.note_keys, " are notes (docs/config.md)\n");
  absl::StrAppend(&out, "Trainable today: ",
                  r.trainable.empty() ? "yes" : absl::StrCat("no - ", r.trainable), "\n");
  return out;
}

std::string RenderReportJson(const ModelReport& r) {
  const ModelConfig& m = r.model;
  Json json;
  json["name"] = r.name;
  json["version"] = r.version;
  json["d_model"] = m.d_model;
  json["n_layers"] = m.n_layers;
  json["n_heads"] = m.n_heads;
  json["d_ff"] = m.d_ff;
  json["vocab_size"] = m.vocab_size;
  json["quantized"] = m.quant.enabled;
  json["layers"] = Json::array();
  for (const LayerRow& row : r.layers) {
    json["layers"].push_back({{"index", row.index},
                              {"mixer", LayerKindName(row.mixer)},
                              {"ffn", FfnKindName(row.ffn)},
                              {"part", PartName(row.part)},
                              {"mixer_parameters", row.mixer_parameters},
                              {"ffn_parameters", row.ffn_parameters}});
  }
  json["parameters"] = ParametersJson(r.parameters);
  json["bytes"] = {{"ternary", r.bytes.ternary},     {"ternary_file", r.bytes.ternary_file},
                   {"embedding", r.bytes.embedding}, {"floats", r.bytes.floats},
                   {"weights", r.bytes.weights},     {"stream_state", r.bytes.stream_state}};
  json["labels"] = Json::array();
  for (const LabelRow& row : r.labels) {
    json["labels"].push_back({{"key", row.key}, {"label", row.label}, {"counted", row.measured}});
  }
  json["claimed_keys"] = r.claimed_keys;
  json["note_keys"] = r.note_keys;
  json["pending_keys"] = r.pending_keys;
  json["trainable"] = r.trainable.empty();
  json["not_trainable_because"] = r.trainable;
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace chimera
