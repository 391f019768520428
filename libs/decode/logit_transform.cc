#include "decode/logit_transform.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/exact_math.h"
#include "base/status_macros.h"
#include "decode/row_scan.h"
#include "decode/sum_exp.h"

namespace chimera {
namespace {

// A temperature below this acts as this one: logits stay finite in float.
constexpr float kTemperatureFloor = 1e-6f;
constexpr double kLn2 = 0.69314718055994530942;

// The first try of a selection that may stop early, and how much further the next one looks.
constexpr size_t kFirstTry = 16;
constexpr size_t kTryGrowth = 8;

// Sorts as unsigned like (-score, position): the score's bits made monotone, then the position.
uint64_t RowKey(float score, size_t position) {
  const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f);  // -0 becomes +0: they are a tie
  const uint32_t ascending = bits ^ ((bits >> 31) != 0 ? 0xFFFFFFFFu : 0x80000000u);
  return (uint64_t{~ascending} << 32) | static_cast<uint32_t>(position);
}

}  // namespace

absl::Status ValidateTransform(const LogitTransform& transform) {
  // Written so that NaN fails every comparison.
  if (!(transform.temperature >= 0.0f && transform.temperature <= 100.0f)) {
    return absl::InvalidArgumentError(
        absl::StrCat("temperature ", transform.temperature, " is outside 0..100"));
  }
  if (!(transform.repetition_penalty >= 0.1f && transform.repetition_penalty <= 10.0f)) {
    return absl::InvalidArgumentError(
        absl::StrCat("repetition_penalty ", transform.repetition_penalty, " is outside 0.1..10"));
  }
  if (!(transform.top_p > 0.0f && transform.top_p <= 1.0f)) {
    return absl::InvalidArgumentError(
        absl::StrCat("top_p ", transform.top_p, " is outside (0, 1]"));
  }
  if (transform.rows_max < 1 || transform.rows_max > kRowsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("rows_max ", transform.rows_max, " is outside 1..", kRowsMax));
  }
  return absl::OkStatus();
}

LogitTransformer::LogitTransformer(int vocab_size, AllowedRows allowed)
    : vocab_size_(vocab_size), n_ranks_(allowed.n_ranks), rows_(vocab_size, allowed) {
  const auto n = static_cast<size_t>(vocab_size);
  scores_.reserve(n);
  keys_.reserve(n);
  maxima_.resize(static_cast<size_t>(Strands(vocab_size)));
  largest_.reserve(maxima_.size());
}

float LogitTransformer::Source::At(int32_t id) const {
  if (tiles == nullptr) return logits[static_cast<size_t>(id)];
  return logits[tiles->TileIndex(id / kHeadTile) * kHeadTile + static_cast<size_t>(id % kHeadTile)];
}

// The logits of allowed rows, by id.
void LogitTransformer::Gather(const Source& source) {
  scores_.resize(static_cast<size_t>(rows_.size()));
  float* out = scores_.data();
  const std::span<const int32_t> tiles = rows_.tiles();
  for (size_t i = 0; i < tiles.size(); ++i) {
    const size_t at = (source.tiles != nullptr ? i : static_cast<size_t>(tiles[i])) * kHeadTile;
    uint32_t bits = rows_.TileBits(tiles[i]);
    if (bits == 0xFFFFu) {
      std::copy_n(source.logits.data() + at, kHeadTile, out);
      out += kHeadTile;
      continue;
    }
    for (; bits != 0; bits &= bits - 1) {
      *out++ = source.logits[at + static_cast<size_t>(std::countr_zero(bits))];
    }
  }
}

void LogitTransformer::AddClassWeights(const LogitWeights& weights) {
  if (weights.classes.empty()) return;
  const auto last =
      std::copy(weights.classes.begin(), weights.classes.end(), class_weights_.begin());
  std::fill(last, class_weights_.end(), 0.0f);
  float* out = scores_.data();
  for (const int32_t tile : rows_.tiles()) {
    const uint8_t* const classes = weights.table->data() + tile * kHeadTile;
    for (uint32_t bits = rows_.TileBits(tile); bits != 0; bits &= bits - 1) {
      *out++ += class_weights_[classes[std::countr_zero(bits)]];
    }
  }
}

// From the logits as they came, so that a token seen twice is penalised once.
void LogitTransformer::Penalise(const Source& source, std::span<const int32_t> seen, float penalty,
                                const LogitWeights& weights) {
  if (penalty == 1.0f) return;
  const bool weighted = !weights.classes.empty();
  for (const int32_t id : seen) {
    const int position = id < n_ranks_ ? rows_.Position(id) : -1;
    if (position < 0) continue;
    const float logit = source.At(id);
    float& score = scores_[static_cast<size_t>(position)];
    score = logit > 0.0f ? logit / penalty : logit * penalty;
    if (weighted) score += class_weights_[(*weights.table)[static_cast<size_t>(id)]];
  }
}

void LogitTransformer::AddTokenWeights(std::span<const TokenWeight> tokens) {
  for (const TokenWeight& token : tokens) {
    const int position = rows_.Position(token.token_id);
    if (position >= 0) scores_[static_cast<size_t>(position)] += token.weight;
  }
}

void LogitTransformer::SelectKeys(size_t begin, size_t end) {
  if (begin == end) return;
  // At least `end` rows reach the end-th largest of the strands' maxima; only they can be wanted.
  float least = -std::numeric_limits<float>::infinity();
  const size_t n = scores_.size(), strands = static_cast<size_t>(Strands(static_cast<int>(n)));
  if (end <= strands) {
    largest_.assign(maxima_.begin(), maxima_.begin() + static_cast<std::ptrdiff_t>(strands));
    const auto cut = largest_.begin() + static_cast<std::ptrdiff_t>(end - 1);
    std::nth_element(largest_.begin(), cut, largest_.end(), std::greater<float>());
    least = *cut;
  }
  keys_.clear();
  for (size_t s = 0; s < strands; ++s) {
    if (maxima_[s] < least) continue;
    const size_t run = s / kStrandsPerRun * kRunValues, last = std::min(n, run + kRunValues);
    for (size_t i = run + s % kStrandsPerRun; i < last; i += kStrandsPerRun) {
      if (scores_[i] >= least) keys_.push_back(RowKey(scores_[i], i));
    }
  }
  const auto at = [this](size_t i) { return keys_.begin() + static_cast<std::ptrdiff_t>(i); };
  if (begin > 0 && begin < keys_.size()) std::nth_element(at(0), at(begin), keys_.end());
  if (end < keys_.size()) std::nth_element(at(begin), at(end), keys_.end());
  std::sort(at(begin), at(end));
}

size_t LogitTransformer::RowsFor(double mass, float log_sum_exp, size_t n) const {
  double sum = 0;  // the sampler's running sum, term by term
  for (size_t i = 0; i < n; ++i) {
    const float score = scores_[keys_[i] & 0xFFFFFFFFu];
    sum += ExactExp(static_cast<double>(score) - static_cast<double>(log_sum_exp));
    if (sum >= mass) return i + 1;
  }
  return n + 1;
}

void LogitTransformer::SelectRows(const Source& source, double top_p, int first, int count,
                                  NodeDistribution* out) {
  const auto begin = std::min<size_t>(static_cast<size_t>(first), scores_.size());
  auto end = std::min<size_t>(begin + static_cast<size_t>(count), scores_.size());
  if (begin > 0 || top_p >= 1.0) {
    SelectKeys(begin, end);
  } else {
    for (size_t rows = kFirstTry;; rows *= kTryGrowth) {
      const size_t held = std::min(rows, end);
      SelectKeys(0, held);
      const size_t needed = RowsFor(top_p, out->log_sum_exp, held);
      if (needed <= held || held == end) {
        end = std::min(needed, held);
        break;
      }
    }
  }
  out->token_ids.reserve(end - begin);
  out->logits.reserve(end - begin);
  out->raw_logits.reserve(end - begin);
  for (size_t i = begin; i < end; ++i) {
    const auto position = static_cast<int>(keys_[i] & 0xFFFFFFFFu);
    const int32_t id = rows_.IdAt(position);
    out->token_ids.push_back(id);
    out->logits.push_back(scores_[static_cast<size_t>(position)]);
    out->raw_logits.push_back(source.At(id));
  }
}

absl::StatusOr<NodeDistribution> LogitTransformer::Apply(std::span<const float> logits,
                                                         std::span<const int32_t> seen,
                                                         std::span<const uint64_t> mask,
                                                         const LogitTransform& transform, int first,
                                                         int count, const LogitWeights& weights) {
  CHIMERA_CHECK(logits.size() == static_cast<size_t>(vocab_size_));
  CHIMERA_RETURN_IF_ERROR(rows_.Set(mask));
  return Run({logits, nullptr}, seen, transform, first, count, weights);
}

absl::StatusOr<std::span<const int32_t>> LogitTransformer::Tiles(std::span<const uint64_t> mask) {
  CHIMERA_RETURN_IF_ERROR(rows_.Set(mask));
  return rows_.tiles();
}

absl::StatusOr<NodeDistribution> LogitTransformer::ApplyTiles(std::span<const float> logits,
                                                              std::span<const int32_t> seen,
                                                              const LogitTransform& transform,
                                                              int first, int count,
                                                              const LogitWeights& weights) {
  CHIMERA_CHECK(logits.size() == rows_.tiles().size() * kHeadTile);
  if (!transform.omit_raw_mass) {
    return absl::InvalidArgumentError("the raw mass is over all rows, not over tiles");
  }
  return Run({logits, &rows_}, seen, transform, first, count, weights);
}

absl::StatusOr<NodeDistribution> LogitTransformer::Run(const Source& source,
                                                       std::span<const int32_t> seen,
                                                       const LogitTransform& transform, int first,
                                                       int count, const LogitWeights& weights) {
  NodeDistribution out;
  bool finite = true;
  out.raw_log_sum_exp = std::numeric_limits<float>::quiet_NaN();
  if (!transform.omit_raw_mass) {
    const auto max = static_cast<double>(StrandMaxima(source.logits, maxima_, &finite));
    if (!finite) return absl::InternalError("the model produced a logit that is not finite");
    out.raw_log_sum_exp = static_cast<float>(max + ExactLog(SumExp(source.logits, max).mass));
  }
  const float temperature =
      transform.temperature == 0.0f ? 1.0f : std::max(transform.temperature, kTemperatureFloor);
  Gather(source);
  AddClassWeights(weights);
  Penalise(source, seen, transform.repetition_penalty, weights);
  AddTokenWeights(weights.tokens);
  if (!DivideAll(scores_, temperature)) {
    return absl::InternalError("a logit of the model is not finite, or is not after temperature");
  }
  const auto max = static_cast<double>(StrandMaxima(scores_, maxima_, &finite));
  if (!finite) return absl::InternalError("the transformed logits are not finite");
  const ExpSums sums = SumExp(scores_, max);
  const double log_mass = ExactLog(sums.mass);
  out.allowed_rows = rows_.size();
  out.log_sum_exp = static_cast<float>(max + log_mass);
  out.entropy_bits = static_cast<float>((log_mass - sums.weighted / sums.mass) / kLn2);
  SelectRows(source, static_cast<double>(transform.top_p), first, count, &out);
  return out;
}

}  // namespace chimera
