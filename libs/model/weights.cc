#include "model/weights.h"

#include <cmath>
#include <cstring>
#include <map>
#include <span>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "layers/loop.h"
#include "model/b158_format.h"
#include "model/layer_shapes.h"
#include "model/layout.h"

namespace chimera {
namespace {

using Bytes = std::span<const uint8_t>;

absl::Status Corrupt(const std::string& path, const std::string& fault) {
  return absl::DataLossError(absl::StrCat(path, ": ", fault));
}

absl::Status CheckHeader(const std::string& path, Bytes file, const B158Header& h) {
  if (std::memcmp(h.magic, kB158Magic, sizeof(h.magic)) != 0) {
    return Corrupt(path, "not a .b158 weight file (wrong magic)");
  }
  if (h.version != kB158Version) {
    return Corrupt(
        path, absl::StrCat("version ", h.version, " is not the supported version ", kB158Version));
  }
  if (h.byte_order != kB158ByteOrder) return Corrupt(path, "wrong byte order mark");
  if (h.header_checksum != Xxh3(file.first(48))) return Corrupt(path, "header checksum mismatch");
  if (h.file_bytes != file.size()) {
    return Corrupt(path, absl::StrCat("file has ", file.size(), " bytes but its header declares ",
                                      h.file_bytes));
  }
  if (h.n_tensors == 0 || h.n_tensors > kB158TensorsMax) {
    return Corrupt(path, absl::StrCat(h.n_tensors, " tensors, expected 1 to ", kB158TensorsMax));
  }
  const uint64_t table_bytes = uint64_t{h.n_tensors} * sizeof(B158Record);
  if (h.table_bytes != table_bytes || table_bytes > file.size() - sizeof(B158Header)) {
    return Corrupt(path, "tensor table does not fit the file");
  }
  if (h.table_checksum != Xxh3(file.subspan(sizeof(B158Header), table_bytes))) {
    return Corrupt(path, "table checksum mismatch");
  }
  return absl::OkStatus();
}

// The record must be exactly the one the config implies, and lie inside the file after `*end`.
absl::Status CheckRecord(const std::string& path, Bytes file, const B158Record& r,
                         const TensorSpec& spec, uint64_t* end) {
  const std::string name(r.name, strnlen(r.name, sizeof(r.name)));
  if (name != spec.name) {
    return Corrupt(path, absl::StrCat("tensor '", absl::CHexEscape(name), "' where '", spec.name,
                                      "' is expected"));
  }
  if (r.kind != static_cast<uint32_t>(spec.kind) || r.rows != static_cast<uint32_t>(spec.rows) ||
      r.cols != static_cast<uint32_t>(spec.cols)) {
    return Corrupt(
        path, absl::StrCat("tensor ", name, " is kind ", r.kind, ", ", r.rows, " x ", r.cols,
                           "; the config implies kind ", static_cast<uint32_t>(spec.kind), ", ",
                           spec.rows, " x ", spec.cols));
  }
  if (r.bytes != PayloadBytes(spec.kind, spec.rows, spec.cols)) {
    return Corrupt(path, absl::StrCat("tensor ", name, " has ", r.bytes, " bytes, its shape needs ",
                                      PayloadBytes(spec.kind, spec.rows, spec.cols)));
  }
  if (r.offset % kB158Align != 0 || r.offset < *end || r.offset > file.size() ||
      r.bytes > file.size() - r.offset) {
    return Corrupt(path, absl::StrCat("tensor ", name, " at offset ", r.offset, " with ", r.bytes,
                                      " bytes lies outside the file of ", file.size(), " bytes"));
  }
  *end = r.offset + r.bytes;
  return absl::OkStatus();
}

bool AllFinite(const uint8_t* data, size_t n_floats) {
  for (size_t i = 0; i < n_floats; ++i) {
    uint32_t bits;
    std::memcpy(&bits, data + i * 4, 4);
    if ((bits & 0x7f800000u) == 0x7f800000u) return false;
  }
  return true;
}

bool HalvesFinite(const uint8_t* data, size_t n_halves) {
  for (size_t i = 0; i < n_halves; ++i) {
    if ((data[2 * i + 1] & 0x7c) == 0x7c) return false;
  }
  return true;
}

absl::Status CheckValues(const std::string& path, const TensorSpec& spec, Bytes payload) {
  switch (spec.kind) {
    case TensorKind::kFloat:
      if (!AllFinite(payload.data(), payload.size() / 4)) {
        return Corrupt(path,
                       absl::StrCat("tensor ", spec.name, " holds a value that is not finite"));
      }
      return absl::OkStatus();
    case TensorKind::kTernary:
    case TensorKind::kTernaryBase3:
    case TensorKind::kTernarySherry: {
      const std::string fault = TernaryFault(spec, payload);
      if (fault.empty()) return absl::OkStatus();
      return Corrupt(path, absl::StrCat("tensor ", spec.name, " ", fault));
    }
    case TensorKind::kGroupedRows6:
    case TensorKind::kGroupedRows4: {
      const size_t scales = GroupedScaleCount(spec.rows, spec.cols);
      if (!HalvesFinite(payload.last(scales * 2).data(), scales)) {
        return Corrupt(path, absl::StrCat("tensor ", spec.name, " has a scale that is not finite"));
      }
      return absl::OkStatus();  // every code stands for a level
    }
    case TensorKind::kInt8Rows: {
      if (!AllFinite(payload.data() + Int8RowBytes(spec.rows, spec.cols),
                     Int8RowScaleCount(spec.rows))) {
        return Corrupt(path, absl::StrCat("tensor ", spec.name, " has a scale that is not finite"));
      }
      return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

B158Record RecordAt(Bytes file, size_t index) {
  B158Record record;
  std::memcpy(&record, file.data() + sizeof(B158Header) + index * sizeof(record), sizeof(record));
  return record;
}

absl::Status CheckPayload(const std::string& path, const B158Record& r, const TensorSpec& spec,
                          Bytes payload) {
  if (Xxh3(payload) != r.checksum) {
    return Corrupt(path, absl::StrCat("tensor ", spec.name, ": payload checksum mismatch"));
  }
  return CheckValues(path, spec, payload);
}

// Looks tensors up by name.
class Lookup {
 public:
  explicit Lookup(RepackedTensors* repacked) : repacked_(repacked) {}

  void Add(const TensorSpec& spec, Bytes payload) {
    Entry& entry = found_[spec.name];
    entry = {&spec, payload.data(), {}};
    if (IsTernary(spec.kind)) entry.ternary = repacked_->View(spec, payload);
  }

  const float* Float(const std::string& name) const {
    return reinterpret_cast<const float*>(found_.at(name).data);
  }
  LinearView Linear(const std::string& name) const {
    const Entry& e = found_.at(name);
    LinearView view;
    view.rows = e.spec->rows;
    view.cols = e.spec->cols;
    if (e.spec->kind == TensorKind::kFloat) {
      view.dense = reinterpret_cast<const float*>(e.data);
      return view;
    }
    view.ternary = e.ternary;
    if (found_.count(name + kHgfA) != 0) {
      view.low_rank = {Float(name + kHgfA), repacked_->Lanes(Float(name + kHgfB), view.rows),
                       *Float(name + kHgfGate)};
    }
    return view;
  }
  HeadView Head(const std::string& name) const {
    const Entry& e = found_.at(name);
    return HeadOf(*e.spec, e.data);
  }

 private:
  struct Entry {
    const TensorSpec* spec;
    const uint8_t* data;
    TernaryView ternary;
  };
  RepackedTensors* repacked_;
  std::map<std::string, Entry> found_;
};

// The tensors of one layer.
class LayerLookup {
 public:
  LayerLookup(const Lookup& at, int layer) : at_(at), layer_(layer) {}
  const float* Float(const char* rest) const { return at_.Float(LayerTensor(layer_, rest)); }
  LinearView Linear(const char* rest) const { return at_.Linear(LayerTensor(layer_, rest)); }

 private:
  const Lookup& at_;
  int layer_;
};

GatedDeltaWeights GatedDeltaViews(const LayerLookup& at) {
  GatedDeltaWeights gd;
  gd.w_in = at.Linear("gd.w_in");
  gd.w_out = at.Linear("gd.w_out");
  gd.conv = at.Float("gd.conv");
  gd.w_gates = at.Float("gd.w_gates");
  gd.a_log = at.Float("gd.a_log");
  gd.dt_bias = at.Float("gd.dt_bias");
  gd.head_norm = at.Float("gd.head_norm");
  gd.out_norm = at.Float("gd.out_norm");
  return gd;
}

MlstmWeights MlstmViews(const LayerLookup& at) {
  MlstmWeights xm;
  xm.w_in = at.Linear("xm.w_in");
  xm.w_out = at.Linear("xm.w_out");
  xm.w_gates = at.Float("xm.w_gates");
  xm.gate_bias = at.Float("xm.gate_bias");
  xm.head_norm = at.Float("xm.head_norm");
  xm.out_norm = at.Float("xm.out_norm");
  return xm;
}

TitansWeights TitansViews(const LayerLookup& at, const ModelConfig& c) {
  TitansWeights tm;
  tm.w_in = at.Linear("tm.w_in");
  tm.w_out = at.Linear("tm.w_out");
  tm.w_gates = at.Float("tm.w_gates");
  tm.block_norm = at.Float("tm.block_norm");
  tm.out_norm = at.Float("tm.out_norm");
  tm.layer = {TitansShapeOf(c),        at.Float("tm.gate_bias"),    at.Float("tm.w1"),
              at.Float("tm.w2"),       at.Float("tm.persistent_k"), at.Float("tm.persistent_v"),
              at.Float("tm.head_norm")};
  return tm;
}

MoeWeights MoeViews(const LayerLookup& at, const ModelConfig& c) {
  MoeWeights moe;
  moe.router = {at.Float("moe.router"), at.Float("moe.bias"), c.moe.n_routed, c.d_model};
  moe.w_in = at.Linear("moe.w_in");
  moe.w_out = at.Linear("moe.w_out");
  moe.out_norm = at.Float("moe.out_norm");
  return moe;
}

LayerWeights LayerViews(const Lookup& lookup, int i, const ModelConfig& c) {
  const LayerLookup at(lookup, i);
  LayerWeights layer;
  layer.kind = c.layers[static_cast<size_t>(i)];
  layer.ffn_kind = c.ffn[static_cast<size_t>(i)];
  layer.mixer_norm = at.Float("mixer_norm");
  if (layer.kind == LayerKind::kMlstm) {
    layer.xm = MlstmViews(at);
  } else if (layer.kind == LayerKind::kTitans) {
    layer.tm = TitansViews(at, c);
  } else {
    layer.gd = GatedDeltaViews(at);
    layer.gd.rule = DeltaRuleOf(c, layer.kind);
  }
  if (layer.kind == LayerKind::kSpanKnot) {
    layer.sk = {at.Float("sk.w_sketch"), at.Float("sk.w_back"), at.Float("sk.gate")};
  }
  layer.ffn_norm = at.Float("ffn_norm");
  if (layer.ffn_kind == FfnKind::kMoe) layer.moe = MoeViews(at, c);
  if (layer.ffn_kind == FfnKind::kDense) {
    layer.ffn = {at.Linear("ffn.w_in"), at.Linear("ffn.w_out"), at.Float("ffn.out_norm")};
  } else if (c.moe.n_shared > 0) {
    layer.ffn = {at.Linear("moe.shared_in"), at.Linear("moe.shared_out"),
                 at.Float("moe.shared_norm")};
  }
  return layer;
}

}  // namespace

absl::StatusOr<Weights> Weights::Map(const std::string& path, const ModelConfig& config,
                                     PayloadChecks checks) {
  Weights weights;
  CHIMERA_ASSIGN_OR_RETURN(weights.file_, MmapFile::Open(path));
  const Bytes file = weights.file_.bytes();
  if (file.size() < sizeof(B158Header)) {
    return Corrupt(path, absl::StrCat("file has ", file.size(), " bytes, its header needs ",
                                      sizeof(B158Header)));
  }
  B158Header header;
  std::memcpy(&header, file.data(), sizeof(header));
  CHIMERA_RETURN_IF_ERROR(CheckHeader(path, file, header));
  const std::vector<TensorSpec> specs = ModelLayout(config);
  if (specs.size() != header.n_tensors) {
    return Corrupt(path,
                   absl::StrCat(header.n_tensors, " tensors; the config implies ", specs.size()));
  }
  Lookup lookup(&weights.repacked_);
  uint64_t end = sizeof(B158Header) + header.table_bytes;
  for (size_t i = 0; i < specs.size(); ++i) {
    const B158Record record = RecordAt(file, i);
    CHIMERA_RETURN_IF_ERROR(CheckRecord(path, file, record, specs[i], &end));
    const Bytes payload = file.subspan(record.offset, record.bytes);
    if (checks == PayloadChecks::kNow) {
      CHIMERA_RETURN_IF_ERROR(CheckPayload(path, record, specs[i], payload));
    }
    lookup.Add(specs[i], payload);
    weights.payloads_[specs[i].name] = payload;
  }
  if (end != file.size()) return Corrupt(path, "bytes after the last tensor");
  for (int i = 0; i < config.n_layers; ++i) {
    weights.layers_.push_back(LayerViews(lookup, i, config));
  }
  weights.head_ = lookup.Head("embedding");
  weights.final_norm_ = lookup.Float("final_norm");
  if (config.loop.enabled) {
    LoopWeights& loop = weights.loop_;
    loop.norm = lookup.Float("loop.norm");
    loop.abar.resize(static_cast<size_t>(config.d_model));
    loop.bbar.resize(static_cast<size_t>(config.d_model));
    Loop().gains(lookup.Float("loop.a_log"), lookup.Float("loop.dt_bias"), lookup.Float("loop.b"),
                 config.d_model, loop.abar.data(), loop.bbar.data());
  }
  return weights;
}

absl::Status Weights::Check(const std::string& path, const ModelConfig& config,
                            const std::atomic<bool>* stop) const {
  const std::vector<TensorSpec> specs = ModelLayout(config);
  for (size_t i = 0; i < specs.size(); ++i) {
    if (stop != nullptr && stop->load()) {
      return absl::CancelledError(absl::StrCat(path, ": the check was given up"));
    }
    CHIMERA_RETURN_IF_ERROR(
        CheckPayload(path, RecordAt(file(), i), specs[i], payload(specs[i].name)));
  }
  return absl::OkStatus();
}

}  // namespace chimera
