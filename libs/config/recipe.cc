#include "config/recipe.h"

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "config/json_reader.h"

namespace chimera {
namespace {

constexpr int kFoldersUp = 3;  // configs/recipes/x.json names configs/y.json: two folders up
constexpr int64_t kStepsMax = int64_t{1} << 40;
constexpr int64_t kTokensPerStepMax = int64_t{1} << 31;
constexpr size_t kPathBytesMax = 4096;
// MeZO without a rate of its own. On the shipped model ten times as much still learns and a hundred
// times as much diverges (docs/experiments.md).
constexpr double kMezoLr = 1e-5;
constexpr int64_t kMezoWarmupSteps = 200;
constexpr int64_t kSettlePasses = 1000;
constexpr int64_t kStepsPerSettlePass = 4;

// A relative path that stays below the folder it starts in.
bool StaysInside(const std::string& path) {
  const std::filesystem::path parts(path);
  if (path.empty() || parts.is_absolute()) return false;
  return std::none_of(parts.begin(), parts.end(), [](const auto& part) { return part == ".."; });
}

bool IsScaleName(const std::string& name) {
  constexpr size_t kNameMax = 64;
  return !name.empty() && name.size() <= kNameMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
         });
}

// The path named by a key, in base_dir or a folder above it.
absl::StatusOr<std::string> FindUpwards(const char* key, const std::string& name,
                                        const std::string& base_dir) {
  std::filesystem::path folder = base_dir.empty() ? "." : base_dir;
  for (int up = 0; up <= kFoldersUp; ++up) {
    std::error_code error;
    const std::filesystem::path candidate = folder / name;
    if (std::filesystem::exists(candidate, error)) return candidate.string();
    folder /= "..";
  }
  return absl::NotFoundError(absl::StrCat(key, " = \"", name, "\" is neither in ", base_dir,
                                          " nor in the ", kFoldersUp, " folders above it"));
}

// The model part: config file, scale file, overlay.
absl::StatusOr<Config> ReadModel(Reader& r, const std::string& overlay,
                                 const std::string& base_dir) {
  std::string config_name, scale;
  r.String("config", &config_name);
  r.Optional().String("scale", &scale);
  if (r.status().ok() && !StaysInside(config_name)) {
    r.Fail("config", "must be a relative path without \"..\"");
  }
  if (r.status().ok() && !scale.empty() && !IsScaleName(scale)) {
    r.Fail("scale", "must be a name of at most 64 of a-z, 0-9, '-' and '_'");
  }
  if (!r.status().ok()) return r.status();
  CHIMERA_ASSIGN_OR_RETURN(const std::string path, FindUpwards("config", config_name, base_dir));
  CHIMERA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kConfigBytesMax));
  std::vector<std::string> overlays;
  if (!scale.empty()) {
    const std::filesystem::path scale_path =
        std::filesystem::path(path).parent_path() / "scales" / (scale + ".json");
    CHIMERA_ASSIGN_OR_RETURN(std::string scale_text,
                             ReadFile(scale_path.string(), kConfigBytesMax));
    overlays.push_back(std::move(scale_text));
  }
  overlays.push_back(overlay);
  return ParseConfig(text, overlays);
}

void ApplyDefaults(TrainRecipe* t) {
  const PretrainConfig& p = t->config.pretrain;
  t->seq_len = p.seq_len;
  t->tokens_budget = p.tokens_budget;
  t->lr = p.lr;
  t->weight_decay = p.weight_decay;
  t->grad_clip = p.grad_clip;
}

void ReadShape(Reader& r, TrainRecipe* t) {
  int64_t seed = static_cast<int64_t>(t->seed);
  r.Int("seed", 0, INT64_MAX, &seed);
  t->seed = static_cast<uint64_t>(seed);
  r.Int("seq_len", 1, 1 << 22, &t->seq_len);
  // Without a batch of its own a recipe keeps the config's tokens per step.
  t->batch_seqs = static_cast<int>(
      std::clamp<int64_t>(t->config.pretrain.batch_tokens / t->seq_len, 1, 1 << 20));
  r.Int("batch_seqs", 1, 1 << 20, &t->batch_seqs);
  if (r.status().ok() && t->TokensPerStep() > kTokensPerStepMax) {
    r.Fail("batch_seqs", absl::StrCat("times seq_len is ", t->TokensPerStep(),
                                      " tokens per step, at most ", kTokensPerStepMax));
  }
  r.Int("steps", 0, kStepsMax, &t->steps);
  r.Float("max_minutes", 0, 1e7, &t->max_minutes);
  r.Int("tokens_budget", 0, INT64_MAX / 2, &t->tokens_budget);
  if (r.status().ok() && t->steps == 0 && t->tokens_budget == 0 && t->max_minutes == 0) {
    r.Fail("steps", "is not set, nor is tokens_budget or max_minutes: training would not end");
  }
}

void ReadStart(Reader& r, TrainRecipe* t) {
  r.String("init_model", &t->init_model);
  if (r.status().ok() && t->init_model.size() > kPathBytesMax) {
    r.Fail("init_model", absl::StrCat("has more than ", kPathBytesMax, " bytes"));
  }
}

// Keys of another optimizer would be without effect: better to say so than to train differently.
void RefuseKeys(Reader& r, std::initializer_list<const char*> keys, OptimizerKind owner) {
  for (const char* key : keys) {
    if (r.status().ok() && r.Has(key)) {
      r.Fail(key, absl::StrCat("acts only with train.optimizer = \"", OptimizerName(owner), "\""));
    }
  }
}

void ReadOptimizerKind(Reader& r, TrainRecipe* t) {
  std::string name = OptimizerName(t->optimizer);
  r.String("optimizer", &name);
  if (name == OptimizerName(OptimizerKind::kMezo)) {
    t->optimizer = OptimizerKind::kMezo;
    t->lr = kMezoLr;
    t->grad_clip = 0;
    RefuseKeys(r, {"beta1", "beta2", "eps", "grad_clip", "gradient_checkpointing"},
               OptimizerKind::kAdamW);
    return;
  }
  if (r.status().ok() && name != OptimizerName(OptimizerKind::kAdamW)) {
    r.Fail("optimizer", "must be \"adamw\" or \"mezo\"");
  }
  RefuseKeys(r, {"mezo_eps"}, OptimizerKind::kMezo);
}

void ReadSchedule(Reader& r, TrainRecipe* t) {
  r.Float("lr", 0, 10, &t->lr);
  r.Float("lr_min_ratio", 0, 1, &t->lr_min_ratio);
  // A short run warms up for at most a tenth of its steps.
  const int64_t total = t->StepsTotal();
  t->warmup_steps =
      t->optimizer == OptimizerKind::kMezo ? kMezoWarmupSteps : t->config.pretrain.warmup_steps;
  if (total > 0) t->warmup_steps = std::min(t->warmup_steps, total / 10);
  r.Int("warmup_steps", 0, kStepsMax, &t->warmup_steps);
  if (r.status().ok() && total > 0 && t->warmup_steps >= total) {
    r.Fail("warmup_steps", absl::StrCat("must be below the ", total, " steps of the run"));
  }
}

void ReadOptimizer(Reader& r, TrainRecipe* t) {
  ReadOptimizerKind(r, t);
  ReadSchedule(r, t);
  r.Float("weight_decay", 0, 10, &t->weight_decay);
  if (t->optimizer == OptimizerKind::kMezo) {
    r.Float("mezo_eps", 1e-6, 1, &t->mezo_eps);
    return;
  }
  r.Float("beta1", 0, 0.999999, &t->beta1);
  r.Float("beta2", 0, 0.999999, &t->beta2);
  r.Float("eps", 1e-16, 1, &t->eps);
  r.Float("grad_clip", 0, 1e6, &t->grad_clip);
  r.Bool("gradient_checkpointing", &t->gradient_checkpointing);
}

void ReadRun(Reader& r, TrainRecipe* t) {
  const int64_t total = t->StepsTotal();
  t->expert_settle_passes =
      total > 0 ? std::min(kSettlePasses, total / kStepsPerSettlePass) : kSettlePasses;
  r.Int("expert_settle_passes", 0, 100'000, &t->expert_settle_passes);
  r.Int("eval_every_steps", 0, kStepsMax, &t->eval_every_steps);
  r.Int("eval_bytes", 1, int64_t{1} << 40, &t->eval_bytes);
  r.Float("valid_fraction", 0, 0.5, &t->valid_fraction);
  r.Int("log_every_steps", 1, kStepsMax, &t->log_every_steps);
  r.Int("checkpoint_interval_s", 0, 24 * 3600, &t->checkpoint_interval_s);
  r.Int("threads", 0, 1024, &t->threads);
}

}  // namespace

const char* OptimizerName(OptimizerKind kind) {
  return kind == OptimizerKind::kMezo ? "mezo" : "adamw";
}

int64_t TrainRecipe::StepsTotal() const {
  int64_t total = steps;
  if (tokens_budget > 0 && TokensPerStep() > 0) {
    const int64_t by_tokens = (tokens_budget - 1) / TokensPerStep() + 1;
    total = total == 0 ? by_tokens : std::min(total, by_tokens);
  }
  return total;
}

absl::StatusOr<TrainRecipe> ParseRecipe(const std::string& json_text, const std::string& base_dir) {
  CHIMERA_ASSIGN_OR_RETURN(JsonDocument document, JsonDocument::Parse(json_text, "recipe"));
  const std::string overlay = document.DumpAt("overlay");
  document.Erase({"overlay"});  // its keys are the config's affair
  Reader root(document);
  TrainRecipe recipe;
  CHIMERA_ASSIGN_OR_RETURN(recipe.config, ReadModel(root, overlay, base_dir));
  ApplyDefaults(&recipe);
  Reader train = root.Optional().At("train").Optional();
  ReadShape(train, &recipe);
  ReadStart(train, &recipe);
  ReadOptimizer(train, &recipe);
  ReadRun(train, &recipe);
  root.RejectUnread(document);
  if (!root.status().ok()) return root.status();
  return recipe;
}

absl::StatusOr<TrainRecipe> LoadRecipe(const std::string& path) {
  CHIMERA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kConfigBytesMax));
  const std::string folder = std::filesystem::path(path).parent_path().string();
  absl::StatusOr<TrainRecipe> recipe = ParseRecipe(text, folder.empty() ? "." : folder);
  if (!recipe.ok()) {
    return absl::Status(recipe.status().code(),
                        absl::StrCat(path, ": ", recipe.status().message()));
  }
  if (!recipe->init_model.empty() && std::filesystem::path(recipe->init_model).is_relative()) {
    CHIMERA_ASSIGN_OR_RETURN(recipe->init_model,
                             FindUpwards("train.init_model", recipe->init_model, folder));
  }
  return recipe;
}

}  // namespace chimera
