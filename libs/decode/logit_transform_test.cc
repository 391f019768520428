#include "decode/logit_transform.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <span>
#include <tuple>

#include "base/exact_math.h"
#include "base/philox.h"
#include "decode/row_scan.h"
#include "decode/sum_exp.h"

namespace chimera {
namespace {

constexpr int kVocab = 333;
constexpr AllowedRows kAllowed{300, 300};  // 301..332 are specials

std::vector<float> RandomLogits(uint64_t seed) {
  const PhiloxStream stream(seed, RngPurpose::kWeightInit, 0);
  std::vector<float> logits(kVocab);
  // Coarse steps make ties, which must go to the smaller id.
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = std::round(stream.Uniform(i) * 80.0f) / 8.0f - 5.0f;
  }
  return logits;
}

struct Naive {
  std::vector<std::pair<double, int>> rows;  // (-logit, id), sorted
  double log_sum_exp = 0;
  double entropy_bits = 0;
  double raw_log_sum_exp = 0;
};

Naive NaiveApply(std::vector<float> logits, const std::set<int>& seen,
                 const LogitTransform& transform) {
  Naive out;
  double raw = 0;
  for (const float l : logits) raw += std::exp(static_cast<double>(l));
  out.raw_log_sum_exp = std::log(raw);
  for (const int id : seen) {
    float& l = logits[static_cast<size_t>(id)];
    if (id < kAllowed.n_ranks) {
      l = l > 0 ? l / transform.repetition_penalty : l * transform.repetition_penalty;
    }
  }
  for (int id = 0; id <= kAllowed.eot; ++id) {
    const float l = logits[static_cast<size_t>(id)];
    const float t = transform.temperature == 0 ? l : l / transform.temperature;
    out.rows.push_back({-static_cast<double>(t), id});
  }
  std::sort(out.rows.begin(), out.rows.end());
  double sum = 0;
  for (const auto& [minus, id] : out.rows) sum += std::exp(-minus);
  out.log_sum_exp = std::log(sum);
  for (const auto& [minus, id] : out.rows) {
    const double p = std::exp(-minus) / sum;
    out.entropy_bits -= p * std::log2(p);
  }
  return out;
}

TEST(ExactMath, AgreesWithTheCLibrary) {
  for (double x = -700.0; x < 700.0; x += 0.37) {
    EXPECT_NEAR(ExactExp(x) / std::exp(x), 1.0, 1e-15) << x;
  }
  EXPECT_EQ(ExactExp(0.0), 1.0);
  EXPECT_EQ(ExactExp(-1e9), 0.0);
  for (double x = 1e-9; x < 1e9; x *= 1.13) EXPECT_NEAR(ExactLog(x), std::log(x), 4e-15) << x;
  EXPECT_EQ(ExactLog(1.0), 0.0);
}

TEST(LogitTransformer, EqualsTheNaiveTwin) {
  const std::vector<int32_t> seen = {5, 17, 17, 299, 4, 300, 310};
  LogitTransformer transformer(kVocab, kAllowed);
  for (const float temperature : {0.0f, 0.7f, 1.0f, 1.9f}) {
    for (const float penalty : {1.0f, 1.25f, 0.5f}) {
      LogitTransform transform;
      transform.temperature = temperature;
      transform.repetition_penalty = penalty;
      const std::vector<float> raw = RandomLogits(7);
      const Naive naive = NaiveApply(raw, {5, 17, 299, 4, 300, 310}, transform);
      std::vector<float> logits = raw;
      const auto got = transformer.Apply(logits, seen, {}, transform, 0, kVocab);
      ASSERT_TRUE(got.ok()) << got.status();
      ASSERT_EQ(got->token_ids.size(), naive.rows.size());
      EXPECT_EQ(got->allowed_rows, 301);
      for (size_t i = 0; i < naive.rows.size(); ++i) {
        ASSERT_EQ(got->token_ids[i], naive.rows[i].second) << i;
        ASSERT_EQ(static_cast<double>(got->logits[i]), -naive.rows[i].first) << i;
        ASSERT_EQ(got->raw_logits[i], raw[static_cast<size_t>(got->token_ids[i])]) << i;
      }
      EXPECT_NEAR(got->log_sum_exp, naive.log_sum_exp, 1e-5);
      EXPECT_NEAR(got->raw_log_sum_exp, naive.raw_log_sum_exp, 1e-5);
      EXPECT_NEAR(got->entropy_bits, naive.entropy_bits, 1e-4);
    }
  }
}

TEST(SumExp, EveryInstructionSetGivesTheSameBits) {
  for (const size_t n : {size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{333}}) {
    std::vector<float> values = RandomLogits(n);
    values.resize(n);
    const double max = *std::max_element(values.begin(), values.end());
    const ExpSums best = SumExp(values, max);
    const ExpSums plain = baseline::SumExpBody(values.data(), static_cast<int>(n), max);
    EXPECT_EQ(best.mass, plain.mass);
    EXPECT_EQ(best.weighted, plain.weighted);
    double sum = 0;
    for (const float v : values) sum += std::exp(static_cast<double>(v) - max);
    EXPECT_NEAR(plain.mass / sum, 1.0, 1e-13);
  }
}

TEST(RowScan, EveryInstructionSetFindsTheSame) {
  for (const int n : {1, 15, 16, 17, 511, 512, 513, 1040}) {
    std::vector<float> values = RandomLogits(static_cast<uint64_t>(n));
    values.resize(static_cast<size_t>(n), -7.5f);
    std::vector<float> maxima(static_cast<size_t>(Strands(n))), plain = maxima;
    bool finite = false;
    const float most = StrandMaxima(values, maxima, &finite);
    EXPECT_TRUE(finite);
    EXPECT_EQ(most, *std::max_element(values.begin(), values.end()));
    EXPECT_EQ(baseline::kRowScan.maxima(values.data(), n, plain.data(), &finite), most);
    EXPECT_EQ(maxima, plain);
    std::vector<float> want(maxima.size(), -std::numeric_limits<float>::infinity());
    for (size_t i = 0; i < values.size(); ++i) {
      float& strand = want[i / kRunValues * kStrandsPerRun + i % kStrandsPerRun];
      strand = std::max(strand, values[i]);
    }
    EXPECT_EQ(maxima, want);
    std::vector<float> divided = values, again = values;
    EXPECT_TRUE(DivideAll(divided, 0.3f));
    EXPECT_TRUE(baseline::kRowScan.divide(again.data(), n, 0.3f));
    EXPECT_EQ(divided, again);
    for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(divided[i], values[i] / 0.3f);
    for (const size_t bad : {size_t{0}, values.size() / 2, values.size() - 1}) {
      std::vector<float> broken = values;
      broken[bad] = std::nanf("");
      StrandMaxima(broken, maxima, &finite);
      EXPECT_FALSE(finite) << n << " " << bad;
      EXPECT_FALSE(DivideAll(broken, 1.0f)) << n << " " << bad;
      broken[bad] = 3e38f;
      StrandMaxima(broken, maxima, &finite);
      EXPECT_TRUE(finite);
      EXPECT_FALSE(DivideAll(broken, 0.3f)) << "it overflows";
    }
  }
}

TEST(LogitTransformer, PiecesAreTheWhole) {
  LogitTransformer transformer(kVocab, kAllowed);
  std::vector<float> logits = RandomLogits(9);
  const auto whole = transformer.Apply(logits, {}, {}, LogitTransform(), 0, kVocab);
  ASSERT_TRUE(whole.ok());
  for (const int first : {0, 1, 64, 200, 300, 301, 999}) {
    for (const int count : {1, 37, 400}) {
      logits = RandomLogits(9);
      const auto part = transformer.Apply(logits, {}, {}, LogitTransform(), first, count);
      ASSERT_TRUE(part.ok());
      const size_t begin = std::min<size_t>(static_cast<size_t>(first), 301);
      const size_t end = std::min<size_t>(begin + static_cast<size_t>(count), 301);
      ASSERT_EQ(part->token_ids.size(), end - begin);
      for (size_t i = begin; i < end; ++i) {
        EXPECT_EQ(part->token_ids[i - begin], whole->token_ids[i]);
      }
      EXPECT_EQ(part->log_sum_exp, whole->log_sum_exp);
    }
  }
}

TEST(LogitTransformer, SpecialsNeverComeOutAndMasksHold) {
  LogitTransformer transformer(kVocab, kAllowed);
  std::vector<float> logits(kVocab, 0.0f);
  for (size_t i = 301; i < kVocab; ++i) logits[i] = 50.0f;
  auto all = transformer.Apply(logits, {}, {}, LogitTransform(), 0, kVocab);
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(*std::max_element(all->token_ids.begin(), all->token_ids.end()), 300);
  EXPECT_NEAR(all->log_sum_exp, std::log(301.0), 1e-6);

  std::vector<uint64_t> mask((kVocab + 63) / 64);
  mask[1] = 0b1010;            // ids 65 and 67
  mask[5] = uint64_t{1} << 0;  // id 320, a special: stays out
  auto masked = transformer.Apply(logits, {}, mask, LogitTransform(), 0, kVocab);
  ASSERT_TRUE(masked.ok());
  EXPECT_THAT(masked->token_ids, testing::ElementsAre(65, 67));
  std::fill(mask.begin(), mask.end(), 0);
  EXPECT_EQ(transformer.Apply(logits, {}, mask, LogitTransform(), 0, 1).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// Rows of a full sort of what is allowed, by (-logit, id): the whole list, and how many of them
// reach top_p as the sampler sums them.
struct Sorted {
  std::vector<std::pair<float, int>> rows;  // (-logit, id)
  size_t kept = 0;
};

Sorted FullSort(const std::vector<float>& logits, const std::vector<uint64_t>& mask,
                AllowedRows allowed, const LogitTransform& transform, float log_sum_exp) {
  Sorted out;
  for (int id = 0; id < static_cast<int>(logits.size()); ++id) {
    const auto i = static_cast<size_t>(id);
    if (!allowed.Has(id)) continue;
    if (!mask.empty() && (mask[i / 64] >> (i % 64) & 1) == 0) continue;
    const float t = transform.temperature == 0.0f ? 1.0f : transform.temperature;
    out.rows.push_back({-(logits[i] / t) + 0.0f, id});
  }
  std::sort(out.rows.begin(), out.rows.end());
  double sum = 0;
  while (out.kept < out.rows.size() && sum < double{transform.top_p}) {
    sum += ExactExp(double{-out.rows[out.kept++].first} - double{log_sum_exp});
  }
  if (transform.top_p >= 1.0f) out.kept = out.rows.size();
  return out;
}

// What both forms of Apply must give: equal to the last bit.
void ExpectSame(const NodeDistribution& a, const NodeDistribution& b) {
  EXPECT_EQ(a.token_ids, b.token_ids);
  EXPECT_EQ(a.logits, b.logits);
  EXPECT_EQ(a.raw_logits, b.raw_logits);
  EXPECT_EQ(a.log_sum_exp, b.log_sum_exp);
  EXPECT_EQ(a.entropy_bits, b.entropy_bits);
  EXPECT_EQ(a.allowed_rows, b.allowed_rows);
  EXPECT_TRUE(std::isnan(a.raw_log_sum_exp) && std::isnan(b.raw_log_sum_exp));
}

// The logits of some tiles; what no tile has is no number, so that nobody may look at it.
std::vector<float> OfTiles(const std::vector<float>& logits, std::span<const int32_t> tiles) {
  std::vector<float> out;
  for (const int32_t tile : tiles) {
    for (size_t id = size_t(tile) * kHeadTile; id < size_t(tile + 1) * kHeadTile; ++id) {
      out.push_back(id < logits.size() ? logits[id] : 0.0f);
    }
  }
  return out;
}

enum class Spread { kRandom, kTies, kEqual, kRising, kFalling, kPeak, kSignedZeros };

std::vector<float> Logits(Spread spread, int n, uint64_t seed) {
  const PhiloxStream stream(seed, RngPurpose::kWeightInit, 1);
  std::vector<float> out(static_cast<size_t>(n));
  for (size_t i = 0; i < out.size(); ++i) {
    const float u = stream.Uniform(i), at = static_cast<float>(i);
    switch (spread) {
      case Spread::kRandom:
        out[i] = 12.0f * (u + stream.Uniform(i + out.size()) - 1.0f);
        break;
      case Spread::kTies:
        out[i] = std::floor(u * 4.0f);
        break;
      case Spread::kEqual:
        out[i] = -2.5f;
        break;
      case Spread::kRising:
        out[i] = at * 1e-3f;
        break;
      case Spread::kFalling:
        out[i] = -at * 0.5f;
        break;
      case Spread::kPeak:
        out[i] = i % 509 == 7 ? 20.0f + u : u - 30.0f;
        break;
      case Spread::kSignedZeros:
        out[i] = u < 0.4f ? 0.0f : u < 0.8f ? -0.0f : -1.0f;
        break;
    }
  }
  return out;
}

// Selection against the full sort, and mask-first against the whole: every size of vocabulary and
// of result, masks from one row to all, inputs that punish a threshold.
TEST(LogitTransformer, SelectionEqualsTheFullSortWithAndWithoutMaskFirst) {
  for (const int n : {1, 17, 64, 333, 513, 4152, 20011}) {
    const AllowedRows allowed{std::max(1, n - 30), n > 31 ? n - 30 : 0};
    LogitTransformer whole(n, allowed), tiled(n, allowed);
    const PhiloxStream bits(5, RngPurpose::kDataShuffle, static_cast<uint32_t>(n));
    for (int density : {0, 1, 40, 64, 65}) {  // of 64; 0: one row alone, 65: no mask
      std::vector<uint64_t> mask;
      if (density < 65) mask.resize((static_cast<size_t>(n) + 63) / 64);
      for (size_t i = 0; i < mask.size() * 64; ++i) {
        const bool one = i == static_cast<size_t>(allowed.n_ranks - 1);
        if (one || bits.Word(i) % 64 < static_cast<uint32_t>(density)) {
          mask[i / 64] |= uint64_t{1} << (i % 64);
        }
      }
      for (const Spread spread : {Spread::kRandom, Spread::kTies, Spread::kEqual, Spread::kRising,
                                  Spread::kFalling, Spread::kPeak, Spread::kSignedZeros}) {
        std::vector<float> logits = Logits(spread, n, 9);
        for (const auto& [first, count, top_p] : {std::tuple{0, 1, 1.0f},
                                                  {0, 64, 0.9f},
                                                  {0, 1024, 0.5f},
                                                  {0, 1024, 0.9999f},
                                                  {0, 1024, 1.0f},
                                                  {64, 192, 0.9f},
                                                  {1000, 1024, 1.0f},
                                                  {n, 5, 1.0f}}) {
          const LogitTransform transform{
              .temperature = 0.75f, .rows_max = count, .top_p = top_p, .omit_raw_mass = true};
          const auto got = whole.Apply(logits, {}, mask, transform, first, count);
          ASSERT_TRUE(got.ok()) << got.status();
          const Sorted want = FullSort(logits, mask, allowed, transform, got->log_sum_exp);
          ASSERT_EQ(got->allowed_rows, static_cast<int>(want.rows.size()));
          const size_t all = want.rows.size(), begin = std::min(size_t(first), all);
          size_t end = std::min(begin + size_t(count), all);
          if (first == 0) end = std::min(end, want.kept);
          ASSERT_EQ(got->token_ids.size(), end - begin)
              << "n " << n << " density " << density << " spread " << int(spread) << " count "
              << count << " top_p " << top_p;
          for (size_t i = begin; i < end; ++i) {
            ASSERT_EQ(got->token_ids[i - begin], want.rows[i].second) << i;
            ASSERT_EQ(got->logits[i - begin], -want.rows[i].first) << i;
            ASSERT_EQ(got->raw_logits[i - begin], logits[size_t(want.rows[i].second)]) << i;
          }
          const auto tiles = tiled.Tiles(mask);
          ASSERT_TRUE(tiles.ok()) << tiles.status();
          const std::vector<float> few = OfTiles(logits, *tiles);
          const auto same = tiled.ApplyTiles(few, {}, transform, first, count);
          ASSERT_TRUE(same.ok()) << same.status();
          ExpectSame(*got, *same);
        }
      }
    }
  }
}

TEST(LogitTransformer, MaskFirstPenalisesAlike) {
  const std::vector<int32_t> seen = {5, 64, 64, 299, 4, 300, 310, 80, -1, 1 << 20};
  std::vector<uint64_t> mask((kVocab + 63) / 64);
  mask[0] = 0x00FF000000000030;
  mask[1] = 0x0000000000000001;
  mask[4] = ~uint64_t{0};
  LogitTransformer transformer(kVocab, kAllowed);
  const std::vector<float> logits = RandomLogits(12);
  const LogitTransform transform{
      .temperature = 0.6f, .repetition_penalty = 1.3f, .omit_raw_mass = true};
  const auto whole = transformer.Apply(logits, seen, mask, transform, 0, kVocab);
  ASSERT_TRUE(whole.ok()) << whole.status();
  const auto tiles = transformer.Tiles(mask);
  ASSERT_TRUE(tiles.ok());
  EXPECT_THAT(*tiles, testing::ElementsAre(0, 3, 4, 16, 17, 18)) << "19 has special tokens only";
  const auto same = transformer.ApplyTiles(OfTiles(logits, *tiles), seen, transform, 0, kVocab);
  ASSERT_TRUE(same.ok()) << same.status();
  ExpectSame(*whole, *same);
  LogitTransform plain = transform;
  plain.repetition_penalty = 1.0f;
  const auto other = transformer.Apply(logits, seen, mask, plain, 0, kVocab);
  EXPECT_NE(other->log_sum_exp, whole->log_sum_exp);
}

// The raw mass is that of every row, masked or not; asked for or left out, nothing else changes.
TEST(LogitTransformer, RawMassIsOfAllRowsOrOfNone) {
  std::vector<uint64_t> mask((kVocab + 63) / 64);
  mask[1] = 0b1010;
  LogitTransformer transformer(kVocab, kAllowed);
  const std::vector<float> logits = RandomLogits(2);
  LogitTransform transform;
  auto with = transformer.Apply(logits, {}, mask, transform, 0, 5);
  auto unmasked = transformer.Apply(logits, {}, {}, transform, 0, 5);
  ASSERT_TRUE(with.ok() && unmasked.ok());
  EXPECT_EQ(with->raw_log_sum_exp, unmasked->raw_log_sum_exp);
  EXPECT_TRUE(std::isfinite(with->raw_log_sum_exp));
  transform.omit_raw_mass = true;
  const auto without = transformer.Apply(logits, {}, mask, transform, 0, 5);
  ASSERT_TRUE(without.ok());
  EXPECT_TRUE(std::isnan(without->raw_log_sum_exp));
  with->raw_log_sum_exp = without->raw_log_sum_exp;
  ExpectSame(*with, *without);
  transform.omit_raw_mass = false;
  const std::vector<float> few(transformer.Tiles(mask)->size() * kHeadTile);
  EXPECT_EQ(transformer.ApplyTiles(few, {}, transform, 0, 5).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(LogitTransformer, MasksOfAnotherVocabularyAreRefused) {
  LogitTransformer transformer(kVocab, kAllowed);
  for (size_t words : {size_t{1}, size_t{5}, size_t{7}}) {
    const std::vector<uint64_t> mask(words, ~uint64_t{0});
    const absl::Status status = transformer.Tiles(mask).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("a mask of"));
  }
  EXPECT_TRUE(transformer.Tiles(std::vector<uint64_t>(6, ~uint64_t{0})).ok());
}

// Only rows that may come out are looked at when the raw mass is left out.
TEST(LogitTransformer, BrokenLogitsCountWhereTheyAreLookedAt) {
  std::vector<uint64_t> mask((kVocab + 63) / 64);
  mask[0] = 0xF0;
  LogitTransformer transformer(kVocab, kAllowed);
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    std::vector<float> logits = RandomLogits(1);
    LogitTransform transform;
    for (const bool omit : {false, true}) {
      transform.omit_raw_mass = omit;
      logits[5] = 1.0f;
      logits[100] = bad;
      EXPECT_EQ(transformer.Apply(logits, {}, mask, transform, 0, 1).ok(), omit) << bad;
      logits[100] = 1.0f;
      logits[5] = bad;
      EXPECT_EQ(transformer.Apply(logits, {}, mask, transform, 0, 1).status().code(),
                absl::StatusCode::kInternal)
          << bad;
    }
    ASSERT_TRUE(transformer.Tiles(mask).ok());
    logits.resize(kHeadTile);
    EXPECT_EQ(transformer.ApplyTiles(logits, {}, transform, 0, 1).status().code(),
              absl::StatusCode::kInternal);
  }
}

TEST(LogitTransformer, BrokenLogitsAreAnError) {
  LogitTransformer transformer(kVocab, kAllowed);
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    std::vector<float> logits = RandomLogits(1);
    logits[100] = bad;
    EXPECT_EQ(transformer.Apply(logits, {}, {}, LogitTransform(), 0, 1).status().code(),
              absl::StatusCode::kInternal);
  }
}

TEST(LogitTransformer, TinyTemperatureStaysFinite) {
  LogitTransformer transformer(kVocab, kAllowed);
  LogitTransform transform;
  transform.temperature = 1e-38f;
  std::vector<float> logits = RandomLogits(3);
  const auto got = transformer.Apply(logits, {}, {}, transform, 0, 2);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(std::isfinite(got->log_sum_exp));
}

}  // namespace
}  // namespace chimera
