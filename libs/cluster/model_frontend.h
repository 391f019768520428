// What a surface needs of a model: configuration and tokenizer, fetched from the knot once for each
// model id (DESIGN D22).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "config/config.h"
#include "decode/knot.h"
#include "decode/token_classes.h"
#include "grammar/grammar_cache.h"
#include "text/tokenizer.h"

namespace chimera {

// Immutable, but for what the grammars keep of their own.
struct ModelFrontend {
  std::string model_id;
  Config config;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<GrammarCache> grammars;
  std::shared_ptr<const ClassTable> classes;
};

// Thread-safe.
class FrontendCache {
 public:
  // knot is borrowed.
  explicit FrontendCache(Knot* knot) : knot_(knot) {}

  // model_id empty: the knot's current model. FAILED_PRECONDITION when the knot has no such model,
  // DATA_LOSS when its files do not fit together.
  absl::StatusOr<std::shared_ptr<const ModelFrontend>> Get(const std::string& model_id);

 private:
  Knot* const knot_;
  Mutex mutex_;
  std::vector<std::shared_ptr<const ModelFrontend>> held_ ABSL_GUARDED_BY(mutex_);  // newest last
};

}  // namespace chimera
