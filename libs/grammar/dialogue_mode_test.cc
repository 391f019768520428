#include "grammar/grammar_testing.h"
#include "grammar/modes.h"
#include "gtest/gtest.h"
#include "text/utf8.h"

namespace chimera {
namespace {

TEST(DialogueMode, HasNoRoleTags) {
  StateTable table(MakeDialogueMachine());
  EXPECT_EQ(FirstFault(&table, ""), -1);
  EXPECT_EQ(FirstFault(&table, "a < b || c <\xE2\x82\xAC| |> < |"), -1);
  EXPECT_EQ(FirstFault(&table, "a <"), -1);
  EXPECT_EQ(FirstFault(&table, "a <|user|>"), 3);
  EXPECT_EQ(FirstFault(&table, "<<|"), 2);
  EXPECT_EQ(FirstFault(&table, "<\xE2|"), 2);
  EXPECT_EQ(FirstFault(&table, "<\xE2\x82"), 3);
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const std::string text = RandomText(&table, seed, 60);
    EXPECT_EQ(ValidUtf8Prefix(text), text.size()) << seed;
    EXPECT_EQ(text.find("<|"), std::string::npos) << seed;
  }
  EXPECT_EQ(table.n_states(), 10);  // the dead one, eight places, and after `<`
}

}  // namespace
}  // namespace chimera
