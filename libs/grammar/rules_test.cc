#include "grammar/rules.h"

#include <memory>

#include "grammar/grammar_testing.h"
#include "grammar/rule_builder.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

using Kind = RuleJump::Kind;

StateTable TableOf(RuleBuilder* builder, uint32_t root) {
  auto tables = builder->Build(root);
  EXPECT_TRUE(tables.ok()) << tables.status();
  return StateTable(std::make_shared<RuleMachine>(*std::move(tables)));
}

// nested = ( "(" nested ")" | "[" nested "]" )*
StateTable Nested() {
  RuleBuilder b;
  const uint32_t nested = b.AddRule("nested");
  const uint32_t top = b.start(nested);
  for (const char* pair : {"()", "[]"}) {
    const uint32_t in = b.AddPlace(nested), out = b.AddPlace(nested);
    b.Text(top, std::string(1, pair[0]), in);
    b.Call(in, nested, out);
    b.Text(out, std::string(1, pair[1]), top);
  }
  b.Empty(top, b.end(nested));
  return TableOf(&b, nested);
}

TEST(Rules, NestToAnyDepth) {
  StateTable table = Nested();
  EXPECT_EQ(FirstFault(&table, ""), -1);
  EXPECT_EQ(FirstFault(&table, "([()][])"), -1);
  EXPECT_EQ(FirstFault(&table, "([)"), 2);
  EXPECT_EQ(FirstFault(&table, "(("), 2);
  const GrammarState deep = table.Run(table.start(), "([[(");
  EXPECT_EQ(table.CloseBytes(deep), 4u);
  EXPECT_EQ(table.ClosingText(deep), ")]])");
  for (uint64_t seed = 0; seed < 200; ++seed) {
    EXPECT_EQ(FirstFault(&table, RandomText(&table, seed, 50)), -1);
  }
}

TEST(Rules, StopPushingAtTheDepthLimit) {
  StateTable table = Nested();
  GrammarState state = table.start();
  int depth = 0;
  while (const GrammarState next = table.Next(state, '(')) {
    state = next;
    ++depth;
  }
  EXPECT_EQ(depth, kGrammarDepthMax);
  EXPECT_NE(table.Next(state, ')'), kDeadState);
}

TEST(Rules, OneStateForEqualFutures) {
  StateTable table = Nested();
  EXPECT_EQ(table.Run(table.start(), "(["), table.Run(table.start(), "()[]([()"));
  EXPECT_NE(table.Run(table.start(), "(["), table.Run(table.start(), "["));
}

TEST(Rules, CountsHold) {
  RuleBuilder b;
  const uint32_t root = b.AddRule("root"), pair = b.AddRule("pair");
  b.Text(b.start(pair), "ab", b.end(pair));
  const uint32_t after = b.AddPlace(root);
  b.Repeat(b.start(root), pair, 2, 4, after);
  b.Text(after, ".", b.end(root));
  StateTable table = TableOf(&b, root);
  EXPECT_EQ(FirstFault(&table, "ab."), 2);
  EXPECT_EQ(FirstFault(&table, "abab."), -1);
  EXPECT_EQ(FirstFault(&table, "abababab."), -1);
  EXPECT_EQ(FirstFault(&table, "ababababab"), 8);
  EXPECT_EQ(table.CloseBytes(table.start()), 5u);
  EXPECT_EQ(table.CloseBytes(table.Run(table.start(), "aba")), 2u);
}

TEST(Rules, CountsWithinCountsAreInTheClosingFigure) {
  RuleBuilder b;
  const uint32_t root = b.AddRule("root"), group = b.AddRule("group"), one = b.AddRule("one");
  b.Text(b.start(one), "a", b.end(one));
  const uint32_t in = b.AddPlace(group), out = b.AddPlace(group);
  b.Text(b.start(group), "(", in);
  b.Repeat(in, one, 2, 9, out);
  b.Text(out, ")", b.end(group));
  const uint32_t open = b.AddPlace(root);
  b.Text(b.start(root), "<", open);
  b.Repeat(open, group, 3, 5, b.end(root));
  StateTable table = TableOf(&b, root);
  EXPECT_EQ(table.CloseBytes(table.start()), 13u);
  EXPECT_EQ(table.ClosingText(table.start()), "<(aa)(aa)(aa)");
  EXPECT_EQ(table.CloseBytes(table.Run(table.start(), "<(aa)(a")), 6u);
}

TEST(Rules, CountsWithoutEndStayFewStates) {
  RuleBuilder b;
  const uint32_t root = b.AddRule("root"), one = b.AddRule("one");
  b.Text(b.start(one), "a", b.end(one));
  b.Repeat(b.start(root), one, 3, kUnbounded, b.end(root));
  StateTable table = TableOf(&b, root);
  EXPECT_EQ(FirstFault(&table, "aa"), 2);
  EXPECT_EQ(FirstFault(&table, std::string(1000, 'a')), -1);
  EXPECT_LT(table.n_states(), 8);
}

// sum = sum "+" product | product; product = product "*" "x" | "x" | "(" sum ")"
TEST(Rules, LeftRecursionIsALoop) {
  RuleBuilder b;
  const uint32_t sum = b.AddRule("sum"), product = b.AddRule("product");
  const uint32_t s1 = b.AddPlace(sum), s2 = b.AddPlace(sum);
  b.Call(b.start(sum), sum, s1);
  b.Text(s1, "+", s2);
  b.Call(s2, product, b.end(sum));
  b.Call(b.start(sum), product, b.end(sum));
  const uint32_t p1 = b.AddPlace(product), p2 = b.AddPlace(product), p3 = b.AddPlace(product);
  b.Call(b.start(product), product, p1);
  b.Text(p1, "*x", b.end(product));
  b.Text(b.start(product), "x", b.end(product));
  b.Text(b.start(product), "(", p2);
  b.Call(p2, sum, p3);
  b.Text(p3, ")", b.end(product));
  StateTable table = TableOf(&b, sum);
  EXPECT_EQ(FirstFault(&table, "x+x*x+(x+(x)*x)"), -1);
  EXPECT_EQ(FirstFault(&table, "x+*"), 2);
  EXPECT_EQ(FirstFault(&table, "x*(x)"), 2);
  EXPECT_EQ(FirstFault(&table, "(x+x"), 4);
  EXPECT_EQ(table.Run(table.start(), "x+x"), table.Run(table.start(), "x+x+x+x"));
}

// a = b "y" | "z"; b = c? a "x": a and b begin with each other behind something that may be empty.
TEST(Rules, HiddenAndMutualLeftRecursion) {
  RuleBuilder b;
  const uint32_t ra = b.AddRule("a"), rb = b.AddRule("b"), rc = b.AddRule("c");
  b.Text(b.start(rc), "c", b.end(rc));
  b.Empty(b.start(rc), b.end(rc));
  const uint32_t a1 = b.AddPlace(ra), b1 = b.AddPlace(rb), b2 = b.AddPlace(rb);
  b.Call(b.start(ra), rb, a1);
  b.Text(a1, "y", b.end(ra));
  b.Text(b.start(ra), "z", b.end(ra));
  b.Call(b.start(rb), rc, b1);
  b.Call(b1, ra, b2);
  b.Text(b2, "x", b.end(rb));
  StateTable table = TableOf(&b, ra);
  for (const char* text : {"z", "zxy", "czxy", "zxyxy", "czxyxy", "cczxyxy"}) {
    EXPECT_EQ(FirstFault(&table, text), -1) << text;
  }
  EXPECT_EQ(FirstFault(&table, "czxyxyx"), 7);
  EXPECT_EQ(FirstFault(&table, "cz"), 2);
  EXPECT_EQ(FirstFault(&table, "zy"), 1);
}

TEST(Rules, AnEmptyLanguageIsAnError) {
  RuleBuilder b;
  const uint32_t root = b.AddRule("endless");
  const uint32_t in = b.AddPlace(root);
  b.Text(b.start(root), "(", in);
  b.Call(in, root, b.end(root));
  EXPECT_EQ(b.Build(root).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Rules, DeadEndsAreNeverEntered) {
  RuleBuilder b;
  const uint32_t root = b.AddRule("root"), endless = b.AddRule("endless");
  b.Call(b.start(endless), endless, b.AddPlace(endless));
  const uint32_t in = b.AddPlace(root);
  b.Text(b.start(root), "ab", in);
  b.Call(in, endless, b.end(root));
  b.Text(b.start(root), "ac", b.end(root));
  StateTable table = TableOf(&b, root);
  EXPECT_EQ(FirstFault(&table, "ab"), 1);
  EXPECT_EQ(FirstFault(&table, "ac"), -1);
}

TEST(Rules, TooManyReadingsAreAnError) {
  // Every a may be a level of its own or not: the readings double with each byte.
  RuleBuilder b;
  const uint32_t s = b.AddRule("s"), t = b.AddRule("t");
  for (const uint32_t rule : {s, t}) {
    for (const uint32_t called : {s, t}) {
      const uint32_t in = b.AddPlace(rule), out = b.AddPlace(rule);
      b.Text(b.start(rule), "a", in);
      b.Call(in, called, out);
      b.Text(out, "b", b.end(rule));
    }
    b.Text(b.start(rule), "a", b.end(rule));
  }
  StateTable table = TableOf(&b, s);
  table.Run(table.start(), std::string(50, 'a'));
  EXPECT_EQ(table.status().code(), absl::StatusCode::kResourceExhausted);
}

// A string of 1 to 3 characters, any of them.
StateTable ShortString(uint8_t flags) {
  RuleBuilder b;
  const uint32_t rule = b.AddRule("string");
  const uint32_t content = b.AddPlace(rule), tail = b.AddPlace(rule);
  b.SetCounts(rule, 1, 3);
  b.Text(b.start(rule), "\"", content);
  b.MakeString(content, static_cast<uint8_t>(flags | kPlaceCounted | kPlaceBetween), b.end(rule));
  b.MakeString(tail, flags, kNoPlace);
  b.Bytes(content, 0, 0x7F, content);
  b.Bytes(content, 0xC3, 0xC3, tail);
  b.Bytes(tail, 0x80, 0xBF, content);
  return TableOf(&b, rule);
}

TEST(Rules, StringsCountCharactersNotBytes) {
  StateTable table = ShortString(kPlaceAnyEscape);
  EXPECT_EQ(FirstFault(&table, "\"\""), 1);
  EXPECT_EQ(FirstFault(&table, "\"\xC3\xA9\xC3\xA9\xC3\xA9\""), -1);
  EXPECT_EQ(FirstFault(&table, "\"abcd\""), 4);
  EXPECT_EQ(FirstFault(&table, "\"a\\n\\u00e9\""), -1);
  EXPECT_EQ(FirstFault(&table, "\"abc\\n\""), 4);
  EXPECT_EQ(FirstFault(&table, "\"\n\""), 1);
  EXPECT_EQ(FirstFault(&table, "\"\\x\""), 2);
  EXPECT_EQ(table.ClosingText(table.Run(table.start(), "\"a\\u00")).size(), 3u);
}

TEST(Rules, SurrogatesPairUnlessTheyMayStandAlone) {
  // The characters of the pairs are beyond ShortString's edges: only their form is looked at here.
  RuleBuilder b;
  const uint32_t rule = b.AddRule("string");
  const uint32_t content = b.AddPlace(rule);
  b.MakeString(content, kPlaceAnyEscape | kPlaceBetween, b.end(rule));
  b.Text(b.start(rule), "\"", content);
  b.Bytes(content, 0, 0xFF, content);
  StateTable table = TableOf(&b, rule);
  EXPECT_EQ(FirstFault(&table, R"("\ud83d\ude00")"), -1);
  EXPECT_EQ(FirstFault(&table, R"("\uD83Dx")"), 7);
  EXPECT_EQ(FirstFault(&table, R"("\ude00")"), 4);
  EXPECT_EQ(FirstFault(&table, R"("\ud83d\u0041")"), 9);
  EXPECT_EQ(table.CloseBytes(table.Run(table.start(), R"("\ud83d)")), 7u);

  RuleBuilder lone;
  const uint32_t other = lone.AddRule("string");
  const uint32_t inside = lone.AddPlace(other);
  lone.MakeString(inside, kPlaceAnyEscape | kPlaceLoneSurrogates | kPlaceBetween, lone.end(other));
  lone.Text(lone.start(other), "\"", inside);
  lone.Bytes(inside, 0, 0xFF, inside);
  StateTable lenient = TableOf(&lone, other);
  for (const char* text : {R"("\uD83Dx")", R"("\ude00")", R"("\ud83d\u0041")", R"("\ud83d\n")",
                           R"("\ud83d")", R"("\ud83d\ud83d\ude00")"}) {
    EXPECT_EQ(FirstFault(&lenient, text), -1) << text;
  }
}

TEST(Rules, EscapesThatCannotFitAreNeverBegun) {
  StateTable table = ShortString(0);
  // Without kPlaceAnyEscape only what JSON cannot hold as it is.
  EXPECT_EQ(FirstFault(&table, R"("\u0041")"), 5);
  EXPECT_EQ(FirstFault(&table, R"("\u001f")"), -1);
  EXPECT_EQ(FirstFault(&table, R"("\"\\")"), -1);
  EXPECT_EQ(FirstFault(&table, R"("\/")"), 2);
  RuleBuilder b;
  const uint32_t rule = b.AddRule("letters");
  const uint32_t content = b.AddPlace(rule);
  b.Text(b.start(rule), "\"", content);
  b.MakeString(content, kPlaceBetween, b.end(rule));
  b.Bytes(content, 'a', 'z', content);
  StateTable letters = TableOf(&b, rule);
  EXPECT_EQ(FirstFault(&letters, "\"ab\\"), 3);
  for (uint64_t seed = 0; seed < 300; ++seed) {
    RandomText(&table, seed, 12);
    RandomText(&letters, seed, 12);
  }
}

}  // namespace
}  // namespace chimera
