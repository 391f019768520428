#include "text/streaming.h"

#include <gtest/gtest.h>

#include "text/text_testing.h"
#include "text/utf8.h"

namespace chimera {
namespace {

const std::shared_ptr<const Tokenizer>& SharedTokenizer() {
  static const auto* const tokenizer =
      new std::shared_ptr<const Tokenizer>(TruncatedTokenizer(8192));
  return *tokenizer;
}

std::vector<int32_t> EncodeChunks(StreamingEncoder* encoder,
                                  const std::vector<std::string>& chunks) {
  std::vector<int32_t> ids;
  for (const std::string& chunk : chunks) EXPECT_TRUE(encoder->Push(chunk, &ids).ok());
  EXPECT_TRUE(encoder->Finish(&ids).ok());
  return ids;
}

TEST(StreamingEncoder, EverySplitPointEqualsWhole) {
  StreamingEncoder encoder(SharedTokenizer());
  TestRandom random(1);
  for (int round = 0; round < 300; ++round) {
    const std::string text = random.ClassText(40, true);
    const std::vector<int32_t> whole = SharedTokenizer()->Encode(text);
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      ASSERT_EQ(EncodeChunks(&encoder, {text.substr(0, cut), text.substr(cut)}), whole)
          << "cut " << cut << " of " << text;
    }
  }
}

TEST(StreamingEncoder, ByteByByteAndRandomChunksEqualWhole) {
  StreamingEncoder encoder(SharedTokenizer());
  TestRandom random(2);
  for (int round = 0; round < 300; ++round) {
    const std::string text = random.ClassText(300, true);
    std::vector<std::string> bytes, chunks;
    for (const char c : text) bytes.emplace_back(1, c);
    for (size_t at = 0; at < text.size();) {
      chunks.push_back(text.substr(at, random.Below(30)));
      at += chunks.back().size();
    }
    const std::vector<int32_t> whole = SharedTokenizer()->Encode(text);
    ASSERT_EQ(EncodeChunks(&encoder, bytes), whole) << text;
    ASSERT_EQ(EncodeChunks(&encoder, chunks), whole) << text;
  }
}

TEST(StreamingEncoder, HoldsBackOnlyTheOpenPiece) {
  StreamingEncoder encoder(SharedTokenizer());
  std::vector<int32_t> ids;
  ASSERT_TRUE(encoder.Push("Once upon a time, there was a lit", &ids).ok());
  EXPECT_EQ(encoder.held_bytes(), 4u);  // " lit"
  ASSERT_TRUE(encoder.Push("tle girl.", &ids).ok());
  EXPECT_EQ(encoder.held_bytes(), 1u);
}

TEST(StreamingEncoder, LongPieceByteByByteIsLinearAndBounded) {
  StreamingEncoder encoder(SharedTokenizer(), 100000);
  std::vector<int32_t> ids;
  for (int i = 0; i < 100000; ++i) ASSERT_TRUE(encoder.Push("a", &ids).ok()) << i;
  const absl::Status status = encoder.Push("a", &ids);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(encoder.Push(" ok ", &ids).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(encoder.held_bytes(), 0u);
  EXPECT_FALSE(encoder.Finish(&ids).ok());
  ids.clear();
  EXPECT_TRUE(encoder.Push("One day,", &ids).ok());
  EXPECT_TRUE(encoder.Finish(&ids).ok());
  EXPECT_EQ(ids, SharedTokenizer()->Encode("One day,"));
}

TEST(StreamingDecoder, AnyChunksEqualReplacementOfTheWhole) {
  TestRandom random(3);
  StreamingDecoder decoder(SharedTokenizer());
  for (int round = 0; round < 500; ++round) {
    const std::string bytes = round % 2 == 0 ? random.Bytes(60) : random.ClassText(40, true);
    std::string expected, text;
    AppendUtf8Replaced(bytes, &expected);
    for (const int32_t id : SharedTokenizer()->Encode(bytes)) {
      text += decoder.Push(id);
      ASSERT_EQ(ValidUtf8Prefix(text), text.size());
      ASSERT_LE(decoder.held_bytes(), 3u);
    }
    ASSERT_EQ(text + decoder.Finish(), expected);
    text.clear();
    for (const char c : bytes) text += decoder.PushBytes(std::string_view(&c, 1));
    ASSERT_EQ(text + decoder.Finish(), expected);
  }
}

TEST(StreamingDecoder, HoldsBackACharacterInParts) {
  StreamingDecoder decoder(SharedTokenizer());
  EXPECT_EQ(decoder.PushBytes("a\xE4\xB8"), "a");
  EXPECT_EQ(decoder.Push(SharedTokenizer()->eot()), "");
  EXPECT_EQ(decoder.PushBytes("\xAD"), "\u4E2D");
  EXPECT_EQ(decoder.PushBytes("\xF0\x9F\x98"), "");
  EXPECT_EQ(decoder.Finish(), "\uFFFD");
  EXPECT_EQ(decoder.Finish(), "");
}

}  // namespace
}  // namespace chimera
