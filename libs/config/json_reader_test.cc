#include "config/json_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/string_view.h"

namespace chimera {
namespace {

using testing::HasSubstr;

JsonDocument Doc(const std::string& text) {
  auto document = JsonDocument::Parse(text, "test");
  EXPECT_TRUE(document.ok()) << document.status();
  return *std::move(document);
}

TEST(JsonReader, ReadsAndClaims) {
  const JsonDocument document = Doc(R"({"a":{"b":3,"c":true},"d":[{"name":"x","e":1.5}]})");
  Reader root(document);
  int b = 0;
  double e = 0;
  bool c = false;
  Reader a = root.At("a");
  a.ActsIn("here");
  a.Int("b", 0, 9, &b);
  a.Unclaimed().Bool("c", &c);
  root.At("d", "x").Float("e", 0, 2, &e);
  ASSERT_TRUE(root.status().ok()) << root.status();
  EXPECT_EQ(b, 3);
  EXPECT_TRUE(c);
  EXPECT_EQ(e, 1.5);
  ASSERT_EQ(root.claims().size(), 2u);
  EXPECT_EQ(root.claims()[0].path, "a.b");
  EXPECT_EQ(root.claims()[0].where, "here");
  EXPECT_EQ(root.claims()[1].path, "d[x].e");
}

TEST(JsonReader, FirstErrorSticks) {
  const JsonDocument document = Doc(R"({"a":1,"b":"x"})");
  Reader r(document);
  int a = 7;
  int64_t b = 7;
  r.Int("a", 5, 9, &a);
  r.Int("b", 0, 9, &b);
  EXPECT_EQ(a, 7);
  EXPECT_EQ(b, 7);
  EXPECT_EQ(ToStd(r.status().message()), "a = 1 is outside 5..9");
  EXPECT_EQ(r.claims().size(), 1u);
}

TEST(JsonReader, OptionalMembersMayBeMissing) {
  const JsonDocument document = Doc(R"({"a":1,"s":{}})");
  Reader r = Reader(document).Optional();
  int a = 0;
  int b = 4;
  r.Int("a", 0, 9, &a);
  r.Int("b", 0, 9, &b);
  r.At("none").Int("b", 0, 9, &b);
  r.At("s").Int("b", 0, 9, &b);
  r.RejectUnread(document);
  EXPECT_TRUE(r.status().ok()) << r.status();
  EXPECT_EQ(a, 1);
  EXPECT_EQ(b, 4);
}

TEST(JsonReader, CountsAndTheirLabels) {
  const JsonDocument document =
      Doc(R"({"a":"4M","b":"2T","c":"1.5K","d":12,"e":"M","f":"4X","g":"4MM","h":-1})");
  for (const auto& [key, want] : std::vector<std::pair<std::string, int64_t>>{
           {"a", 4'000'000}, {"b", 2'000'000'000'000}, {"c", 1500}, {"d", 12}}) {
    Reader r(document);
    int64_t count = 0;
    r.Count(key, &count);
    EXPECT_TRUE(r.status().ok()) << r.status();
    EXPECT_EQ(count, want);
  }
  for (const char* key : {"e", "f", "g", "h"}) {
    Reader r(document);
    int64_t count = 0;
    r.Count(key, &count);
    EXPECT_THAT(std::string(ToStd(r.status().message())), HasSubstr("must be a count")) << key;
  }
}

TEST(JsonDocument, LeavesNameElements) {
  const JsonDocument document =
      Doc(R"({"a":{"b":[1,[2]]},"c":[{"name":"x","d":1},{"d":2}],"e":{},"f":null})");
  std::vector<std::string> paths;
  for (const Leaf& leaf : document.Leaves()) paths.push_back(leaf.path);
  EXPECT_EQ(paths, (std::vector<std::string>{"a.b", "c[x].name", "c[x].d", "c[].d", "e", "f"}));
}

TEST(JsonDocument, MergePatchFollowsTheRfc) {
  JsonDocument document = Doc(R"({"a":"b","c":{"d":"e","f":"g"},"k":[1]})");
  document.MergePatch(Doc(R"({"a":"z","c":{"f":null,"n":1},"k":{"x":2}})"));
  EXPECT_TRUE(document.Has({"c", "n"}));
  EXPECT_FALSE(document.Has({"c", "f"}));
  EXPECT_TRUE(document.Has({"k", "x"}));
  EXPECT_EQ(document.DumpAt("a"), "\"z\"");
  document.Erase({"c", "d"});
  EXPECT_EQ(document.DumpAt("c"), R"({"n":1})");
}

}  // namespace
}  // namespace chimera
