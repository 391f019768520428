// A token of a stream passes gate and monitors without an allocation.
#include <filesystem>

#include "base/alloc_testing.h"
#include "gtest/gtest.h"
#include "memory/evolution.h"

namespace chimera {
namespace {

class NoStore : public EvolutionStore {
 public:
  absl::StatusOr<std::vector<uint64_t>> Put(std::span<const ProposedFact> facts) override {
    return std::vector<uint64_t>{facts.front().id};
  }
  absl::Status Drop(std::span<const uint64_t>) override { return absl::OkStatus(); }
  absl::Status SetWeight(uint64_t, float) override { return absl::OkStatus(); }
  absl::StatusOr<std::vector<uint64_t>> List() override { return std::vector<uint64_t>{}; }
  int64_t Bytes() const override { return 0; }
  absl::StatusOr<LearnedBanks> Banks() override { return LearnedBanks{}; }
  absl::Status RestoreBanks(const LearnedBanks&) override { return absl::OkStatus(); }
};

TEST(EvolutionAlloc, ATokenAllocatesNothing) {
  NoStore store;
  const std::string path = testing::TempDir() + "/evolution_alloc.state";
  std::filesystem::remove(path);
  EvolutionOptions options;
  options.pool.facts_max = 64;
  const auto evolution = Evolution::Open(options, &store, path);
  ASSERT_TRUE(evolution.ok()) << evolution.status();
  const long before = Allocations();
  int writes = 0, errors = 0;
  for (int n = 0; n < 10000; ++n) {
    const auto write = (*evolution)->OnToken(n % 40 == 39 ? 9 : 1, n % 50 == 0, true);
    errors += !write.ok();
    writes += write.ok() && *write;
  }
  const long after = Allocations();
  EXPECT_EQ(after, before);
  EXPECT_EQ(errors, 0);
  EXPECT_GT(writes, 200);
  const ProposedFact fact = {.id = 1, .text = "fact"};
  EXPECT_EQ(*(*evolution)->Propose({&fact, 1}), 1);
  EXPECT_GT(Allocations(), after);  // it counts
}

}  // namespace
}  // namespace chimera
