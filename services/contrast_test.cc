// What a text in front is worth to the shipped model, here and over the wire.
#include "cluster/contrast.h"

#include <gtest/gtest.h>

#include <iostream>
#include <iterator>
#include <memory>
#include <span>
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

// A text of the same kind in front is worth about as much to a model of this size as the text
// itself (docs/experiments.md), so what is asked here is more than nothing.
TEST_F(ContrastTest, ARepeatedTextIsLikelierAndTheWireKeepsEveryBit) {
  const auto encode = [&](size_t i) {
    return tokenizer().Encode(std::string(" ") + kTexts[i % std::size(kTexts)]);
  };
  for (size_t i = 0; i < std::size(kTexts); ++i) {
    const std::vector<int32_t> text = encode(i), other = encode(i + 1);
    const auto measure = [&](Knot* knot, std::span<const int32_t> without) {
      auto contrast = MeasureContrast(knot, "", tokenizer().eot(), text, without, text, 64, 0);
      EXPECT_TRUE(contrast.ok()) << contrast.status();
      return contrast.value_or(Contrast());
    };
    const Contrast nothing = measure(serving_.local.get(), {});
    const Contrast local = measure(serving_.local.get(), other);
    const Contrast remote = measure(serving_.remote.get(), other);
    std::cout << local.tokens << " tokens: " << nothing.nll_without << " nats, "
              << local.nll_without << " behind another text, " << local.nll_with
              << " behind itself\n";
    EXPECT_LT(nothing.nll_with, nothing.nll_without);
    EXPECT_EQ(nothing.nll_with, local.nll_with);
    EXPECT_EQ(remote.nll_with, local.nll_with);
    EXPECT_EQ(remote.nll_without, local.nll_without);
    EXPECT_EQ(remote.tokens, local.tokens);
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
