// The model in models/nano: small, whole, saying the same on every machine, as good as its card
// says.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "model/layout.h"
#include "model/model_testing.h"
#include "model/repack.h"
#include "model/step.h"
#include "train/ablation.h"
#include "train/eval.h"

namespace chimera {
namespace {

constexpr int64_t kRepositoryBytesMax = 8'000'000;
const char* const kFolder = CHIMERA_SOURCE_DIR "/models/nano";

std::shared_ptr<const Model> Shipped() {
  auto model = Model::Load(kFolder);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : nullptr;
}

TEST(ShippedModel, FitsTheRepository) {
  int64_t bytes = 0;
  for (const auto& file : std::filesystem::directory_iterator(kFolder)) {
    bytes += static_cast<int64_t>(file.file_size());
  }
  EXPECT_LE(bytes, kRepositoryBytesMax);
}

// A commit that changes this changes what every user's seed means: say so in its message.
TEST(ShippedModel, SignatureIsUnchanged) {
  const auto model = Shipped();
  ASSERT_NE(model, nullptr);
  auto expected = ReadFile(std::string(kFolder) + "/signature.txt", 64);
  ASSERT_TRUE(expected.ok()) << expected.status();
  for (int threads : {1, 2}) {
    ExecContext exec(threads);
    EXPECT_EQ(ModelSignature(*model, &exec) + "\n", *expected) << threads << " threads";
  }
}

// A prompt in passes of 64 rows, where two threads share every part of a pass out and windows of 16
// end inside it, leaves what one thread leaves token by token.
TEST(ShippedModel, LongPassesOnTwoThreadsEqualSteps) {
  const auto model = Shipped();
  ASSERT_NE(model, nullptr);
  ExecContext one(1), two(2);
  Stepper steps(*model, &one), passes(*model, &two, Stepper::kPrefillMax);
  BraidState by_step(model->shape(), 3), by_pass(model->shape(), 3);
  const auto d = static_cast<size_t>(model->shape().d_model);
  for (int pass = 0; pass < 5; ++pass) {
    std::vector<int32_t> tokens;
    for (int t = 0; t < Stepper::kPrefillMax - pass; ++t) {
      tokens.push_back((pass * 64 + t) * 31 % 4096);
    }
    const std::span<const float> rows = passes.Prefill(&by_pass, tokens);
    for (size_t t = 0; t < tokens.size(); ++t) {
      const std::span<const float> want = steps.Step(&by_step, tokens[t]);
      ASSERT_EQ(std::memcmp(rows.data() + t * d, want.data(), d * sizeof(float)), 0)
          << "token " << t << " of pass " << pass;
    }
  }
  EXPECT_EQ(
      std::memcmp(by_pass.floats().data(), by_step.floats().data(), by_step.floats().size_bytes()),
      0);
}

// In base 3 its trits take five sixths (narrow matrices pad, wide ones take four fifths), and it
// says the same.
TEST(ShippedModel, Base3PackingKeepsTheSignature) {
  const auto model = Shipped();
  ASSERT_NE(model, nullptr);
  const std::string folder = TestFolder("shipped_base3");
  ASSERT_TRUE(RepackModel(kFolder, {.packing = TernaryPacking::kBase3}, folder).ok());
  auto packed = Model::Load(folder);
  ASSERT_TRUE(packed.ok()) << packed.status();
  ExecContext exec(1);
  EXPECT_EQ(ModelSignature(**packed, &exec), ModelSignature(*model, &exec));
  std::printf("weights.b158: %lld bytes, packed %lld\n",
              static_cast<long long>(model->weight_bytes()),
              static_cast<long long>((*packed)->weight_bytes()));
  int64_t codes = 0;
  for (const TensorSpec& spec : ModelLayout(model->shape())) {
    if (IsTernary(spec.kind)) codes += static_cast<int64_t>(TernaryCodeBytes(spec.rows, spec.cols));
  }
  EXPECT_GT((model->weight_bytes() - (*packed)->weight_bytes()) * 6, codes);
}

TEST(ShippedModel, BeginningOfTheHeldOutBooks) {
  auto text = ReadFile(std::string(CHIMERA_DATA_DIR) + "/books_valid.txt", 1 << 26);
  if (!text.ok()) GTEST_SKIP() << "needs books_valid.txt in CHIMERA_DATA_DIR";
  const auto model = Shipped();
  ASSERT_NE(model, nullptr);
  ExecContext exec(2);
  const auto result = EvaluateText(*model, text->substr(0, 100000), &exec, nullptr);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->bytes, 100000);
  EXPECT_LE(result->bpb, 2.1);  // the whole file's figure is in models/nano/README.md
  EXPECT_GE(result->bpb, 1.0) << "too good to be true: is the future leaking?";
}

// No part is dead weight: without it the model says something else, and without what mixes tokens
// or carries most weights it says worse.
TEST(ShippedModel, EveryPartMatters) {
  const auto model = Shipped();
  ASSERT_NE(model, nullptr);
  constexpr const char* kText =
      "The road to the harbour was longer than she had been told, and by the time the lamps were "
      "lit along the quay the last of the boats had gone. An old man sat mending a net by the "
      "door of the inn. \"You have missed them,\" he said, without looking up, \"and there will "
      "be no other before the morning. My wife keeps a room for those who miss them.\" She thanked "
      "him, and asked whether the wind would hold. The old man laughed. He had been asked that "
      "question, he said, by every captain who ever left the harbour, and by every wife who "
      "stayed behind in it, and he had given the same answer to them all: the wind would do as "
      "it pleased, and they would do well to wait for it. So she took the room, and from its "
      "window she watched the lamps go out along the quay, one after the other, until only the "
      "one above the door of the inn was left, and the old man under it, mending his net.\n";
  ExecContext exec(2);
  Ablation ablation(*model, 0, &exec);
  const double whole = ablation.Measure(kText, {}).bpb;
  const auto eval = EvaluateText(*model, kText, &exec, nullptr);
  ASSERT_TRUE(eval.ok()) << eval.status();
  EXPECT_NEAR(whole / eval->bpb, 1.0, 0.01);
  const std::vector<AblationPart> parts = AblationParts(model->shape());
  EXPECT_FALSE(parts.empty());
  for (const AblationPart& part : parts) {
    const std::string name = part.name;
    const double change = ablation.Measure(kText, {name}).bpb - whole;
    std::printf("%-20s %+.4f\n", part.name, change);
    EXPECT_GT(std::abs(change), 1e-6) << name;
    for (const char* heavy : {"gd", "xm", "tm", "sk", "ffn"}) {
      if (name == heavy) {
        EXPECT_GT(change, 0.0) << name;
      }
    }
  }
}

}  // namespace
}  // namespace chimera
