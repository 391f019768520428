// The model configuration: one JSON file (configs/chimera-5.3.json), any number of overlays on top
// (JSON merge patch, RFC 7396), read once into typed values. The config is the program (DESIGN D3):
// every key is claimed by the read that uses it, or listed in config/registry.h; an unknown key, a
// wrong type or an impossible combination is an error that names the key path.
//
// Errors: INVALID_ARGUMENT with the key path, the value and the limit; NOT_FOUND and
// RESOURCE_EXHAUSTED from reading files (1 MiB each). Functions here are thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/model_config.h"

namespace chimera {

inline constexpr size_t kConfigBytesMax = 1 << 20;

// Ids the tokenizer fixes. A vocabulary is the whole of o200k (200,073 ids) or its first n_ranks
// merges plus 56 specials (DESIGN D7).
struct TokenIds {
  int n_ranks = 0;      // ids 0..n_ranks-1 are byte sequences
  int eot = 0;          // end of text: starts and ends every document
  int eop = 0;          // end of prompt
  int first_agent = 0;  // the first of 54 agent specials, in order
  int pad = 0;          // the second entry of token_ids

  bool operator==(const TokenIds&) const = default;
};

// Defaults of a request that does not say otherwise.
struct GenerationConfig {
  double temperature = 0.7;
  double top_p = 0.92;
  double repetition_penalty = 1.08;
  int max_new_tokens = 4096;
  bool do_sample = true;  // false: greedy
  bool stream = true;

  bool operator==(const GenerationConfig&) const = default;
};

struct DeploymentConfig {
  int max_streams = 16;
  int per_stream_mb = 30;  // MiB, at the default loop count (DESIGN D14)
  bool mmap_weights = true;
  int watchdog_tick_ms = 20;
  int watchdog_max_overruns = 8;
  bool memory_limit_enforced = true;  // safety.memory_limit_enforced

  bool operator==(const DeploymentConfig&) const = default;
};

// training.phases[pretrain]: defaults of a training recipe (config/recipe.h).
struct PretrainConfig {
  std::string schedule = "cosine_warmup";
  int64_t tokens_budget = 0;
  int64_t batch_tokens = 0;
  int seq_len = 4096;
  double lr = 3e-4;
  int warmup_steps = 2000;
  double weight_decay = 0.1;
  double grad_clip = 1.0;

  bool operator==(const PretrainConfig&) const = default;
};

// The semantic memory's sizes.
struct MemoryConfig {
  int vector_bits = 8192;
  int64_t capacity = 200000;  // facts, all users together
  int64_t relations = 500000;
  int lsh_tables = 64;
  int lsh_bits_per_table = 14;
  int hot_cache_entries = 16384;

  bool operator==(const MemoryConfig&) const = default;
};

// self_evolution and semantic_memory's policies: what is learned after training, and its limits.
// Ceilings are in MiB.
struct EvolutionConfig {
  bool memory_growth = true;           // tier1.memory_growth.enabled
  bool contrastive_validation = true;  // tier1.memory_growth
  bool user_store = true;              // tier1.memory_growth.user_explicit_store
  int writes_per_session = 1000;       // tier1.memory_growth.max_per_session
  bool guidelines = true;              // tier2.meta_guidelines.enabled
  int guidelines_max = 256;            // tier2.meta_guidelines.max
  bool cases = true;                   // tier2.episodic_cases.enabled
  int cases_max = 4096;                // tier2.episodic_cases.max_cases
  double min_benefit = 0.0;            // diagnostics.thresholds.min_contrastive_benefit
  double freeze_threshold = 0.05;      // safety
  bool rollback = true;                // safety.rollback_on_degradation
  int memory_mb = 512;                 // safety.max_growth_mb
  int span_bank_mb = 128;              // safety.max_growth_mb
  int episodic_mb = 8;                 // safety.max_growth_mb
  int guidelines_mb = 2;               // safety.max_growth_mb
  std::string state_file;              // safety: the name of a user's state file

  bool operator==(const EvolutionConfig&) const = default;
};

// One entry of memory_budget_mb, in MiB.
struct BudgetLabel {
  std::string name;
  int64_t mb = 0;

  bool operator==(const BudgetLabel&) const = default;
};

struct BudgetLabels {
  std::vector<BudgetLabel> parts;
  int64_t total_mb = 0;
  int64_t growth_ceiling_mb = 0;
  int64_t max_with_growth_mb = 0;

  bool operator==(const BudgetLabels&) const = default;
};

struct DiagnosticsConfig {
  bool telemetry = true;
  int report_interval_tokens = 256;
  std::vector<std::string> metrics;
  std::vector<std::pair<std::string, double>> thresholds;

  bool operator==(const DiagnosticsConfig&) const = default;
};

struct GrammarConfig {
  bool enabled = true;             // off: a request with a grammar is refused
  std::vector<std::string> modes;  // those that a request may name
  int storage_mb = 64;             // grammars and masks that are kept
  bool mask_cache = true;          // off: every mask is built again
  bool jit = true;                 // off: masks near the beginning are built with the grammar

  bool operator==(const GrammarConfig&) const = default;
};

// What pulls on a text under a grammar mode. Names are those of the file, all of them known.
struct GuidanceConfig {
  std::vector<std::string> hard_constraints;  // grammar
  std::vector<std::string> soft_constraints;  // grammar
  std::vector<std::string> obligations;       // debt_ledger
  int max_debts = 64;                         // debt_ledger.max_outstanding
  float pressure_weight = 0.3f;               // debt_ledger

  bool operator==(const GuidanceConfig&) const = default;
};

// Parts that can be switched on and off. The registry says which of them act already.
struct Switches {
  bool byte_level = false;      // byte_level
  bool multimodal = false;      // multimodal
  bool distillation = false;    // training.distillation_init
  bool span_inference = false;  // span_inference
  bool entropy_valve = false;   // entropy_valve
  bool debt_ledger = false;     // debt_ledger

  bool operator==(const Switches&) const = default;
};

// A loaded configuration. The typed fields are a view of `text`: change a value through an overlay,
// not through a field. Value type, *immutable* by convention.
struct Config {
  std::string version;  // "5.3.0"
  ModelConfig model;    // model.name is _name_or_path
  TokenIds tokens;
  GenerationConfig generation;
  DeploymentConfig deployment;
  PretrainConfig pretrain;
  MemoryConfig memory;
  EvolutionConfig evolution;
  DiagnosticsConfig diagnostics;
  GrammarConfig grammar;
  GuidanceConfig guidance;
  Switches switches;
  BudgetLabels budget;
  // params.*, backbone.moe.{total,active}_params: what the file calls its sizes ("2.3B"). Printed
  // beside the counted numbers, never computed with.
  std::vector<std::pair<std::string, std::string>> size_labels;
  std::string text;  // the merged JSON

  // Everything above follows from the text.
  bool operator==(const Config& other) const { return text == other.text; }
};

// Reads a file and applies the overlay files in order.
absl::StatusOr<Config> LoadConfig(const std::string& path,
                                  const std::vector<std::string>& overlay_paths = {});

// The same on texts. An overlay that changes backbone.layer_pattern or layer_pattern_repeat drops
// the layer_counts below it unless it brings its own.
absl::StatusOr<Config> ParseConfig(const std::string& json_text,
                                   const std::vector<std::string>& overlay_texts = {});

// The merged JSON a model folder stores: ParseConfig(ConfigJson(c)) == c.
std::string ConfigJson(const Config& config);

// OK when today's trainer and server run this model: GD and XM layers, dense FFN, no loops. The
// overload for Config also refuses switches whose feature is not there yet.
absl::Status CheckTrainable(const Config& config);

// "GD", "XM", "TM", "SK"; "dense", "moe".
const char* LayerKindName(LayerKind kind);
const char* FfnKindName(FfnKind kind);

}  // namespace chimera
