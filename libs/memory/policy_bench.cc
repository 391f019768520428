// What the memory policies cost at their full sizes: median, least and most of a number of runs in
// microseconds, one thread. Usage: policy_bench FOLDER (for the state file).
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/exact_math.h"
#include "base/philox.h"
#include "memory/episodic_cases.h"
#include "memory/fact_pool.h"
#include "memory/guidelines.h"
#include "memory/state_file.h"
#include "memory/weighted_draw.h"

namespace chimera {
namespace {

double Report(const char* name, int runs, const std::function<void(int)>& run) {
  std::vector<double> us;
  for (int i = -1; i < runs; ++i) {  // the first one warms up
    const int64_t start = Clock::Real().NowNs();
    run(i);
    if (i >= 0) us.push_back(static_cast<double>(Clock::Real().NowNs() - start) / 1000);
  }
  std::sort(us.begin(), us.end());
  std::printf("%-52s %10.1f %10.1f %10.1f\n", name, us[us.size() / 2], us.front(), us.back());
  return us[us.size() / 2];
}

HyperVector Random(uint64_t n) {
  const PhiloxStream random(1, RngPurpose::kDataShuffle, 0);
  HyperVector vector;
  for (uint64_t i = 0; i < kHyperWords; ++i) {
    const PhiloxBlock block = random.Block(n * kHyperWords + i);
    vector.words[i] = uint64_t{block[0]} << 32 | block[1];
  }
  return vector;
}

std::vector<PooledFact> Batch(uint64_t first) {
  std::vector<PooledFact> batch;
  for (uint64_t i = 0; i < 16; ++i) batch.push_back({.id = first + i});
  return batch;
}

void Pool(FactPool* pool) {
  uint64_t next = 0;
  while (pool->size() < 200000) (void)pool->Append(Batch(next += 16));
  const double ours = Report("pool: 16 new facts for 16 of 200,000", 50,
                             [&](int) { (void)pool->Append(Batch(next += 16)); });
  const std::vector<PooledFact> facts = pool->Facts();
  double least = 0;
  const double plain = Report("  plain: all 200,000 keys", 20, [&](int i) {
    const PhiloxStream random(2, RngPurpose::kMemoryDrop, static_cast<uint32_t>(i));
    least = 1e9;
    for (const PooledFact& fact : facts) {
      least = std::min(least, ExponentialKey(OpenUniform(random, fact.id), 0.1));
    }
  });
  std::printf("  ratio to the plain keys %.2f (least key %.2g)\n", ours / plain, least);
}

void Cases(EpisodicCases* cases) {
  std::vector<HyperVector> sketches;
  for (uint64_t n = 0; n < 4096; ++n) {
    sketches.push_back(Random(n));
    (void)cases->Insert(sketches.back(), "plan", "", n % 2 == 0 ? 0.1 : 0.9, 0);
  }
  const double ours = Report("cases: a retrieval among 4,096", 200, [&](int i) {
    (void)cases->Retrieve(sketches[static_cast<size_t>(i + 1)], true);
  });
  int sum = 0;
  const double plain = Report("  plain: 4,096 distances", 200, [&](int i) {
    for (const HyperVector& sketch : sketches) {
      sum += Hamming(sketch, sketches[static_cast<size_t>(i + 1)]);
    }
  });
  std::printf("  ratio to the plain distances %.2f (%d)\n", ours / plain, sum & 1);
}

void Bank(Guidelines* bank) {
  for (uint64_t n = 0; n < 256; ++n) {
    (void)bank->Learn(Random(n), GuidelineAction::kAskUser, std::string(2048, 'x'), -1);
  }
  Report("guidelines: advice of 256", 200,
         [&](int i) { (void)bank->Ask(Random(static_cast<uint64_t>(i + 1))); });
}

int Run(const std::string& folder) {
  std::printf("%-52s %10s %10s %10s\n", "microseconds", "median", "least", "most");
  FactPool pool({.seed = 1});
  EpisodicCases cases;
  const ActionCodes codes{FeatureCodebook()};
  Guidelines bank(codes);
  Pool(&pool);
  Cases(&cases);
  Bank(&bank);
  auto file = StateFile::Open(folder + "/policy_bench.state");
  if (!file.ok()) return 1;
  const std::map<StateSection, std::string> sections = {
      {StateSection::kFactPool, pool.Encode()},
      {StateSection::kGoodCases, cases.Encode()},
      {StateSection::kGoodGuidelines, bank.Encode()}};
  size_t bytes = 0;
  for (const auto& [section, data] : sections) bytes += data.size();
  std::printf("an image of %.1f MiB\n", static_cast<double>(bytes) / (1 << 20));
  bool written = true;
  Report("state file: write, sync, rename", 20,
         [&](int) { written = file->Write(sections).ok() && written; });
  return written && file->Reset().ok() ? 0 : 1;
}

}  // namespace
}  // namespace chimera

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: policy_bench FOLDER\n");
    return 2;
  }
  return chimera::Run(argv[1]);
}
