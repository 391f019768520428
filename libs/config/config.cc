#include "config/config.h"

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "config/config_fields.h"
#include "config/json_reader.h"
#include "config/registry.h"

namespace chimera {
namespace {

// A changed pattern makes inherited counts wrong: they go, unless the overlay brings its own.
void ApplyOverlay(const JsonDocument& overlay, JsonDocument* document) {
  const bool changes_pattern = overlay.Has({"backbone", "layer_pattern"}) ||
                               overlay.Has({"backbone", "layer_pattern_repeat"});
  if (changes_pattern && !overlay.Has({"backbone", "layer_counts"})) {
    document->Erase({"backbone", "layer_counts"});
  }
  document->MergePatch(overlay);
}

absl::Status Named(const absl::Status& status, const std::string& name) {
  return absl::Status(status.code(), absl::StrCat(name, ": ", status.message()));
}

}  // namespace

absl::StatusOr<Config> ParseConfig(const std::string& json_text,
                                   const std::vector<std::string>& overlay_texts) {
  CHIMERA_ASSIGN_OR_RETURN(JsonDocument document, JsonDocument::Parse(json_text, "config"));
  for (size_t i = 0; i < overlay_texts.size(); ++i) {
    CHIMERA_ASSIGN_OR_RETURN(
        const JsonDocument overlay,
        JsonDocument::Parse(overlay_texts[i], absl::StrCat("overlay ", i + 1)));
    ApplyOverlay(overlay, &document);
  }
  CHIMERA_ASSIGN_OR_RETURN(ConfigRead read, ReadConfigFields(document));
  CHIMERA_RETURN_IF_ERROR(CoverLeaves(document.Leaves(), read.claims).status());
  read.config.text = document.Dump();
  return std::move(read.config);
}

absl::StatusOr<Config> LoadConfig(const std::string& path,
                                  const std::vector<std::string>& overlay_paths) {
  CHIMERA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kConfigBytesMax));
  std::vector<std::string> overlays;
  for (const std::string& overlay_path : overlay_paths) {
    CHIMERA_ASSIGN_OR_RETURN(std::string overlay, ReadFile(overlay_path, kConfigBytesMax));
    overlays.push_back(std::move(overlay));
  }
  absl::StatusOr<Config> config = ParseConfig(text, overlays);
  if (!config.ok()) return Named(config.status(), path);
  return config;
}

std::string ConfigJson(const Config& config) { return config.text; }

absl::Status CheckTrainable(const Config& config) {
  const Switches& s = config.switches;
  for (const auto& [on, key] : {std::pair{s.byte_level, "byte_level.enabled"},
                                {s.distillation, "training.distillation_init.enabled"}}) {
    if (on) {
      return absl::InvalidArgumentError(
          absl::StrCat(key, " = true is not supported yet; docs/config.md names its feature"));
    }
  }
  return absl::OkStatus();
}

const char* LayerKindName(LayerKind kind) {
  switch (kind) {
    case LayerKind::kGatedDelta:
      return "GD";
    case LayerKind::kMlstm:
      return "XM";
    case LayerKind::kTitans:
      return "TM";
    case LayerKind::kSpanKnot:
      return "SK";
  }
  return "??";
}

const char* FfnKindName(FfnKind kind) { return kind == FfnKind::kDense ? "dense" : "moe"; }

}  // namespace chimera
