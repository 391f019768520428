// The knot's wire protocol as a stranger might speak it: order of messages, hostile numbers, slots,
// deadlines, and the knot's answers compared over the wire and in process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/clock.h"
#include "cluster/channel.h"
#include "layers/token_tree.h"
#include "model/model_testing.h"
#include "services/serving_testing.h"

namespace chimera {
namespace {

using testing::HasSubstr;
namespace kpb = knot::v1;

kpb::StreamRequest OpenMessage() {
  kpb::StreamRequest message;
  message.mutable_open();
  return message;
}

kpb::StreamRequest VerifyMessage(const std::vector<int32_t>& tokens) {
  kpb::StreamRequest message;
  kpb::Verify* verify = message.mutable_verify();
  verify->set_commit_node(-1);
  verify->set_commit_all(true);
  for (size_t i = 0; i < tokens.size(); ++i) {
    kpb::Node* node = verify->add_nodes();
    node->set_parent(static_cast<int32_t>(i) - 1);
    node->set_token_id(tokens[i]);
    node->set_want_distribution(i + 1 == tokens.size());
  }
  return message;
}

class KnotStreamTest : public testing::Test {
 protected:
  void SetUp() override {
    ServingOptions options;
    options.max_streams = 1;
    options.request_deadline_ms = 500;
    serving_ = std::make_unique<Serving>(TestModelFolder("knot_stream", true), options);
    channel_ = MakeChannel(serving_->knot_server->address());
    stub_ = kpb::KnotService::NewStub(channel_);
  }
  // Sends the messages; returns how the call ended.
  grpc::Status Talk(const std::vector<kpb::StreamRequest>& messages) {
    grpc::ClientContext context;
    SetTimeout(&context, 5000);
    const auto call = stub_->Stream(&context);
    kpb::StreamResponse response;
    for (const kpb::StreamRequest& message : messages) {
      if (!call->Write(message) || !call->Read(&response)) return call->Finish();
    }
    call->WritesDone();
    while (call->Read(&response)) {
    }
    return call->Finish();
  }

  std::unique_ptr<Serving> serving_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<kpb::KnotService::Stub> stub_;
};

TEST_F(KnotStreamTest, OrderOfMessages) {
  EXPECT_TRUE(Talk({}).ok());
  EXPECT_TRUE(Talk({OpenMessage()}).ok());
  EXPECT_TRUE(Talk({OpenMessage(), VerifyMessage({1024, 5}), VerifyMessage({6})}).ok());
  EXPECT_THAT(Talk({VerifyMessage({1})}).error_message(), HasSubstr("must be open"));
  EXPECT_THAT(Talk({OpenMessage(), OpenMessage()}).error_message(), HasSubstr("open already"));
  EXPECT_EQ(Talk({kpb::StreamRequest()}).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(Talk({OpenMessage(), kpb::StreamRequest()}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(serving_->SlotsFreeWithin(200));
}

TEST_F(KnotStreamTest, HostileNumbersGetASentence) {
  const auto refused = [&](void (*change)(kpb::Verify*)) {
    kpb::StreamRequest message = VerifyMessage({1024, 5, 6});
    change(message.mutable_verify());
    const grpc::Status status = Talk({OpenMessage(), message});
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
    return status.error_message();
  };
  EXPECT_THAT(refused([](auto* v) { v->clear_nodes(); }), HasSubstr("outside 1..4096"));
  EXPECT_THAT(refused([](auto* v) { v->mutable_nodes(1)->set_token_id(1080); }),
              HasSubstr("token 1080, outside 0..1079"));
  EXPECT_THAT(refused([](auto* v) { v->mutable_nodes(1)->set_token_id(-1); }),
              HasSubstr("token -1"));
  EXPECT_THAT(refused([](auto* v) { v->mutable_nodes(2)->set_parent(0); }),
              HasSubstr("must form a chain"));
  EXPECT_THAT(refused([](auto* v) { v->set_commit_node(3); }),
              HasSubstr("commit_node 3 is outside the last window of 0 nodes"));
  EXPECT_THAT(refused([](auto* v) { v->set_exit_early(true); }), HasSubstr("one committed node"));
  EXPECT_THAT(refused([](auto* v) {
                v->set_commit_all(false);
                v->mutable_nodes(1)->set_parent(2);
              }),
              HasSubstr("window: "));
  EXPECT_THAT(refused([](auto* v) {
                v->set_commit_all(false);
                for (int i = 3; i < 17; ++i) {
                  v->add_nodes()->set_parent(i - 1);
                }
              }),
              HasSubstr("node 16 stands at position 16: a window from 0 ends before"));
  EXPECT_THAT(refused([](auto* v) {
                v->set_commit_all(false);
                for (int i = 3; i < 65; ++i) v->add_nodes()->set_parent(-1);
              }),
              HasSubstr("a window of 65 nodes exceeds 64"));
  EXPECT_THAT(refused([](auto* v) { v->mutable_nodes(0)->add_class_weights(1.0f); }),
              HasSubstr("node 0: class weights need a class table"));
  EXPECT_THAT(refused([](auto* v) { v->set_loops(3); }), HasSubstr("loops 3 exceeds the 1"));
  EXPECT_THAT(refused([](auto* v) { v->mutable_transform()->set_temperature(-1); }),
              HasSubstr("temperature -1"));
  EXPECT_THAT(refused([](auto* v) {
                for (int i = 0; i < 65; ++i) v->mutable_nodes(0)->add_class_weights(1);
              }),
              HasSubstr("65 class weights, the limit is 64"));
  kpb::StreamRequest rows;
  rows.mutable_more_rows()->set_node(1);
  rows.mutable_more_rows()->set_count(10);
  EXPECT_THAT(Talk({OpenMessage(), rows}).error_message(), HasSubstr("no distribution"));
  rows.mutable_more_rows()->set_first(2000000000);
  EXPECT_THAT(Talk({OpenMessage(), VerifyMessage({1024, 5}), rows}).error_message(),
              HasSubstr("outside 1080 rows"));
  kpb::StreamRequest open = OpenMessage();
  open.mutable_open()->set_model_id("other");
  EXPECT_EQ(Talk({open}).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(serving_->SlotsFreeWithin(200));
}

TEST_F(KnotStreamTest, SlotsAreLimitedAndIdleStreamsGiveTheirsBack) {
  grpc::ClientContext idle_context;  // no deadline, and then silence
  const auto idle = stub_->Stream(&idle_context);
  kpb::StreamResponse response;
  ASSERT_TRUE(idle->Write(OpenMessage()));
  ASSERT_TRUE(idle->Read(&response));
  EXPECT_EQ(response.opened().vocab_size(), 1080);
  EXPECT_GT(response.opened().state_bytes(), 0);
  const grpc::Status refused = Talk({OpenMessage()});
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("all 1 stream slots"));
  EXPECT_TRUE(serving_->SlotsFreeWithin(3000));
  EXPECT_FALSE(idle->Read(&response));
  EXPECT_EQ(idle->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

// Prompts in one pass, in pieces, or token by token give the same bits, here and over the wire.
TEST_F(KnotStreamTest, PassesOfAnyLengthAgreeLocallyAndRemotely) {
  std::vector<int32_t> tokens = {1024};
  for (int i = 0; i < 150; ++i) tokens.push_back((i * 37) % 1024);
  std::vector<NodeDistribution> results;
  for (Knot* knot :
       {static_cast<Knot*>(serving_->local.get()), static_cast<Knot*>(serving_->remote.get())}) {
    for (const size_t piece : {tokens.size(), size_t{64}, size_t{50}, size_t{1}}) {
      auto stream = knot->Open("", Clock::Real().NowNs() + int64_t{10} * 1000000000, 0);
      ASSERT_TRUE(stream.ok()) << stream.status();
      NodeDistribution last;
      for (size_t at = 0; at < tokens.size(); at += piece) {
        VerifyRequest request;
        request.transform.temperature = 0.7f;
        request.transform.repetition_penalty = 1.3f;
        for (size_t i = at; i < std::min(tokens.size(), at + piece); ++i) {
          VerifyNode& node = request.nodes.emplace_back();
          node.parent = static_cast<int32_t>(i - at) - 1;
          node.token_id = tokens[i];
        }
        request.nodes.back().want_distribution = true;
        auto result = (*stream)->Verify(request);
        ASSERT_TRUE(result.ok()) << result.status();
        ASSERT_EQ(result->distributions.size(), 1u);
        last = result->distributions[0];
        const auto more = (*stream)->MoreRows(last.node, 0, 30);
        ASSERT_TRUE(more.ok()) << more.status();
        EXPECT_TRUE(
            std::equal(more->token_ids.begin(), more->token_ids.end(), last.token_ids.begin()));
      }
      last.node = 0;
      results.push_back(last);
    }
  }
  for (const NodeDistribution& result : results) {
    EXPECT_EQ(result.token_ids, results[0].token_ids);
    EXPECT_EQ(result.logits, results[0].logits);
    EXPECT_EQ(result.raw_logits, results[0].raw_logits);
    EXPECT_EQ(result.log_sum_exp, results[0].log_sum_exp);
    EXPECT_EQ(result.entropy_bits, results[0].entropy_bits);
  }
  EXPECT_EQ(results[0].allowed_rows, 1025);
}

// A window of drafts gives each node what a pass of its path gives, and a committed path leaves the
// stream where those tokens would have, here and over the wire. Penalties see the node's own path.
TEST(KnotWindows, EqualPlainPassesLocallyAndRemotely) {
  ServingOptions options;
  options.max_streams = 4;
  Serving serving(TestModelFolder("knot_windows", true, 1, TestShape::kFull), options);
  const auto request = [](const std::vector<int32_t>& tokens, const std::vector<int32_t>& parents) {
    VerifyRequest out;
    out.transform.temperature = 0.7f;
    out.transform.repetition_penalty = 1.5f;
    for (size_t i = 0; i < tokens.size(); ++i) {
      VerifyNode& node = out.nodes.emplace_back();
      node.parent = parents.empty() ? static_cast<int32_t>(i) - 1 : parents[i];
      node.token_id = tokens[i];
      node.want_distribution = true;
    }
    return out;
  };
  for (Knot* knot :
       {static_cast<Knot*>(serving.local.get()), static_cast<Knot*>(serving.remote.get())}) {
    const int64_t deadline = Clock::Real().NowNs() + int64_t{10} * 1000000000;
    auto drafts = knot->Open("", deadline, 3), plain = knot->Open("", deadline, 3);
    ASSERT_TRUE(drafts.ok() && plain.ok()) << drafts.status() << plain.status();
    // 1024 is the end of text; 7 after it, then the guesses 8 and 9, and 10 after 9.
    VerifyRequest window = request({1024, 7, 8, 9, 10}, {-1, 0, 1, 1, 3});
    window.commit_all = false;
    window.loops = 3;
    auto guessed = (*drafts)->Verify(window);
    ASSERT_TRUE(guessed.ok()) << guessed.status();
    EXPECT_EQ(guessed->position, 0);
    EXPECT_EQ(guessed->loops_run, 3);
    ASSERT_EQ(guessed->distributions.size(), 5u);
    auto known = (*plain)->Verify(request({1024, 7, 9, 10}, {}));
    ASSERT_TRUE(known.ok()) << known.status();
    for (const auto& [node, at] : {std::pair{0, 0}, {1, 1}, {3, 2}, {4, 3}}) {
      EXPECT_EQ(guessed->distributions[size_t(node)].token_ids,
                known->distributions[size_t(at)].token_ids);
      EXPECT_EQ(guessed->distributions[size_t(node)].logits,
                known->distributions[size_t(at)].logits);
    }
    VerifyRequest next = request({11}, {});
    next.commit_node = 4;
    auto after = (*drafts)->Verify(next);
    ASSERT_TRUE(after.ok()) << after.status();
    EXPECT_EQ(after->position, 5);
    EXPECT_EQ(after->distributions[0].logits,
              (*plain)->Verify(request({11}, {}))->distributions[0].logits);
    // A window nobody commits leaves nothing behind.
    window = request({500, 501}, {});
    window.commit_all = false;
    ASSERT_TRUE((*drafts)->Verify(window).ok());
    EXPECT_EQ((*drafts)->Verify(request({12}, {}))->distributions[0].logits,
              (*plain)->Verify(request({12}, {}))->distributions[0].logits);
  }
}

// More distributions than one product of the head gives: every one is that of the plain pass.
TEST(KnotWindows, EveryNodeOfAWideWindowHasItsDistribution) {
  Serving serving(TestModelFolder("knot_windows_wide", true, 1, TestShape::kFull), {});
  auto drafts = serving.remote->Open("", 0, 0);
  ASSERT_TRUE(drafts.ok()) << drafts.status();
  VerifyRequest window;
  window.commit_all = false;
  for (int i = 0; i < kTreeNodesMax; ++i) {
    window.nodes.push_back({.parent = -1, .token_id = 17 * i, .want_distribution = i != 3});
  }
  const auto wide = (*drafts)->Verify(window);
  ASSERT_TRUE(wide.ok()) << wide.status();
  ASSERT_EQ(wide->distributions.size(), size_t{kTreeNodesMax} - 1);
  for (const NodeDistribution& got : wide->distributions) {
    auto plain = serving.local->Open("", 0, 0);
    ASSERT_TRUE(plain.ok()) << plain.status();
    VerifyRequest one;
    one.nodes.push_back({.parent = -1, .token_id = 17 * got.node, .want_distribution = true});
    const auto want = (*plain)->Verify(one);
    ASSERT_TRUE(want.ok()) << want.status();
    EXPECT_EQ(got.token_ids, want->distributions[0].token_ids) << got.node;
    EXPECT_EQ(got.logits, want->distributions[0].logits) << got.node;
    EXPECT_EQ(got.raw_log_sum_exp, want->distributions[0].raw_log_sum_exp) << got.node;
  }
}

// Streams that may loop more often take more of the budget of state bytes.
TEST(KnotWindows, LoopsAreAdmittedByTheBytesOfTheirState) {
  ServingOptions options;
  options.max_streams = 3;
  Serving serving(TestModelFolder("knot_bytes", true, 1, TestShape::kFull), options);
  const auto open = [&](int loops) { return serving.local->Open("", 0, loops); };
  EXPECT_THAT(std::string(open(5).status().message()), HasSubstr("loops 5 is outside 1..4"));
  auto big = open(4), second = open(4);
  ASSERT_TRUE(big.ok() && second.ok()) << second.status();
  const absl::Status refused = open(4).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("exceeds the knot's budget of"));
  second->reset();
  EXPECT_TRUE(open(0).ok());
}

}  // namespace
}  // namespace chimera
