// A model folder, loaded: weights mapped from weights.b158, config.json, tokenizer.model and the
// manifest.json that names them all. The id is the SHA-256 of manifest.json (DESIGN D22).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "layers/span_knot.h"
#include "model/weights.h"
#include "text/tokenizer.h"

namespace chimera {

// Immutable; share it by shared_ptr and every stream may read it.
class Model {
 public:
  // Checks every file against the manifest's sizes and digests, the weights against the shapes the
  // config implies, and the tokenizer against vocab_size. Errors name the file and the fault.
  static absl::StatusOr<std::shared_ptr<const Model>> Load(const std::string& folder);
  // The same without reading the payloads of the weights: at once, whatever their size. The rest of
  // the checks is CheckWeights.
  static absl::StatusOr<std::shared_ptr<const Model>> Map(const std::string& folder);
  // The weights' digest, checksums and values, in the mapped bytes. Takes as long as reading them;
  // CANCELLED when *stop (may be null) became true.
  absl::Status CheckWeights(const std::atomic<bool>* stop) const;

  const std::string& id() const { return id_; }  // 64 hex digits
  const std::string& folder() const { return folder_; }
  const Config& config() const { return config_; }
  const ModelConfig& shape() const { return config_.model; }
  const Weights& weights() const { return weights_; }
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  // What the SK layers share; null without such layers.
  const SpanKnot* knot() const { return knot_.has_value() ? &*knot_ : nullptr; }
  int64_t weight_bytes() const { return weights_.file_bytes(); }

 private:
  Model() = default;
  static absl::StatusOr<std::shared_ptr<const Model>> Open(const std::string& folder,
                                                           PayloadChecks checks);
  std::string id_;
  std::string folder_;
  Config config_;
  Weights weights_;
  std::string weights_sha256_;  // that the manifest names
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::optional<SpanKnot> knot_;
};

// Files of a model folder besides the manifest, in manifest order.
inline constexpr char kManifestFile[] = "manifest.json";
inline constexpr char kWeightsFile[] = "weights.b158";
inline constexpr char kConfigFile[] = "config.json";
inline constexpr char kTokenizerFile[] = "tokenizer.model";

// Writes manifest.json for the three files already in the folder; returns the model id.
absl::StatusOr<std::string> WriteManifest(const std::string& folder, const std::string& name);

}  // namespace chimera
