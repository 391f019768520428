#include "grammar/grammar_testing.h"
#include "grammar/modes.h"
#include "gtest/gtest.h"
#include "text/utf8.h"

namespace chimera {
namespace {

TEST(PlainTextMode, IsExactlyWellFormedUtf8) {
  StateTable table(MakePlainTextMachine());
  EXPECT_EQ(FirstFault(&table, ""), -1);
  EXPECT_EQ(FirstFault(&table, "a (b\n\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), -1);
  EXPECT_EQ(FirstFault(&table, "a\xC0\x80"), 1);
  EXPECT_EQ(FirstFault(&table, "a\xED\xA0\x80"), 2);
  EXPECT_EQ(FirstFault(&table, "a\xE2\x82"), 3);
  for (uint64_t seed = 0; seed < 500; ++seed) {
    const std::string text = RandomText(&table, seed, 40);
    EXPECT_EQ(ValidUtf8Prefix(text), text.size()) << seed;
  }
}

TEST(PlainTextMode, HasAFewStatesOnly) {
  StateTable table(MakePlainTextMachine());
  for (uint64_t seed = 0; seed < 100; ++seed) RandomText(&table, seed, 100);
  EXPECT_EQ(table.n_states(), 9);  // the dead one and eight places
}

}  // namespace
}  // namespace chimera
