#include "memory/entity_memory.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "memory/memory_types.h"
#include "memory/policy_testing.h"

namespace chimera {
namespace {

using ::testing::HasSubstr;

class EntityMemoryTest : public testing::Test {
 protected:
  EntityChange Say(const std::string& name, EntityRole role, const std::string& filler) {
    return memory_.Set({.name = name, .role = role, .filler = filler}).value();
  }
  std::vector<std::string> Names(const EntityFilter& filter = {}) {
    std::vector<std::string> names;
    for (const EntityInfo& one : memory_.List(filter)) names.push_back(one.name);
    return names;
  }

  const EntityCodes codes_{0x5EED};
  EntityMemory memory_{&codes_};
};

TEST_F(EntityMemoryTest, ARoleHasOneFiller) {
  EXPECT_TRUE(Say("Ada", EntityRole::kLocation, "Paris").created);
  const EntityChange change = Say("Ada", EntityRole::kLocation, "Rome");
  EXPECT_FALSE(change.created);
  EXPECT_EQ(change.replaced, "Paris");
  EXPECT_EQ(Say("Ada", EntityRole::kLocation, "Rome").replaced, "");
  const auto entities = memory_.List({});
  ASSERT_EQ(entities.size(), 1u);
  ASSERT_EQ(entities[0].parts.size(), 1u);
  EXPECT_EQ(entities[0].parts[0].filler, "Rome");
}

TEST_F(EntityMemoryTest, APronounLeavesOutWhoIsOtherwise) {
  Say("Ada", EntityRole::kGender, "female");
  Say("Bob", EntityRole::kGender, "male");
  Say("the river", EntityRole::kType, "water");
  Say("the twins", EntityRole::kNumber, "plural");
  Say("Ada", EntityRole::kNumber, "singular");
  EXPECT_THAT(Names({.number = "singular", .gender = "female"}),
              testing::ElementsAre("Ada", "the river"));
  EXPECT_THAT(Names({.gender = "male"}), testing::ElementsAre("the twins", "the river", "Bob"));
  EXPECT_THAT(Names({.number = "dual"}), testing::ElementsAre("the river", "Bob"))
      << "a word nobody said is the number of none";
}

TEST_F(EntityMemoryTest, TheOldestMakesRoomForThe257th) {
  for (int i = 0; i < kEntitySlots; ++i) {
    EXPECT_EQ(Say("entity " + std::to_string(i), EntityRole::kType, "thing").evicted, "");
  }
  EXPECT_FALSE(Say("entity 0", EntityRole::kType, "thing").created) << "spoken of again";
  EXPECT_EQ(Say("one more", EntityRole::kType, "thing").evicted, "entity 1");
  EXPECT_EQ(Names().size(), static_cast<size_t>(kEntitySlots));
  EXPECT_EQ(Names()[1], "entity 0");
}

TEST_F(EntityMemoryTest, FullIsAnErrorThatChangesNothing) {
  for (int role = 1; role < kEntityTermsMax; ++role) {
    Say("Ada", static_cast<EntityRole>(role), "x");
  }
  const std::string before = memory_.Encode();
  EXPECT_EQ(memory_.Set({.name = "Ada", .role = EntityRole::kOther, .filler = "x"}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(memory_.Encode(), before);
  absl::Status full;
  int said = 0;
  while (full.ok()) {
    const std::string tail = std::to_string(said++);
    full = memory_
               .Set({.name = std::string(200, 'n') + tail,
                     .role = EntityRole::kOther,
                     .filler = std::string(200, 'f') + tail})
               .status();
    ASSERT_LE(memory_.Encode().size(), kSectionBytesMax);
  }
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("65536"));
  EXPECT_GT(said, 100);
}

TEST_F(EntityMemoryTest, BytesComeBackAndDamageIsFound) {
  Say("Ada", EntityRole::kOwner, "Ada");
  Say("Bob", EntityRole::kGender, "male");
  Say("gone", EntityRole::kGender, "unsaid word");
  EXPECT_TRUE(memory_.Forget("gone"));
  EXPECT_FALSE(memory_.Forget("gone"));
  const std::string bytes = memory_.Encode();
  EXPECT_EQ(bytes.find("unsaid word"), bytes.npos) << "words go with their entity";
  ExpectHardenedDecode(
      bytes,
      [this](std::string_view sample) -> absl::StatusOr<std::string> {
        auto decoded = EntityMemory::Decode(sample, &codes_);
        if (!decoded.ok()) return decoded.status();
        return decoded->Encode();
      },
      2000);
  const EntityCodes others(7);
  EXPECT_EQ(EntityMemory::Decode(bytes, &others).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace chimera
