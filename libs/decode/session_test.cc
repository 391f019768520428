#include "decode/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "decode/logit_transform.h"
#include "text/tokenizer.h"

namespace chimera {
namespace {

constexpr int kRanks = 1024;

std::shared_ptr<const Tokenizer> Ranks() {
  static const std::shared_ptr<const Tokenizer> tokenizer = [] {
    const auto text =
        ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/o200k_8192.tiktoken", 1 << 20);
    EXPECT_TRUE(text.ok()) << text.status();
    return *Tokenizer::FromRankText(*text, kRanks);
  }();
  return tokenizer;
}

// A knot that wants to say one thing. Logits of other tokens fall off slowly, so top_p, penalties
// and logprobs have something to work on.
class ScriptedStream final : public KnotStream {
 public:
  static constexpr int kOneEach = -1;
  int surprises = kOneEach;  // that a pass comes back with
  bool asked = false;        // for surprises

  ScriptedStream(std::vector<int32_t> script, std::vector<int>* passes)
      : script_(std::move(script)),
        passes_(passes),
        transformer_(Ranks()->vocab_size(), {kRanks, Ranks()->eot()}) {}

  const std::string& model_id() const override { return id_; }

  absl::StatusOr<VerifyResult> Verify(const VerifyRequest& request) override {
    passes_->push_back(static_cast<int>(request.nodes.size()));
    transform_ = request.transform;
    VerifyResult result;
    for (size_t i = 0; i < request.nodes.size(); ++i) {
      EXPECT_EQ(request.nodes[i].parent, static_cast<int>(i) - 1);
      asked = request.want_surprise;
      if (asked) {
        result.surprises.push_back(SurpriseAt(history_.size(), request.nodes[i].token_id));
      }
      history_.push_back(request.nodes[i].token_id);
      if (!request.nodes[i].want_distribution) continue;
      node_ = static_cast<int>(i);
      auto rows = Rows(0, transform_.rows_max);
      if (!rows.ok()) return rows.status();
      result.distributions.push_back(*rows);
      ++said_;
    }
    if (surprises != kOneEach) result.surprises.resize(static_cast<size_t>(surprises));
    result.position = static_cast<int64_t>(history_.size());
    return result;
  }

  absl::StatusOr<NodeDistribution> MoreRows(int32_t node, int32_t first, int32_t count) override {
    EXPECT_EQ(node, node_);
    --said_;
    auto rows = Rows(first, count);
    ++said_;
    return rows;
  }

  void Cancel() override {}

  static float SurpriseAt(size_t position, int32_t token) {
    return static_cast<float>(position) + static_cast<float>(token) / 2048.0f;
  }

  std::vector<float> Logits() const {
    std::vector<float> logits(static_cast<size_t>(Ranks()->vocab_size()));
    for (size_t i = 0; i < logits.size(); ++i) {
      logits[i] = 2.0f - 0.005f * static_cast<float>((i * 7) % logits.size());
    }
    const size_t at = std::min(said_, script_.size() - 1);
    logits[static_cast<size_t>(script_[at])] = 30.0f;
    return logits;
  }

 private:
  absl::StatusOr<NodeDistribution> Rows(int first, int count) {
    std::vector<float> logits = Logits();
    auto rows = transformer_.Apply(logits, history_, {}, transform_, first, count);
    if (rows.ok()) rows->node = node_;
    return rows;
  }

  const std::string id_ = "scripted";
  const std::vector<int32_t> script_;
  std::vector<int>* const passes_;
  LogitTransformer transformer_;
  LogitTransform transform_;
  std::vector<int32_t> history_;
  int node_ = -1;
  size_t said_ = 0;
};

struct Outcome {
  std::string text;
  std::vector<int32_t> ids;
  std::vector<TokenLogprobs> logprobs;
  FinishReason reason = FinishReason::kNone;
  int stop_index = -1;
  std::vector<int> passes;
  std::vector<std::string> pieces;
};

Outcome RunSession(const std::vector<int32_t>& script, const SamplingParams& params,
                   const std::string& prompt = "hi") {
  Outcome out;
  Session session(std::make_unique<ScriptedStream>(script, &out.passes), Ranks(), params);
  const absl::Status started = session.Start(Ranks()->Encode(prompt));
  EXPECT_TRUE(started.ok()) << started;
  while (out.reason == FinishReason::kNone) {
    const auto event = session.Step();
    if (!event.ok()) {
      ADD_FAILURE() << event.status();
      break;
    }
    out.text += event->text;
    out.pieces.push_back(event->text);
    out.ids.insert(out.ids.end(), event->token_ids.begin(), event->token_ids.end());
    out.logprobs.insert(out.logprobs.end(), event->logprobs.begin(), event->logprobs.end());
    out.reason = event->reason;
    out.stop_index = event->stop_index;
  }
  EXPECT_EQ(session.completion_tokens(), static_cast<int>(out.ids.size()));
  EXPECT_EQ(session.Step().status().code(), absl::StatusCode::kFailedPrecondition);
  return out;
}

std::vector<int32_t> Script(const std::string& text) {
  std::vector<int32_t> ids = Ranks()->Encode(text);
  ids.push_back(Ranks()->eot());
  return ids;
}

// One token a byte: the worst split there is.
std::vector<int32_t> ByteScript(const std::string& text) {
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(Ranks()->Encode(std::string(1, c)).front());
  ids.push_back(Ranks()->eot());
  return ids;
}

SamplingParams Greedy() {
  SamplingParams params;
  params.temperature = 0.0f;
  params.max_tokens = 100;
  return params;
}

TEST(Session, SaysItAllAndEnds) {
  const Outcome out = RunSession(Script("a quiet house"), Greedy());
  EXPECT_EQ(out.text, "a quiet house");
  EXPECT_EQ(out.reason, FinishReason::kEndOfText);
  EXPECT_EQ(out.ids, Ranks()->Encode("a quiet house"));
  EXPECT_EQ(out.passes.front(), 1 + static_cast<int>(Ranks()->Encode("hi").size()));
  // One pass a token, none after the last draw.
  EXPECT_EQ(out.passes.size(), 1 + out.ids.size());
}

TEST(Session, LongPromptsTakeSeveralPasses) {
  std::string prompt;
  for (int i = 0; i < 700; ++i) prompt += " the";
  const int tokens = static_cast<int>(Ranks()->Encode(prompt).size());
  ASSERT_GT(tokens, 600);
  const Outcome out = RunSession(Script("x"), Greedy(), prompt);
  EXPECT_EQ(out.passes[0], kPrefillNodes);
  EXPECT_EQ(out.passes[1], tokens + 1 - kPrefillNodes);
  EXPECT_EQ(out.text, "x");
}

TEST(Session, MaxTokensEndsAndReleasesWhatWasHeld) {
  SamplingParams params = Greedy();
  params.max_tokens = 3;
  params.stop = {"abcdef"};
  const Outcome out = RunSession(ByteScript("abcdef"), params);
  EXPECT_EQ(out.text, "abc");
  EXPECT_EQ(out.reason, FinishReason::kMaxTokens);
  EXPECT_EQ(out.passes.size(), 3u);
}

TEST(Session, StopStringsOverEverySplitOfTokens) {
  const std::string text = "one two STOP three";
  for (const std::vector<int32_t>& script : {Script(text), ByteScript(text)}) {
    SamplingParams params = Greedy();
    params.stop = {"never", "STOP", " three"};
    const Outcome out = RunSession(script, params);
    EXPECT_EQ(out.text, "one two ");
    EXPECT_EQ(out.reason, FinishReason::kStop);
    EXPECT_EQ(out.stop_index, 1);
  }
}

TEST(Session, AStopStringAtTheVeryEndBeatsTheTokenLimit) {
  SamplingParams params = Greedy();
  params.max_tokens = 5;
  params.stop = {"de"};
  const Outcome out = RunSession(ByteScript("abcdefg"), params);
  EXPECT_EQ(out.text, "abc");
  EXPECT_EQ(out.reason, FinishReason::kStop);
}

TEST(Session, EveryPieceIsWholeCharacters) {
  const std::string text = "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x8E\x89!";  // 2, 3, 4 and 1 byte
  const Outcome out = RunSession(ByteScript(text), Greedy());
  EXPECT_EQ(out.text, text);
  const std::vector<std::string> pieces = {"", "\xC3\xA4",         "",  "", "\xE2\x82\xAC", "", "",
                                           "", "\xF0\x9F\x8E\x89", "!", ""};
  EXPECT_EQ(out.pieces, pieces);
  SamplingParams cut = Greedy();
  cut.max_tokens = 4;  // inside the euro sign
  EXPECT_EQ(RunSession(ByteScript(text), cut).text, "\xC3\xA4\xEF\xBF\xBD");
}

TEST(Session, LogprobsAreThoseOfTheRawModel) {
  for (const float penalty : {1.0f, 3.0f, 0.4f}) {
    SamplingParams params;
    params.max_tokens = 6;
    params.repetition_penalty = penalty;
    params.temperature = 1.3f;
    params.logprobs = 20;
    const std::vector<int32_t> script = Script("aaa bbb");
    const Outcome out = RunSession(script, params, "a man and a dog");
    ASSERT_EQ(out.logprobs.size(), out.ids.size());
    std::vector<int> unused;
    const ScriptedStream stream(script, &unused);
    const std::vector<float> logits = stream.Logits();  // of the first position
    double sum = 0;
    for (const float l : logits) sum += std::exp(static_cast<double>(l));
    std::vector<std::pair<float, int32_t>> expected;
    for (int32_t id = 0; id <= kRanks; ++id) {
      if (id == kRanks && Ranks()->eot() != kRanks) continue;
      expected.push_back({-logits[static_cast<size_t>(id)], id});
    }
    std::sort(expected.begin(), expected.end());
    const TokenLogprobs& first = out.logprobs.front();
    ASSERT_EQ(first.top.size(), 20u);
    for (size_t i = 0; i < 20; ++i) {
      EXPECT_EQ(first.top[i].token_id, expected[i].second) << i << " penalty " << penalty;
      EXPECT_NEAR(first.top[i].logprob, -expected[i].first - std::log(sum), 1e-4);
    }
    EXPECT_NEAR(first.logprob,
                logits[static_cast<size_t>(out.ids.front())] - static_cast<float>(std::log(sum)),
                1e-4);
  }
}

TEST(Session, RefusesPromptsThatAreNotText) {
  std::vector<int> passes;
  for (const std::vector<int32_t>& prompt :
       {std::vector<int32_t>{}, std::vector<int32_t>{-1}, std::vector<int32_t>{kRanks}}) {
    Session session(std::make_unique<ScriptedStream>(Script("x"), &passes), Ranks(), Greedy());
    EXPECT_EQ(session.Start(prompt).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(session.Step().status().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_TRUE(passes.empty());
}

// Prompts of one pass and of two; the last token of the completion is drawn and never run.
TEST(Session, KeepsWhatItRan) {
  for (const int words : {3, 700}) {
    std::string text;
    for (int i = 0; i < words; ++i) text += " the";
    const std::vector<int32_t> prompt = Ranks()->Encode(text);
    std::vector<int> passes;
    SamplingParams params = Greedy();
    params.max_tokens = 5;
    Session session(std::make_unique<ScriptedStream>(ByteScript("abcdefgh"), &passes), Ranks(),
                    params);
    session.KeepRan();
    ASSERT_TRUE(session.Start(prompt).ok());
    ASSERT_EQ(session.ran().size(), prompt.size());
    const RanToken* const first = session.ran().data();
    std::vector<int32_t> whole = prompt;
    for (FinishReason reason = FinishReason::kNone; reason == FinishReason::kNone;) {
      const auto event = session.Step();
      ASSERT_TRUE(event.ok()) << event.status();
      whole.insert(whole.end(), event->token_ids.begin(), event->token_ids.end());
      reason = event->reason;
    }
    ASSERT_EQ(whole.size(), prompt.size() + 5);
    ASSERT_EQ(session.ran().size(), whole.size() - 1);
    EXPECT_EQ(session.ran().data(), first) << "room was made at the start";
    for (size_t i = 0; i < session.ran().size(); ++i) {
      const RanToken& ran = session.ran()[i];
      EXPECT_EQ(ran.token_id, whole[i]);
      EXPECT_EQ(ran.surprise, ScriptedStream::SurpriseAt(i + 1, whole[i]));
      EXPECT_EQ(ran.generated, i >= prompt.size()) << i;
    }
  }
}

TEST(Session, KeepsNothingWhenNotAskedAndZerosOfAModelWithoutSurprises) {
  const std::vector<int32_t> prompt = Ranks()->Encode("a quiet house");
  std::vector<int> passes;
  for (const bool keep : {false, true}) {
    auto stream = std::make_unique<ScriptedStream>(Script("x"), &passes);
    stream->surprises = 0;
    const ScriptedStream* const knot = stream.get();
    Session session(std::move(stream), Ranks(), Greedy());
    if (keep) session.KeepRan();
    ASSERT_TRUE(session.Start(prompt).ok());
    EXPECT_EQ(knot->asked, keep);
    EXPECT_EQ(session.ran().size(), keep ? prompt.size() : 0);
    for (const RanToken& ran : session.ran()) EXPECT_EQ(ran.surprise, 0.0f);
  }
}

TEST(Session, SurprisesOfOtherTokensAreAnError) {
  std::vector<int> passes;
  auto stream = std::make_unique<ScriptedStream>(Script("x"), &passes);
  stream->surprises = 2;
  Session session(std::move(stream), Ranks(), Greedy());
  session.KeepRan();
  const absl::Status status = session.Start(Ranks()->Encode("a quiet house"));
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("2 surprises for"));
}

TEST(Session, SameSeedSameTextOtherSeedOtherText) {
  SamplingParams params;
  params.temperature = 30.0f;  // flat enough that the script no longer decides
  params.max_tokens = 20;
  params.seed = 5;
  const Outcome first = RunSession(Script("x"), params);
  EXPECT_EQ(RunSession(Script("x"), params).ids, first.ids);
  params.seed = 6;
  EXPECT_NE(RunSession(Script("x"), params).ids, first.ids);
}

}  // namespace
}  // namespace chimera
