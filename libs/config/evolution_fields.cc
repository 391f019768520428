#include "config/evolution_fields.h"

#include "absl/strings/str_cat.h"

namespace chimera {
namespace {

constexpr int64_t kCaseBytes = 2048;
constexpr int64_t kGuidelineBytes = 2 * 1024 + 2048 + 24;  // two vectors, the longest text, figures

void ReadMemoryGrowth(Reader& root, EvolutionConfig* e) {
  Reader semantic = root.At("semantic_memory");
  semantic.ActsIn("memory/evolution.h: write gate, validation, fixed pool");
  semantic.FixedString("write_policy", "surprise_threshold_plus_contrastive_validation");
  semantic.FixedString("forgetting_policy", "fixed_pool_exponential_decay");
  semantic.FixedBool("pool_size_fixed", true);
  Reader thresholds = root.At("diagnostics").At("thresholds");
  thresholds.ActsIn("memory/evolution.h: mean benefit below which a fact is dropped");
  thresholds.Float("min_contrastive_benefit", -1, 1, &e->min_benefit);

  Reader r = root.At("self_evolution").At("tier1").At("memory_growth");
  r.ActsIn("memory/evolution.h: whether a session's own facts are kept");
  r.Bool("enabled", &e->memory_growth);
  r.ActsIn("memory/evolution.h: the write gate");
  r.FixedString("surprise_threshold", "titans_gradient_magnitude_above_2_sigma");
  r.Int("max_per_session", 0, 1'000'000, &e->writes_per_session);
  r.ActsIn("memory/evolution.h: whether an eighth of the facts is evaluated");
  r.Bool("contrastive_validation", &e->contrastive_validation);
  r.ActsIn("memory/evolution.h: whether the user may store facts, which are pinned");
  r.Bool("user_explicit_store", &e->user_store);
  r.ActsIn("memory/evolution.h: the fixed pool");
  r.FixedBool("pool_fixed", true);
  r.FixedString("forgetting", "random_drop_k_append_k");
  r.FixedString("pruning", "low_retrieval_weight_eviction");
  r.FixedBool("persistent", true);
}

void ReadExperience(Reader& root, EvolutionConfig* e) {
  Reader tier = root.At("self_evolution").At("tier2");
  Reader guidelines = tier.At("meta_guidelines");
  guidelines.ActsIn("memory/evolution.h: guidelines");
  guidelines.Bool("enabled", &e->guidelines);
  guidelines.Int("max", 1, 4096, &e->guidelines_max);
  guidelines.FixedString("format", "8192bit_xor");
  guidelines.FixedString("trigger", "contrastive_eval_negative");
  Reader cases = tier.At("episodic_cases");
  cases.ActsIn("memory/evolution.h: episodic cases");
  cases.Bool("enabled", &e->cases);
  cases.FixedString("retrieval", "soft_q_learning");
  cases.Int("max_cases", 1, 65536, &e->cases_max);
  cases.FixedInt("case_bytes", kCaseBytes);
  cases.FixedString("weight_update", "outcome_based_ema");
}

// A table that could not be filled below its ceiling is a mistake in the file.
void CheckCeiling(Reader& r, const std::string& key, int64_t n, int64_t bytes_each, int64_t mb) {
  if (!r.status().ok() || n * bytes_each <= mb << 20) return;
  r.Fail(key, absl::StrCat("is too small: ", n, " entries of ", bytes_each, " bytes take ",
                           n * bytes_each, " bytes"));
}

void ReadSafety(Reader& root, EvolutionConfig* e) {
  Reader r = root.At("self_evolution").At("safety");
  r.ActsIn("memory/evolution.h: what freezes learning");
  r.FixedString("monitor", "certificate_failure_rate_and_rollback_rate");
  r.Float("freeze_threshold", 0, 1, &e->freeze_threshold);
  if (r.status().ok() && (e->freeze_threshold <= 0 || e->freeze_threshold >= 1)) {
    r.Fail("freeze_threshold", "must be above 0 and below 1");
  }
  r.ActsIn("memory/evolution.h: whether a freeze restores the last good snapshot");
  r.Bool("rollback_on_degradation", &e->rollback);
  r.ActsIn("memory/evolution.h: a user's state file, and its reset");
  r.FixedBool("user_reset", true);
  r.String("state_file", &e->state_file);
  if (r.status().ok() &&
      (e->state_file.empty() || e->state_file.size() > 128 || e->state_file[0] == '.' ||
       e->state_file.find_first_of(std::string("/\\\0", 3)) != std::string::npos)) {
    r.Fail("state_file", "must be a file name of 1 to 128 bytes without a slash or leading dot");
  }
  Reader growth = r.At("max_growth_mb");
  growth.ActsIn("memory/evolution.h: ceilings, checked before a write");
  growth.Int("memory", 0, 1 << 20, &e->memory_mb);
  growth.Int("span_bank", 0, 1 << 20, &e->span_bank_mb);
  growth.Int("episodic", 0, 1 << 20, &e->episodic_mb);
  growth.Int("guidelines", 0, 1 << 20, &e->guidelines_mb);
  CheckCeiling(growth, "episodic", e->cases ? e->cases_max : 0, kCaseBytes, e->episodic_mb);
  CheckCeiling(growth, "guidelines", e->guidelines ? e->guidelines_max : 0, kGuidelineBytes,
               e->guidelines_mb);
}

}  // namespace

void ReadEvolutionFields(Reader& root, EvolutionConfig* out) {
  ReadMemoryGrowth(root, out);
  ReadExperience(root, out);
  ReadSafety(root, out);
}

}  // namespace chimera
