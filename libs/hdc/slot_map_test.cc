#include "hdc/slot_map.h"

#include <array>
#include <map>

#include "base/philox.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

TEST(SlotMap, EqualsTheTwin) {
  const PhiloxStream dice(29, RngPurpose::kDataShuffle, 0);
  SlotMap slots;
  std::map<uint64_t, uint32_t> twin;
  for (uint32_t step = 0; step < 20000; ++step) {
    // Ids one after the other, far apart, and in steps of a power of two.
    const uint64_t n = dice.Word(2 * step) % 1000;
    const uint64_t id = step % 3 == 0 ? n : step % 3 == 1 ? n << 40 : ~n;
    if (dice.Word(2 * step + 1) % 3 == 0) {
      slots.Erase(id);
      twin.erase(id);
    } else {
      const auto [at, is_new] = slots.TryEmplace(id);
      ASSERT_EQ(is_new, !twin.contains(id));
      ASSERT_EQ(*at, is_new ? 0 : twin[id]);
      *at = twin[id] = step;
    }
    ASSERT_EQ(slots.size(), twin.size());
    const uint32_t* const found = slots.Find(id);
    ASSERT_EQ(found != nullptr, twin.contains(id));
    if (found != nullptr) {
      ASSERT_EQ(*found, twin[id]);
    }
  }
  for (const auto& [id, slot] : twin) ASSERT_EQ(*slots.Find(id), slot);
}

TEST(SlotMap, RegularIdsSpreadOverTheParts) {
  for (const uint64_t step : {1ull, 16ull, 4096ull, 1ull << 33}) {
    std::array<int, 1 << SlotMap::kPartBits> counts = {};
    for (uint64_t n = 0; n < 16000; ++n) ++counts[SlotMap::PartOf(n * step)];
    for (const int count : counts) EXPECT_NEAR(count, 1000, 100) << step;
  }
}

}  // namespace
}  // namespace chimera
