#include "config/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "base/string_view.h"

namespace chimera {
namespace {

using testing::HasSubstr;

const std::string kRecipes = std::string(CHIMERA_SOURCE_DIR) + "/configs/recipes";

// A nano GD/XM model with a train section.
std::string RecipeText(const std::string& train) {
  return R"({"config":"configs/chimera-5.3.json","scale":"nano","overlay":{
    "backbone":{"layer_pattern":"GD XM","layer_pattern_repeat":4,"moe":{"enabled":false}},
    "looping":{"enabled":false}},"train":)" +
         train + "}";
}

std::string ErrorOf(const std::string& text) {
  auto recipe = ParseRecipe(text, kRecipes);
  return recipe.ok() ? "loaded" : std::string(ToStd(recipe.status().message()));
}

TEST(Recipe, SmokeLoads) {
  auto recipe = LoadRecipe(kRecipes + "/smoke.json");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ(recipe->config.model.n_layers, 2);
  EXPECT_EQ(recipe->config.model.d_model, 64);
  EXPECT_EQ(recipe->config.model.vocab_size, 1080);
  EXPECT_EQ(recipe->config.tokens.n_ranks, 1024);
  EXPECT_EQ(recipe->steps, 60);
  EXPECT_EQ(recipe->StepsTotal(), 60);
  EXPECT_TRUE(CheckTrainable(recipe->config).ok());
}

TEST(Recipe, NanoBooksLoads) {
  auto recipe = LoadRecipe(kRecipes + "/nano-books.json");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ(recipe->config.model.d_model, 256);
  EXPECT_EQ(recipe->config.model.n_heads, 4);
  EXPECT_EQ(recipe->config.model.d_ff, 704);
  EXPECT_EQ(recipe->config.model.n_layers, 8);
  EXPECT_GT(recipe->StepsTotal(), 0);
  EXPECT_TRUE(CheckTrainable(recipe->config).ok());
}

TEST(Recipe, EveryShippedRecipeIsTrainable) {
  int recipes = 0;
  for (const auto& file : std::filesystem::directory_iterator(kRecipes)) {
    auto recipe = LoadRecipe(file.path().string());
    ASSERT_TRUE(recipe.ok()) << recipe.status();
    EXPECT_TRUE(CheckTrainable(recipe->config).ok()) << file.path();
    EXPECT_GT(recipe->StepsTotal(), 0) << file.path();
    ++recipes;
  }
  EXPECT_GE(recipes, 3);
}

TEST(Recipe, DefaultsComeFromThePretrainPhase) {
  auto recipe = ParseRecipe(RecipeText("{}"), kRecipes);
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ(recipe->seq_len, 4096);
  EXPECT_EQ(recipe->batch_seqs, 976);  // 4M tokens
  EXPECT_EQ(recipe->lr, 3e-4);
  EXPECT_EQ(recipe->weight_decay, 0.1);
  EXPECT_EQ(recipe->grad_clip, 1.0);
  EXPECT_EQ(recipe->warmup_steps, 2000);
  EXPECT_EQ(recipe->tokens_budget, 2'000'000'000'000);
  EXPECT_EQ(recipe->StepsTotal(), (2'000'000'000'000 + 4096 * 976 - 1) / (4096 * 976));
}

TEST(Recipe, EveryTrainKeyIsRead) {
  auto r =
      ParseRecipe(RecipeText(R"({"seed":9223372036854775807,"seq_len":64,"batch_seqs":2,"steps":100,
      "max_minutes":1.5,"tokens_budget":6401,"lr":0.01,"lr_min_ratio":0.2,"warmup_steps":7,
      "weight_decay":0.3,"beta1":0.8,"beta2":0.9,"eps":1e-6,"grad_clip":0.5,"eval_every_steps":11,
      "eval_bytes":12,"valid_fraction":0.25,"log_every_steps":3,"checkpoint_interval_s":13,
      "threads":2,"expert_settle_passes":14,"optimizer":"adamw",
      "gradient_checkpointing":true,"init_model":"m"})"),
                  kRecipes);
  ASSERT_TRUE(r.ok()) << r.status();
  TrainRecipe want;
  want.config = r->config;
  want.seed = 9223372036854775807u;
  want.seq_len = 64;
  want.batch_seqs = 2;
  want.steps = 100;
  want.max_minutes = 1.5;
  want.tokens_budget = 6401;
  want.lr = 0.01;
  want.lr_min_ratio = 0.2;
  want.warmup_steps = 7;
  want.weight_decay = 0.3;
  want.beta1 = 0.8;
  want.beta2 = 0.9;
  want.eps = 1e-6;
  want.grad_clip = 0.5;
  want.eval_every_steps = 11;
  want.eval_bytes = 12;
  want.valid_fraction = 0.25;
  want.log_every_steps = 3;
  want.checkpoint_interval_s = 13;
  want.threads = 2;
  want.expert_settle_passes = 14;
  want.optimizer = OptimizerKind::kAdamW;
  want.gradient_checkpointing = true;
  want.init_model = "m";
  EXPECT_EQ(*r, want);
  EXPECT_EQ(r->StepsTotal(), 51);  // ceil(6401 / 128), before the 100 steps
}

TEST(Recipe, MezoHasDefaultsOfItsOwn) {
  auto r = ParseRecipe(RecipeText(R"({"optimizer":"mezo","steps":5000})"), kRecipes);
  ASSERT_TRUE(r.ok()) << r.status();
  EXPECT_EQ(r->optimizer, OptimizerKind::kMezo);
  EXPECT_EQ(r->lr, 1e-5);
  EXPECT_EQ(r->mezo_eps, 1e-3);
  EXPECT_EQ(r->warmup_steps, 200);
  EXPECT_EQ(r->grad_clip, 0);
  r = ParseRecipe(RecipeText(R"({"optimizer":"mezo","steps":60,"lr":1e-3,"mezo_eps":0.01,
      "weight_decay":0,"warmup_steps":3,"init_model":"models/mine"})"),
                  kRecipes);
  ASSERT_TRUE(r.ok()) << r.status();
  EXPECT_EQ(r->lr, 1e-3);
  EXPECT_EQ(r->mezo_eps, 0.01);
  EXPECT_EQ(r->weight_decay, 0);
  EXPECT_EQ(r->warmup_steps, 3);
  EXPECT_EQ(r->init_model, "models/mine");
}

TEST(Recipe, KeysOfTheOtherOptimizerAreRefused) {
  for (const char* key : {"beta1", "beta2", "eps", "grad_clip"}) {
    EXPECT_THAT(ErrorOf(RecipeText(R"({"optimizer":"mezo",")" + std::string(key) + "\":0.5}")),
                HasSubstr("train." + std::string(key) +
                          " = 0.5 acts only with train.optimizer = \"adamw\""));
  }
  EXPECT_THAT(ErrorOf(RecipeText(R"({"optimizer":"mezo","gradient_checkpointing":true})")),
              HasSubstr("train.gradient_checkpointing = true acts only with"));
  EXPECT_THAT(ErrorOf(RecipeText(R"({"mezo_eps":0.5})")),
              HasSubstr("train.mezo_eps = 0.5 acts only with train.optimizer = \"mezo\""));
  EXPECT_THAT(ErrorOf(RecipeText(R"({"optimizer":"sgd"})")),
              HasSubstr("train.optimizer = \"sgd\" must be \"adamw\" or \"mezo\""));
  EXPECT_THAT(ErrorOf(RecipeText(R"({"optimizer":"mezo","mezo_eps":0})")),
              HasSubstr("train.mezo_eps = 0 is outside"));
  EXPECT_THAT(ErrorOf(RecipeText(R"({"init_model":7})")),
              HasSubstr("train.init_model = 7 must be"));
}

TEST(Recipe, InitModelIsFoundLikeTheConfig) {
  const auto load = [&](const std::string& model) {
    // The recipe lies elsewhere, so its config is the shipped one by a copy beside it.
    const std::string root = testing::TempDir() + "/recipe_init_" + std::to_string(getpid());
    std::filesystem::create_directories(root + "/configs/recipes");
    std::filesystem::create_directories(root + "/models/mine");
    std::filesystem::copy(std::string(CHIMERA_SOURCE_DIR) + "/configs", root + "/configs",
                          std::filesystem::copy_options::recursive |
                              std::filesystem::copy_options::overwrite_existing);
    const std::string file = root + "/configs/recipes/init.json";
    EXPECT_TRUE(WriteFileAtomic(file, RecipeText("{\"init_model\":\"" + model + "\"}")).ok());
    auto recipe = LoadRecipe(file);
    std::filesystem::remove_all(root);
    return recipe;
  };
  auto found = load("models/mine");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(found->init_model, testing::EndsWith("/models/mine"));
  EXPECT_TRUE(std::filesystem::path(found->init_model).is_absolute());
  EXPECT_EQ(load("/some/where")->init_model, "/some/where");
  EXPECT_THAT(std::string(ToStd(load("models/other").status().message())),
              HasSubstr("train.init_model = \"models/other\" is neither in"));
}

TEST(Recipe, ShortRunsWarmUpShortly) {
  auto recipe = ParseRecipe(RecipeText(R"({"steps":60})"), kRecipes);
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ(recipe->warmup_steps, 6);
  EXPECT_THAT(ErrorOf(RecipeText(R"({"steps":60,"warmup_steps":60})")),
              HasSubstr("train.warmup_steps = 60 must be below the 60 steps"));
}

TEST(Recipe, ErrorsNameTheKey) {
  EXPECT_THAT(ErrorOf(RecipeText(R"({"learning_rate":1})")),
              HasSubstr("train.learning_rate is an unknown key"));
  EXPECT_THAT(ErrorOf(RecipeText(R"({"lr":"fast"})")),
              HasSubstr("train.lr = \"fast\" must be a number"));
  EXPECT_THAT(ErrorOf(RecipeText(R"({"seed":-1})")), HasSubstr("train.seed = -1 is outside"));
  EXPECT_THAT(ErrorOf(RecipeText(R"({"seq_len":4194304,"batch_seqs":1048576})")),
              HasSubstr("train.batch_seqs = 1048576 times seq_len is"));
  EXPECT_THAT(ErrorOf(RecipeText(R"({"tokens_budget":0})")), HasSubstr("training would not end"));
  EXPECT_THAT(ErrorOf(R"({"config":"configs/chimera-5.3.json","optimizer":1})"),
              HasSubstr("optimizer is an unknown key"));
  EXPECT_THAT(ErrorOf(R"({"config":"configs/chimera-5.3.json","overlay":{"x":1}})"),
              HasSubstr("x is an unknown key"));
  EXPECT_THAT(ErrorOf(R"({"config":"configs/chimera-5.3.json","overlay":[]})"),
              HasSubstr("must be an object"));
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("config is missing"));
}

TEST(Recipe, PathsStayInside) {
  for (const char* path : {"/etc/passwd", "../../configs/chimera-5.3.json", "a/../../b", ""}) {
    EXPECT_THAT(ErrorOf("{\"config\":\"" + std::string(path) + "\"}"),
                HasSubstr("must be a relative path"))
        << path;
  }
  for (const char* scale : {"../nano", "nano/x", "NANO", ".."}) {
    EXPECT_THAT(
        ErrorOf(R"({"config":"configs/chimera-5.3.json","scale":")" + std::string(scale) + "\"}"),
        HasSubstr("scale = "))
        << scale;
  }
  EXPECT_THAT(ErrorOf(R"({"config":"configs/none.json"})"), HasSubstr("is neither in"));
}

}  // namespace
}  // namespace chimera
