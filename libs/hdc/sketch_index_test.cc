// The index against its obvious twin, a map: every search of every policy, through growth, erasing
// and replacing.
#include "hdc/sketch_index.h"

#include <algorithm>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/philox.h"
#include "gtest/gtest.h"
#include "hdc/search_bench.h"

namespace chimera {
namespace {

constexpr uint64_t kSeed = 17;

// Candidates by the definition of a policy, distances by XOR and counting.
class NaiveIndex {
 public:
  explicit NaiveIndex(uint64_t seed) : lsh_(seed) {}

  void Insert(uint64_t id, const HyperVector& v) {
    Entry& entry = entries_[id];
    entry.vector = v;
    entry.buckets = BucketsOf(v);
  }
  bool Erase(uint64_t id) { return entries_.erase(id) == 1; }
  std::map<uint64_t, HyperVector> Vectors() const {
    std::map<uint64_t, HyperVector> all;
    for (const auto& [id, entry] : entries_) all[id] = entry.vector;
    return all;
  }
  size_t size() const { return entries_.size(); }

  std::vector<SketchMatch> Nearest(const HyperVector& query, int k, SearchPolicy policy) const {
    if (size() < SketchIndex::kTablesFrom) policy = kScan;
    const std::array<uint32_t, kLshTables> buckets = BucketsOf(query);
    std::vector<SketchMatch> found;
    for (const auto& [id, entry] : entries_) {
      int votes = 0;
      for (int t = 0; t < policy.tables; ++t) {
        const int off = __builtin_popcount(entry.buckets[t] ^ buckets[t]);
        votes += off == 0 || (off == 1 && t < policy.flip_tables);
      }
      if (!policy.scan() && votes < policy.min_votes) continue;
      int distance = 0;
      for (int w = 0; w < kHyperWords; ++w) {
        distance += __builtin_popcountll(entry.vector.words[w] ^ query.words[w]);
      }
      found.push_back({.distance = distance, .id = id});
    }
    std::sort(found.begin(), found.end());
    found.resize(std::min(found.size(), static_cast<size_t>(std::max(k, 0))));
    return found;
  }

 private:
  struct Entry {
    HyperVector vector;
    std::array<uint32_t, kLshTables> buckets;
  };
  std::array<uint32_t, kLshTables> BucketsOf(const HyperVector& v) const {
    std::array<uint32_t, kLshTables> buckets = {};
    for (int t = 0; t < kLshTables; ++t) {
      for (int j = 0; j < kLshBitsPerTable; ++j) {
        buckets[t] |= uint32_t{v.Bit(lsh_.positions(t)[j])} << j;
      }
    }
    return buckets;
  }

  const LshTables lsh_;
  std::map<uint64_t, Entry> entries_;
};

// Both at once, compared after every so many changes.
class Pair {
 public:
  explicit Pair(size_t capacity) : index(*SketchIndex::Create(capacity, kSeed)), naive(kSeed) {}

  void Insert(uint64_t id, const HyperVector& v) {
    ASSERT_TRUE(index.Insert(id, v).ok());
    naive.Insert(id, v);
  }
  void Erase(uint64_t id) { ASSERT_EQ(index.Erase(id), naive.Erase(id)); }

  void Compare(const HyperVector& query) {
    ASSERT_EQ(index.size(), naive.size());
    for (const SearchPolicy& policy :
         {kScan, kExactProbing, kFlipsOn16, kFlipsOnAll, SearchPolicy{.tables = 1},
          SearchPolicy{.tables = 30, .flip_tables = 7, .min_votes = 2},
          SearchPolicy{.tables = 64, .flip_tables = 64, .min_votes = 3}}) {
      for (const int k : {0, 1, 8, 100}) {
        index.Nearest(query, k, policy, &scratch, &found);
        ASSERT_EQ(found, naive.Nearest(query, k, policy))
            << policy.tables << " " << policy.flip_tables << " " << policy.min_votes << " " << k;
      }
    }
  }

  SketchIndex index;
  NaiveIndex naive;
  SearchScratch scratch;
  std::vector<SketchMatch> found;
};

// Ids far apart, so that none is a slot.
uint64_t IdOf(uint64_t n) { return n * 0x9E3779B97F4A7C15ull; }

TEST(SketchIndex, EmptyAndSmall) {
  Pair pair(100);
  pair.Compare(RandomVector(1, 0));
  EXPECT_EQ(pair.index.Find(IdOf(0)), nullptr);
  EXPECT_LT(pair.index.MemoryBytes(), 8192u);
  for (uint64_t n = 0; n < 40; ++n) {
    pair.Insert(IdOf(n), RandomVector(1, n));
    pair.Compare(Flipped(RandomVector(1, n / 2), 0.2, n));
  }
  EXPECT_EQ(*pair.index.Find(IdOf(7)), RandomVector(1, 7));
  EXPECT_LT(pair.index.MemoryBytes(), 80u << 10);  // 64 vectors and their ids
}

TEST(SketchIndex, EqualDistancesAreOrderedById) {
  Pair pair(100);
  for (const uint64_t id : {9u, 3u, 7u, 1u, 5u}) pair.Insert(id, RandomVector(1, 0));
  pair.Compare(RandomVector(1, 0));
  pair.index.Nearest(RandomVector(1, 0), 3, kScan, &pair.scratch, &pair.found);
  const std::vector<SketchMatch> want = {{0, 1}, {0, 3}, {0, 5}};
  EXPECT_EQ(pair.found, want);
}

TEST(SketchIndex, WalkWithTablesEqualsTheTwin) {
  Pair pair(9000);
  const PhiloxStream dice(kSeed, RngPurpose::kDataShuffle, 0);
  // Up through the size where tables begin, around it, far up, down to where they go, up again.
  uint64_t step = 0;
  for (const auto& [goal, churn] : {std::pair<size_t, int>{4095, 0},
                                    {4096, 3},
                                    {4093, 3},
                                    {4150, 40},
                                    {5600, 300},
                                    {2047, 10},
                                    {4200, 200}}) {
    for (int changes = 0; pair.index.size() != goal || changes < churn; ++changes, ++step) {
      const uint64_t id = IdOf(dice.Word(2 * step) % 9000);
      const bool grow = pair.index.size() < goal;
      if (pair.index.size() == goal || pair.index.Contains(id) == grow) {
        // Replacing, or erasing what may not be there, keeps the size or moves towards the goal.
        if (pair.index.Contains(id)) pair.Insert(id, RandomVector(3, step));
      } else if (grow) {
        pair.Insert(id, RandomVector(2, step));
      } else {
        pair.Erase(id);
      }
      if (step % 5999 == 0) pair.Compare(RandomVector(4, step));
    }
    for (uint64_t q = 0; q < 2; ++q) {
      const std::map<uint64_t, HyperVector> all = pair.naive.Vectors();
      const auto& target = std::next(all.begin(), dice.Word(1 + 2 * q) % all.size())->second;
      pair.Compare(Flipped(target, 0.1 + 0.1 * static_cast<double>(q), q));
    }
  }
  EXPECT_FALSE(pair.index.Erase(1234567));
}

// Past the size where tables move to wider rows, with erasing and replacing while they do.
TEST(SketchIndex, WalkThroughAMoveOfTheTablesEqualsTheTwin) {
  const uint64_t moves_from = BucketTable::SlotsFor(BucketTable::kWidthMin);
  Pair pair(moves_from + 1200);
  for (uint64_t n = 0; n < moves_from; ++n) pair.Insert(IdOf(n), RandomVector(2, n));
  const size_t before = pair.index.MemoryBytes();
  for (uint64_t n = moves_from; n < moves_from + 1200; ++n) {
    pair.Insert(IdOf(n), RandomVector(2, n));
    if (n % 5 == 0) pair.Erase(IdOf(3 * (n - moves_from)));
    if (n % 7 == 0) pair.Insert(IdOf(n - 1000), RandomVector(3, n));
    if (n % 400 == 0) pair.Compare(Flipped(RandomVector(2, n - 5), 0.2, n));
  }
  EXPECT_GE(pair.index.MemoryBytes(), before + (4u << 20));  // rows of 16 MiB instead of 8
  pair.Compare(Flipped(RandomVector(2, moves_from + 100), 0.3, 1));
}

TEST(SketchIndex, ReplacingByItsOwnVectorAndErasingLeavesZeros) {
  SketchIndex index = *SketchIndex::Create(10, kSeed);
  const HyperVector v = RandomVector(1, 1);
  ASSERT_TRUE(index.Insert(1, v).ok());
  const HyperVector* const at = index.Find(1);
  ASSERT_TRUE(index.Insert(1, *at).ok());
  EXPECT_EQ(*index.Find(1), v);
  EXPECT_EQ(index.size(), 1u);
  EXPECT_TRUE(index.Erase(1));
  EXPECT_EQ(*at, HyperVector{});  // the slab is still there
  EXPECT_FALSE(index.Erase(1));
  SearchScratch scratch;
  std::vector<SketchMatch> found;
  index.Nearest(HyperVector{}, 5, kScan, &scratch, &found);
  EXPECT_TRUE(found.empty());
}

TEST(SketchIndex, CapacityIsALimit) {
  EXPECT_EQ(SketchIndex::Create(0, 1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SketchIndex::Create(SketchIndex::kCapacityMax + 1, 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  SketchIndex index = *SketchIndex::Create(2, kSeed);
  ASSERT_TRUE(index.Insert(1, RandomVector(1, 1)).ok());
  ASSERT_TRUE(index.Insert(2, RandomVector(1, 2)).ok());
  const absl::Status full = index.Insert(3, RandomVector(1, 3));
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(full.message(), "sketch index holds 2 vectors, its capacity");
  EXPECT_FALSE(index.Contains(3));
  EXPECT_TRUE(index.Insert(2, RandomVector(1, 4)).ok());  // replacing needs no room
  EXPECT_TRUE(index.Erase(1));
  EXPECT_TRUE(index.Insert(3, RandomVector(1, 3)).ok());
}

TEST(SketchIndex, ManyQueriesAtOnceEqualOneByOne) {
  SketchIndex index = *SketchIndex::Create(3000, kSeed);
  for (uint64_t n = 0; n < 2500; ++n) ASSERT_TRUE(index.Insert(IdOf(n), RandomVector(1, n)).ok());
  for (uint64_t n = 0; n < 2500; n += 3) ASSERT_TRUE(index.Erase(IdOf(n)));
  SearchScratch scratch;
  std::vector<HyperVector> queries;
  for (uint64_t q = 0; q < 19; ++q) queries.push_back(Flipped(RandomVector(1, q), 0.1, q));
  std::vector<std::vector<SketchMatch>> all(queries.size());
  index.NearestOfMany(queries, 6, &scratch, all);
  for (size_t q = 0; q < queries.size(); ++q) {
    std::vector<SketchMatch> one;
    index.Nearest(queries[q], 6, kScan, &scratch, &one);
    EXPECT_EQ(all[q], one);
    EXPECT_EQ(one.size(), 6u);
  }
}

TEST(SketchIndex, ThreadsSearchAtTheSameTime) {
  SketchIndex filled = *SketchIndex::Create(5000, kSeed);
  for (uint64_t n = 0; n < 5000; ++n) ASSERT_TRUE(filled.Insert(IdOf(n), RandomVector(1, n)).ok());
  const SketchIndex& index = filled;
  std::vector<std::vector<SketchMatch>> found(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < found.size(); ++t) {
    threads.emplace_back([&index, &found, t] {
      SearchScratch scratch;
      for (uint64_t q = 0; q < 20; ++q) {
        const SearchPolicy policy = q % 10 == 0 ? kScan : kFlipsOn16;
        index.Nearest(Flipped(RandomVector(1, q), 0.2, q), 8, policy, &scratch, &found[t]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  SearchScratch scratch;
  std::vector<SketchMatch> want;
  index.Nearest(Flipped(RandomVector(1, 19), 0.2, 19), 8, kFlipsOn16, &scratch, &want);
  for (const auto& matches : found) EXPECT_EQ(matches, want);
}

// The table of C.3. How likely a vector shares a bucket does not depend on how many others there
// are.
TEST(SketchIndex, RecallFollowsTheTable) {
  constexpr size_t kVectors = 5000;
  constexpr int kQueries = 2500;  // a standard deviation of 1 point at most
  SketchIndex index = *SketchIndex::Create(kVectors, kSeed);
  for (uint64_t n = 0; n < kVectors; ++n) ASSERT_TRUE(index.Insert(n, RandomVector(1, n)).ok());
  struct Row {
    double distance, exact, flips;
  };
  for (const Row& row : {Row{0.10, 1.000, 1.000}, Row{0.15, 0.999, 1.000}, Row{0.20, 0.944, 1.000},
                         Row{0.25, 0.684, 0.999}, Row{0.30, 0.353, 0.956}, Row{0.35, 0.143, 0.735},
                         Row{0.40, 0.049, 0.406}}) {
    SearchScratch scratch;
    const NearQueries near = MakeNearQueries(index, row.distance, kQueries);
    EXPECT_NEAR(RunSearches(index, kExactProbing, near, &scratch).recall, row.exact, 0.02)
        << row.distance;
    EXPECT_NEAR(RunSearches(index, kFlipsOnAll, near, &scratch).recall, row.flips, 0.02)
        << row.distance;
    EXPECT_NEAR(ExpectedRecall(kExactProbing, row.distance), row.exact, 0.001) << row.distance;
    EXPECT_NEAR(ExpectedRecall(kFlipsOnAll, row.distance), row.flips, 0.001) << row.distance;
    // Without tables nothing is missed.
    EXPECT_EQ(MeasureRecall(index, kScan, row.distance, 50, &scratch), 1.0);
  }
}

TEST(SketchIndex, VotesAndFewerTablesRecallAsExpected) {
  constexpr size_t kVectors = 5000;
  SketchIndex index = *SketchIndex::Create(kVectors, kSeed);
  for (uint64_t n = 0; n < kVectors; ++n) ASSERT_TRUE(index.Insert(n, RandomVector(1, n)).ok());
  SearchScratch scratch;
  for (const SearchPolicy& policy :
       {SearchPolicy{.tables = 14}, SearchPolicy{.tables = 22, .min_votes = 2},
        SearchPolicy{.tables = 64, .flip_tables = 16, .min_votes = 3}, kFlipsOn16}) {
    for (const double distance : {0.1, 0.2, 0.3}) {
      EXPECT_NEAR(MeasureRecall(index, policy, distance, 2000, &scratch),
                  ExpectedRecall(policy, distance), 0.025)
          << policy.tables << " " << policy.min_votes << " " << distance;
    }
  }
}

}  // namespace
}  // namespace chimera
