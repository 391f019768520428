// Facts with sources: conflicts, uncertainty, batches, uses, drops, pages.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "memory/fact_record.h"
#include "memory/test_store.h"
#include "memory/usage_merge.h"

namespace chimera {
namespace {

using StoreFacts = StoreTest;

std::vector<std::string> Texts(Memory* memory, const std::string& user) {
  std::vector<std::string> texts;
  const auto facts = memory->Recall(user, "x", 64);
  EXPECT_TRUE(facts.ok()) << facts.status();
  if (facts.ok()) {
    for (const RecalledFact& fact : *facts) texts.push_back(fact.text);
  }
  std::sort(texts.begin(), texts.end());
  return texts;
}

TEST_F(StoreFacts, LaterFactAboutTheSameSupersedes) {
  const auto memory = MustOpen(Options());
  const auto first =
      *RememberFact(memory.get(), "ada", Fact("Ada lives in Rome", Source::kUser, "home"));
  const auto second =
      *RememberFact(memory.get(), "ada", Fact("Ada lives in Oslo", Source::kUser, "home"));
  EXPECT_TRUE(second.created);
  EXPECT_EQ(second.superseded_id, first.fact_id);
  EXPECT_EQ(Texts(memory.get(), "ada"), (std::vector<std::string>{"Ada lives in Oslo"}));
  // Other users and other subjects are none of its business.
  EXPECT_EQ(RememberFact(memory.get(), "bob", Fact("Bob lives in Rome", Source::kUser, "home"))
                ->superseded_id,
            "");
  EXPECT_EQ(RememberFact(memory.get(), "ada", Fact("Ada works in Bergen", Source::kUser, "work"))
                ->superseded_id,
            "");
  EXPECT_EQ(memory->Stats("ada")->facts, 2);
  EXPECT_EQ(memory->Stats("bob")->facts, 1);
}

TEST_F(StoreFacts, InferredNeverSupersedesAUsersFact) {
  std::string user_id;
  {
    const auto memory = MustOpen(Options());
    const auto guess =
        *RememberFact(memory.get(), "ada", Fact("Ada likes coffee", Source::kInferred, "drink"));
    const auto better =
        *RememberFact(memory.get(), "ada", Fact("Ada likes cocoa", Source::kInferred, "drink"));
    EXPECT_EQ(better.superseded_id, guess.fact_id);
    const auto said =
        *RememberFact(memory.get(), "ada", Fact("Ada likes tea", Source::kUser, "drink"));
    EXPECT_EQ(said.superseded_id, better.fact_id);
    user_id = said.fact_id;
  }
  const auto memory = Reopen();
  const auto late =
      *RememberFact(memory.get(), "ada", Fact("Ada likes coffee", Source::kInferred, "drink"));
  EXPECT_TRUE(late.overruled);
  EXPECT_FALSE(late.created);
  EXPECT_EQ(late.fact_id, user_id);
  EXPECT_EQ(Texts(memory.get(), "ada"), (std::vector<std::string>{"Ada likes tea"}));
  // Once the user's fact is forgotten, the place is free.
  EXPECT_EQ(*memory->Forget("ada", user_id), 1);
  EXPECT_TRUE(
      RememberFact(memory.get(), "ada", Fact("Ada likes coffee", Source::kInferred, "drink"))
          ->created);
}

TEST_F(StoreFacts, SameTextAgainRisesAndMoves) {
  const auto memory = MustOpen(Options());
  const auto recall = [&] { return memory->Recall("ada", "the cat is grey", 1)->at(0); };
  RememberFact(memory.get(), "ada", Fact("the cat is grey", Source::kInferred, "", 0.25f)).value();
  EXPECT_EQ(recall().source, Source::kInferred);
  EXPECT_EQ(recall().weight, 0.25f);
  // Said by the user it is the user's, with the user's weight.
  const auto risen = *RememberFact(memory.get(), "ada", Fact("the cat is grey"));
  EXPECT_FALSE(risen.created);
  EXPECT_EQ(recall().source, Source::kUser);
  EXPECT_EQ(recall().weight, 1);
  // And stays it.
  RememberFact(memory.get(), "ada", Fact("the cat is grey", Source::kInferred, "", 0.5f)).value();
  EXPECT_EQ(recall().source, Source::kUser);
  EXPECT_EQ(recall().weight, 1);
  // A new subject moves it, and it supersedes there.
  const auto other = *RememberFact(memory.get(), "ada", Fact("it is black", Source::kUser, "cat"));
  const auto moved =
      *RememberFact(memory.get(), "ada", Fact("the cat is grey", Source::kUser, "cat"));
  EXPECT_EQ(moved.superseded_id, other.fact_id);
  EXPECT_EQ(recall().about, "cat");
  EXPECT_EQ(memory->Stats("ada")->facts, 1);
  EXPECT_EQ(memory->Stats("ada")->user_facts, 1);
  EXPECT_EQ(memory->Stats("ada")->bytes, FactBytes(3, 3, 15));
}

TEST_F(StoreFacts, ABatchReadsItsOwnWrites) {
  const auto memory = MustOpen(Options());
  const std::vector<NewFact> facts = {
      Fact("one", Source::kUser, "n"), Fact("two", Source::kUser, "n"),
      Fact("three", Source::kInferred, "n"), Fact("two", Source::kUser, "n"), Fact("four")};
  const auto answers = *memory->Remember("ada", facts);
  ASSERT_EQ(answers.size(), 5u);
  EXPECT_EQ(answers[1].superseded_id, answers[0].fact_id);
  EXPECT_TRUE(answers[2].overruled);
  EXPECT_FALSE(answers[3].created);
  EXPECT_TRUE(answers[4].created);
  EXPECT_EQ(Texts(memory.get(), "ada"), (std::vector<std::string>{"four", "two"}));
  EXPECT_EQ(memory->Stats("ada")->bytes, FactBytes(3, 1, 3) + FactBytes(3, 0, 4));
}

TEST_F(StoreFacts, ABatchIsAllOrNothing) {
  LocalMemoryOptions options = Options();
  options.facts_per_user_max = 2;
  const auto memory = MustOpen(options);
  const std::vector<NewFact> three = {Fact("one"), Fact("two"), Fact("three")};
  EXPECT_EQ(memory->Remember("ada", three).status().code(), absl::StatusCode::kResourceExhausted);
  const std::vector<NewFact> bad = {Fact("one"), Fact("")};
  const absl::Status status = memory->Remember("ada", bad).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.ToString().find("fact 1: text of 0 bytes"), std::string::npos) << status;
  EXPECT_EQ(memory->Stats("ada")->facts, 0);
  EXPECT_TRUE(memory->Recall("ada", "one", 1)->empty());
}

TEST_F(StoreFacts, SeveralQueriesInOneCall) {
  const auto memory = MustOpen(Options());
  ASSERT_TRUE(memory->Remember("ada", "the kettle is blue").ok());
  NewFact tagged = Fact("the stove is green");
  tagged.tags = 6;
  ASSERT_TRUE(RememberFact(memory.get(), "ada", tagged).ok());
  const std::vector<std::string> queries = {"blue kettle", "green stove"};
  const auto both = *memory->Recall("ada", queries, {.k = 1, .with_sketches = true});
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].at(0).text, "the kettle is blue");
  EXPECT_EQ(both[1].at(0).text, "the stove is green");
  EXPECT_EQ(both[1][0].tags, 6u);
  ASSERT_TRUE(both[0][0].sketch.has_value());
  EXPECT_NE(*both[0][0].sketch, *both[1][0].sketch);
  const auto with_tag = *memory->Recall("ada", queries, {.tags_any = 2});
  ASSERT_EQ(with_tag[0].size(), 1u);
  EXPECT_EQ(with_tag[0][0].text, "the stove is green");
  const auto near = *memory->Recall("ada", queries, {.similarity_min = 0.2f});
  ASSERT_EQ(near[0].size(), 1u);
  EXPECT_EQ(near[0][0].text, "the kettle is blue");
  // A user without anything gets answers of the same shape.
  const auto none = *memory->Recall("eve", queries, {});
  ASSERT_EQ(none.size(), 2u);
  EXPECT_TRUE(none[0].empty() && none[1].empty());
}

TEST_F(StoreFacts, UncertainFactsSaySo) {
  const auto memory = MustOpen(Options());
  const auto uncertain = [&](const std::string& query) {
    return memory->Recall("ada", query, 1)->at(0).uncertain;
  };
  RememberFact(memory.get(), "ada", Fact("lentils with rice", Source::kInferred, "", 0.3f)).value();
  EXPECT_TRUE(uncertain("lentils with rice"));
  RememberFact(memory.get(), "ada", Fact("lentils with rice")).value();
  EXPECT_FALSE(uncertain("lentils with rice"));
  EXPECT_TRUE(uncertain("the moon over mountains"));  // nothing near enough
}

TEST_F(StoreFacts, UsesAreMergedAsIfReadAndWritten) {
  std::string id;
  UsageRecord expected{.uses = 0, .weight = 0.5f};
  {
    const auto memory = MustOpen(Options());
    id = RememberFact(memory.get(), "ada", Fact("useful", Source::kInferred, "", 0.5f))->fact_id;
    for (int i = 0; i < 30; ++i) {
      const float benefit = static_cast<float>(i % 7 - 2) / 2;
      EXPECT_EQ(*memory->Reinforce("ada", std::vector<FactUse>{{id, benefit}, {id, 0.125f}}), 2);
      CountUse(benefit, &expected);
      CountUse(0.125f, &expected);
      // What is not there and what is another's count alike.
      EXPECT_EQ(*memory->Reinforce("bob", std::vector<FactUse>{{id, 1}}), 0);
      EXPECT_EQ(*memory->Reinforce("ada", std::vector<FactUse>{{"0123456789abcdef", 1}}), 0);
      if (i == 10) {  // some operands leave the log for a table file
        ASSERT_TRUE(memory->Forget("ada", memory->Remember("ada", "x")->fact_id).ok());
      }
    }
    const RecalledFact fact = memory->Recall("ada", "useful", 1)->at(0);
    EXPECT_EQ(fact.uses, expected.uses);
    EXPECT_EQ(fact.weight, expected.weight);
  }
  const auto infos = *Reopen()->ListFacts("ada", 0, 10);
  ASSERT_EQ(infos.size(), 1u);
  EXPECT_EQ(infos[0].uses, expected.uses);
  EXPECT_EQ(infos[0].weight, expected.weight);
}

TEST_F(StoreFacts, DamagedUsesAreCountedNotBelieved) {
  std::string id;
  {
    const auto memory = MustOpen(Options());
    id = memory->Remember("ada", "useful")->fact_id;
  }
  {
    const auto db = OpenDatabase();
    const std::string key = IdKey("ada", FactIdFromHex(id));
    std::string operand = EncodeUses(key, std::vector<float>{1});
    operand[3] = static_cast<char>(operand[3] ^ 1);
    rocksdb::WriteBatch batch;
    batch.Merge(db->handle(Family::kUsage), key, operand);
    ASSERT_TRUE(db->Write(&batch, true, 1).ok());
  }
  const auto memory = Reopen();
  const RecalledFact fact = memory->Recall("ada", "useful", 1)->at(0);
  EXPECT_EQ(fact.uses, 0u);
  EXPECT_EQ(fact.weight, 0);
  EXPECT_EQ(memory->Stats("")->corrupt_records_skipped, 1);
}

TEST_F(StoreFacts, DropTakesInferredFactsOnly) {
  const auto memory = MustOpen(Options());
  const auto said = *RememberFact(memory.get(), "ada", Fact("said", Source::kUser, "a"));
  const auto guess = *RememberFact(memory.get(), "ada", Fact("guess", Source::kInferred, "b"));
  const std::vector<uint64_t> ids = {FactIdFromHex(said.fact_id), FactIdFromHex(guess.fact_id), 7};
  EXPECT_EQ(*memory->Drop("bob", ids), 0);
  EXPECT_EQ(*memory->Drop("ada", ids), 1);
  EXPECT_EQ(*memory->Drop("ada", ids), 0);
  EXPECT_EQ(Texts(memory.get(), "ada"), (std::vector<std::string>{"said"}));
  EXPECT_EQ(
      RememberFact(memory.get(), "ada", Fact("new guess", Source::kInferred, "b"))->superseded_id,
      "");
}

TEST_F(StoreFacts, PagesOfFacts) {
  const auto memory = MustOpen(Options());
  std::set<uint64_t> ids;
  for (int i = 0; i < 50; ++i) {
    ids.insert(FactIdFromHex(memory->Remember("ada", absl::StrCat("fact ", i))->fact_id));
  }
  ASSERT_TRUE(memory->Remember("bob", "another's").ok());
  std::vector<uint64_t> listed;
  for (uint64_t next = 0;;) {
    const auto page = *memory->ListFacts("ada", next, 16);
    if (page.empty()) break;
    for (const FactInfo& info : page) listed.push_back(info.id);
    next = listed.back() + 1;
  }
  EXPECT_EQ(listed, std::vector<uint64_t>(ids.begin(), ids.end()));
  EXPECT_EQ(memory->ListFacts("ada", 0, 0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(memory->ListFacts("eve", 0, 5)->empty());
}

}  // namespace
}  // namespace chimera
