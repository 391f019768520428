#include "decode/memory_track.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <span>

#include "base/file.h"
#include "text/tokenizer.h"

namespace chimera {
namespace {

// Answers when it is asked to, and keeps what was asked.
class FakeView final : public MemoryView {
 public:
  void Issue(int64_t position, std::string text) override { asked[position] = std::move(text); }
  absl::StatusOr<std::vector<RecalledText>> Collect(int64_t position) override {
    collected.push_back(position);
    const auto at = answers.find(position);
    if (at == answers.end()) return absl::UnavailableError("the store is down");
    return at->second;
  }
  std::map<int64_t, std::string> asked;
  std::vector<int64_t> collected;
  std::map<int64_t, std::vector<RecalledText>> answers;
};

RecalledText Fact(const std::string& id, uint64_t word) {
  HyperVector sketch = {};
  sketch.words[0] = word;
  return {.fact_id = id, .text = id, .sketch = std::make_shared<HyperVector>(sketch)};
}

uint64_t FieldWord(const MemoryTrack& track) {
  const SketchField& field = track.fields().memory;
  return field.sketch == nullptr ? 0 : field.sketch->words[0];
}

std::shared_ptr<const Tokenizer> Ranks() {
  static const std::shared_ptr<const Tokenizer> tokenizer = [] {
    const auto text = ReadFile(CHIMERA_SOURCE_DIR "/tests/golden/o200k_8192.tiktoken", 1 << 20);
    return *Tokenizer::FromRankText(*text, 1024);
  }();
  return tokenizer;
}

TEST(MemoryTrack, AsksAtMultiplesOfSixteenAndUsesThirtyTwoLater) {
  auto view = std::make_unique<FakeView>();
  FakeView* const fake = view.get();
  fake->answers[32] = {Fact("a", 1), Fact("b", 2)};
  fake->answers[48] = {};
  MemoryTrack track(std::move(view), Ranks(), {Fact("first", 9)});
  std::vector<MemoryRead> reads;
  for (int64_t position = 17; position <= 96; ++position) {
    track.Turn(position, &reads);
    track.Ran(Ranks()->Encode(std::string(1, static_cast<char>('a' + position % 16))));
    const uint64_t expected = position < 64 ? 9 : position < 80 ? 1 : 0;
    EXPECT_EQ(FieldWord(track), expected) << position;
    EXPECT_EQ(track.fields().memory.weight, expected == 0 ? 0.0f : 1.0f);
  }
  EXPECT_EQ(fake->collected, (std::vector<int64_t>{32, 48, 64}));
  ASSERT_EQ(reads.size(), 3u);
  EXPECT_EQ(reads[0].position, 64);
  EXPECT_EQ(reads[0].fact_ids, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(reads[0].missed.empty());
  EXPECT_TRUE(reads[1].fact_ids.empty());
  EXPECT_EQ(reads[2].missed, "the store is down") << "and the field of before stays";
  EXPECT_EQ(track.counts().used, 2);
  EXPECT_EQ(track.counts().missed, 1);
  // What is asked at a position is the text before it: the future is not there yet.
  EXPECT_EQ(fake->asked[32], "bcdefghijklmnop");
  EXPECT_EQ(fake->asked[48].size(), 31u);
}

TEST(MemoryTrack, AsksWithWholeCharactersOfTheTail) {
  auto view = std::make_unique<FakeView>();
  FakeView* const fake = view.get();
  MemoryTrack track(std::move(view), Ranks(), {});
  std::vector<MemoryRead> reads;
  track.Turn(16, &reads);
  EXPECT_TRUE(fake->asked.empty()) << "there is no text to ask with";
  std::string text;
  for (int i = 0; i < 200; ++i) text += "\xE2\x82\xAC";
  track.Ran(Ranks()->Encode("x" + text + "\xE2\x82"));
  track.Turn(32, &reads);
  const std::string& asked = fake->asked[32];
  EXPECT_EQ(asked.size() % 3, 0u);
  EXPECT_GT(asked.size(), kMemoryTailBytes - 6);
  EXPECT_EQ(asked.substr(0, 3), "\xE2\x82\xAC");
}

TEST(MemoryTrack, AFactThatTheTextRepeatsIsFollowed) {
  const std::string fact = "the key is under the third pot";
  const std::vector<int32_t> tokens = Ranks()->Encode(" " + fact);
  const auto weights = [&](const std::string& text, const std::vector<RecalledText>& facts) {
    MemoryTrack track(std::make_unique<FakeView>(), Ranks(), facts);
    const std::vector<int32_t> ids = Ranks()->Encode(text);
    const size_t cut = ids.size() / 2;
    track.Ran(std::span(ids).first(cut));
    VerifyNode node;
    track.Weigh(std::span(ids).subspan(cut), &node);
    return node.token_weights;
  };
  RecalledText told;
  told.text = fact;
  EXPECT_TRUE(weights("nobody knows", {told}).empty());
  EXPECT_TRUE(weights("Where is the key is", {}).empty()) << "nothing was recalled";
  const auto found = weights("Look, the key is", {told});
  ASSERT_EQ(found.size(), 1u);
  const size_t next = Ranks()->Encode(" the key is").size();
  EXPECT_EQ(found[0].token_id, tokens[next]);
  EXPECT_EQ(found[0].weight, kCopyWeight * static_cast<float>(std::min(next, kCopyTokensMax)));
  EXPECT_TRUE(weights("Look, " + fact, {told}).empty()) << "nothing is left of it";
  EXPECT_EQ(weights("Look, the key is", {told, told}).size(), 1u);
}

TEST(MemoryTrack, RoomEndsAtTheNextKnot) {
  EXPECT_EQ(MemoryTrack::Room(16), 16);
  EXPECT_EQ(MemoryTrack::Room(17), 15);
  EXPECT_EQ(MemoryTrack::Room(31), 1);
}

}  // namespace
}  // namespace chimera
