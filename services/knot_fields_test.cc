// Sketch fields on their way to the span knot: by hash over the wire, the same bits in process, and
// what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/philox.h"
#include "cluster/channel.h"
#include "cluster/sketch_cache.h"
#include "model/model_testing.h"
#include "services/serving_testing.h"

namespace chimera {
namespace {

using testing::HasSubstr;
namespace kpb = knot::v1;

std::shared_ptr<const HyperVector> RandomSketch(uint32_t stream) {
  const PhiloxStream rng(41, RngPurpose::kDataShuffle, stream);
  auto sketch = std::make_shared<HyperVector>();
  for (size_t i = 0; i < sketch->words.size(); ++i) {
    sketch->words[i] = uint64_t{rng.Word(2 * i)} << 32 | rng.Word(2 * i + 1);
  }
  return sketch;
}

VerifyRequest Chain(const std::vector<int32_t>& tokens, const SketchFieldSet& fields) {
  VerifyRequest request;
  request.fields = fields;
  for (size_t i = 0; i < tokens.size(); ++i) {
    request.nodes.push_back({.parent = static_cast<int32_t>(i) - 1, .token_id = tokens[i]});
  }
  request.nodes.back().want_distribution = true;
  return request;
}

class KnotFieldsTest : public testing::Test {
 protected:
  std::unique_ptr<KnotStream> Open(Knot* knot) {
    auto stream = knot->Open("", Clock::Real().NowNs() + int64_t{20} * 1000000000, 0);
    EXPECT_TRUE(stream.ok()) << stream.status();
    return *std::move(stream);
  }
  // Logits after 40 tokens in three passes, fields from the second on: it begins at 16.
  std::vector<float> Logits(Knot* knot, const SketchFieldSet& fields) {
    auto stream = Open(knot);
    std::vector<float> out;
    for (int begin : {0, 16, 32}) {
      std::vector<int32_t> tokens;
      for (int i = begin; i < std::min(40, begin + 16); ++i) tokens.push_back(i * 37 % 1024);
      auto result = stream->Verify(Chain(tokens, begin == 0 ? SketchFieldSet{} : fields));
      EXPECT_TRUE(result.ok()) << result.status();
      if (result.ok()) out = result->distributions[0].raw_logits;
    }
    return out;
  }

  Serving serving_{TestModelFolder("knot_fields", true, 1, TestShape::kFull), ServingOptions()};
  Knot* const local_ = serving_.local.get();
  Knot* const remote_ = serving_.remote.get();
};

TEST_F(KnotFieldsTest, EachActsAndTheWireKeepsEveryBit) {
  const std::vector<float> plain = Logits(local_, {});
  EXPECT_EQ(Logits(remote_, {}), plain);
  EXPECT_EQ(Logits(remote_, {.memory = {RandomSketch(1), 0.0f}}), plain) << "weight 0 is absent";
  const SketchFieldSet one[] = {{.memory = {RandomSketch(1), 1.0f}},
                                {.grammar = {RandomSketch(1), 1.0f}},
                                {.debt = {RandomSketch(1), 1.0f}},
                                {.memory = {RandomSketch(2), 1.0f}}};
  for (const SketchFieldSet& fields : one) {
    const std::vector<float> logits = Logits(local_, fields);
    EXPECT_NE(logits, plain);
    EXPECT_EQ(Logits(remote_, fields), logits);
  }
  const SketchFieldSet all = {
      {RandomSketch(3), 0.7f}, {RandomSketch(4), 0.6f}, {RandomSketch(5), 1}};
  EXPECT_EQ(Logits(remote_, all), Logits(local_, all));
}

// A window of drafts sees the fields that plain passes see.
TEST_F(KnotFieldsTest, WindowsEqualPlainPasses) {
  const SketchFieldSet fields = {.memory = {RandomSketch(6), 1.0f}};
  auto drafts = Open(remote_), plain = Open(local_);
  VerifyRequest window = Chain({7, 8, 9}, fields);
  window.commit_all = false;
  auto guessed = drafts->Verify(window);
  auto known = plain->Verify(Chain({7, 8, 9}, fields));
  ASSERT_TRUE(guessed.ok() && known.ok()) << guessed.status() << known.status();
  EXPECT_EQ(guessed->distributions[0].logits, known->distributions[0].logits);
  VerifyRequest next = Chain({10}, fields);
  next.commit_node = 2;
  guessed = drafts->Verify(next);
  known = plain->Verify(Chain({10}, fields));
  ASSERT_TRUE(guessed.ok() && known.ok()) << guessed.status() << known.status();
  EXPECT_EQ(guessed->distributions[0].logits, known->distributions[0].logits);
}

TEST_F(KnotFieldsTest, ChangesOnlyWhereSixteenDivides) {
  const SketchFieldSet a = {.debt = {RandomSketch(7), 0.5f}}, b = {.debt = {RandomSketch(8), 0.5f}};
  for (Knot* knot : {local_, remote_}) {
    auto stream = Open(knot);
    ASSERT_TRUE(stream->Verify(Chain({1, 2, 3}, a)).ok());
    const SketchFieldSet again = {.debt = {RandomSketch(7), 0.5f}};
    EXPECT_TRUE(stream->Verify(Chain({4}, again)).ok()) << "equal content is no change";
    const absl::Status changed = stream->Verify(Chain({5}, b)).status();
    EXPECT_EQ(changed.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(changed.message()),
                HasSubstr("debt field changes at position 4, which 16 does not divide"));
  }
  auto stream = Open(local_);
  EXPECT_THAT(
      std::string(stream->Verify(Chain({1}, {.memory = {nullptr, 0.5f}})).status().message()),
      HasSubstr("memory field: weight 0.5 and no sketch"));
  for (float weight : {-0.1f, 1.5f, std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_THAT(
        std::string(
            stream->Verify(Chain({1}, {.grammar = {RandomSketch(1), weight}})).status().message()),
        HasSubstr("is outside 0..1"));
  }
}

// As a stranger speaks it: an unknown hash is asked for once, then known to every stream.
TEST_F(KnotFieldsTest, UnknownSketchesAreAskedForOnce) {
  const auto sketch = RandomSketch(9);
  const uint64_t id = SketchId(*sketch);
  kpb::StreamRequest open, verify, put;
  open.mutable_open();
  verify.mutable_verify()->set_commit_node(-1);
  verify.mutable_verify()->set_commit_all(true);
  verify.mutable_verify()->add_nodes()->set_parent(-1);
  verify.mutable_verify()->mutable_memory_field()->set_sketch_id(id);
  verify.mutable_verify()->mutable_memory_field()->set_weight(0.5f);
  const auto bytes = ToBytes(*sketch);
  put.mutable_put_sketch()->set_sketch_id(id);
  put.mutable_put_sketch()->set_bits(bytes.data(), bytes.size());

  const auto channel = MakeChannel(serving_.knot_server->address());
  const auto stub = kpb::KnotService::NewStub(channel);
  kpb::StreamResponse response;
  const auto talk = [&](const std::vector<kpb::StreamRequest>& messages) {
    grpc::ClientContext context;
    SetTimeout(&context, 5000);
    const auto call = stub->Stream(&context);
    for (const kpb::StreamRequest& message : messages) {
      if (!call->Write(message) || !call->Read(&response)) return call->Finish();
    }
    call->WritesDone();
    return call->Finish();
  };
  ASSERT_TRUE(talk({open, verify}).ok());
  EXPECT_EQ(response.unknown_sketch().sketch_id(), id);
  ASSERT_TRUE(talk({open, verify, put}).ok());
  EXPECT_EQ(response.sketch_stored().sketch_id(), id);
  ASSERT_TRUE(talk({open, verify}).ok());
  EXPECT_EQ(response.verified().position(), 1) << "another stream finds it";
  put.mutable_put_sketch()->set_sketch_id(id + 1);
  EXPECT_EQ(talk({open, put}).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  put.mutable_put_sketch()->set_bits("short");
  EXPECT_THAT(talk({open, put}).error_message(), HasSubstr("must be 1024"));
}

}  // namespace
}  // namespace chimera
