// What a text in front is worth to the shipped model, here and over the wire.
#include "cluster/contrast.h"

#include <gtest/gtest.h>

#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "model/model.h"
#include "services/serving_testing.h"
#include "train/eval.h"

namespace chimera {
namespace {

constexpr const char* kModel = CHIMERA_SOURCE_DIR "/models/nano";

// Nobody's words, so that the model cannot know them.
constexpr const char* kTexts[] = {
    "The ferryman Oskar Brandvold counted eleven copper lanterns before he rowed to the island of "
    "Wexmere, where the widow Tamsin kept her bees.",
    "Seven grey horses stood in the yard of the Halloway mill, and the miller's daughter had "
    "painted a green star on every one of their doors.",
    "Doctor Quillfeather wrote in his diary that the clock of Saint Orban had struck thirteen on "
    "the night when the river turned its course."};

class ContrastTest : public testing::Test {
 protected:
  void SetUp() override {
    auto model = Model::Load(kModel);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
  }
  const Tokenizer& tokenizer() const { return *model_->tokenizer(); }

  std::shared_ptr<const Model> model_;
  Serving serving_{kModel, ServingOptions()};
};

TEST_F(ContrastTest, ARepeatedTextIsLikelierAndTheWireKeepsEveryBit) {
  for (size_t i = 0; i < std::size(kTexts); ++i) {
    const std::vector<int32_t> tokens = tokenizer().Encode(std::string(" ") + kTexts[i]);
    const std::vector<int32_t> other =
        tokenizer().Encode(std::string(" ") + kTexts[(i + 1) % std::size(kTexts)]);
    const auto local =
        MeasureContrast(serving_.local.get(), "", tokenizer().eot(), tokens, other, tokens, 64, 0);
    const auto remote =
        MeasureContrast(serving_.remote.get(), "", tokenizer().eot(), tokens, other, tokens, 64, 0);
    ASSERT_TRUE(local.ok() && remote.ok()) << local.status() << remote.status();
    std::cout << local->tokens << " tokens: " << local->nll_with << " nats behind itself, "
              << local->nll_without << " behind another\n";
    EXPECT_LT(local->nll_with, local->nll_without);
    EXPECT_EQ(remote->nll_with, local->nll_with);
    EXPECT_EQ(remote->nll_without, local->nll_without);
    EXPECT_EQ(remote->tokens, local->tokens);
  }
}

// Without a front the nats are those of `chimera eval`.
TEST_F(ContrastTest, EqualsTheEvaluationOfTheText) {
  ExecContext exec(2);
  for (const char* text : kTexts) {
    const std::vector<int32_t> tokens = tokenizer().Encode(text);
    std::vector<float> logprobs;
    const auto eval = EvaluateText(*model_, text, &exec, nullptr, &logprobs);
    ASSERT_TRUE(eval.ok()) << eval.status();
    const auto contrast =
        MeasureContrast(serving_.local.get(), "", tokenizer().eot(), {}, {}, tokens, 20, 0);
    ASSERT_TRUE(contrast.ok()) << contrast.status();
    double nats = 0;
    for (size_t i = tokens.size() - 20; i < tokens.size(); ++i) nats -= double{logprobs[i]};
    EXPECT_NEAR(contrast->nll_without, nats, 1e-4);
  }
}

}  // namespace
}  // namespace chimera
