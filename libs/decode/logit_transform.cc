#include "decode/logit_transform.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "decode/exact_math.h"
#include "decode/sum_exp.h"

namespace chimera {
namespace {

// A temperature below this acts as this one: logits stay finite in float.
constexpr float kTemperatureFloor = 1e-6f;
constexpr double kLn2 = 0.69314718055994530942;

// Sorts as unsigned like (-score, id): the score's bits made monotone, then the id.
uint64_t RowKey(float score, int32_t id) {
  const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f);  // -0 becomes +0: they are a tie
  const uint32_t ascending = bits ^ ((bits >> 31) != 0 ? 0xFFFFFFFFu : 0x80000000u);
  return (uint64_t{~ascending} << 32) | static_cast<uint32_t>(id);
}

// False when a value is NaN or infinite.
bool FiniteMax(std::span<const float> values, double* max) {
  float best = -std::numeric_limits<float>::infinity();
  bool finite = true;
  for (const float v : values) {
    finite = finite && std::isfinite(v);
    best = v > best ? v : best;
  }
  *max = static_cast<double>(best);
  return finite;
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
  if (transform.class_table_id != 0) {
    return absl::InvalidArgumentError("class_table_id: class tables are not served by this build");
  }
  return absl::OkStatus();
}

LogitTransformer::LogitTransformer(int vocab_size, AllowedRows allowed)
    : vocab_size_(vocab_size), allowed_(allowed) {
  const auto n = static_cast<size_t>(vocab_size);
  raw_.resize(n);
  scores_.reserve(n);
  ids_.reserve(n);
  keys_.reserve(n);
  seen_bits_.resize((n + 63) / 64);
}

void LogitTransformer::Penalise(std::span<float> logits, std::span<const int32_t> seen,
                                float penalty) {
  if (penalty == 1.0f) return;
  for (const int32_t id : seen) {
    if (id < 0 || id >= allowed_.n_ranks) continue;
    const auto i = static_cast<size_t>(id);
    uint64_t& word = seen_bits_[i / 64];
    const uint64_t bit = uint64_t{1} << (i % 64);
    if ((word & bit) != 0) continue;
    word |= bit;
    logits[i] = logits[i] > 0.0f ? logits[i] / penalty : logits[i] * penalty;
  }
  for (const int32_t id : seen) {
    if (id >= 0 && id < allowed_.n_ranks) seen_bits_[static_cast<size_t>(id) / 64] = 0;
  }
}

void LogitTransformer::SelectRows(std::span<const float> raw, std::span<const float> transformed,
                                  float temperature, int first, int count, NodeDistribution* out) {
  keys_.resize(scores_.size());
  for (size_t i = 0; i < keys_.size(); ++i) keys_[i] = RowKey(scores_[i], ids_[i]);
  const auto begin = std::min<size_t>(static_cast<size_t>(first), keys_.size());
  const auto end = std::min<size_t>(begin + static_cast<size_t>(count), keys_.size());
  const auto at = [this](size_t i) { return keys_.begin() + static_cast<std::ptrdiff_t>(i); };
  if (begin > 0 && begin < keys_.size()) std::nth_element(at(0), at(begin), keys_.end());
  if (end < keys_.size()) std::nth_element(at(begin), at(end), keys_.end());
  std::sort(at(begin), at(end));
  for (size_t i = begin; i < end; ++i) {
    const auto id = static_cast<size_t>(keys_[i] & 0xFFFFFFFFu);
    out->token_ids.push_back(static_cast<int32_t>(id));
    out->logits.push_back(transformed[id] / temperature);
    out->raw_logits.push_back(raw[id]);
  }
}

absl::StatusOr<NodeDistribution> LogitTransformer::Apply(std::span<float> logits,
                                                         std::span<const int32_t> seen,
                                                         std::span<const uint64_t> mask,
                                                         const LogitTransform& transform, int first,
                                                         int count) {
  CHIMERA_CHECK(logits.size() == static_cast<size_t>(vocab_size_));
  double raw_max = 0;
  if (!FiniteMax(logits, &raw_max)) {
    return absl::InternalError("the model produced a logit that is not finite");
  }
  std::copy(logits.begin(), logits.end(), raw_.begin());
  Penalise(logits, seen, transform.repetition_penalty);

  const float temperature =
      transform.temperature == 0.0f ? 1.0f : std::max(transform.temperature, kTemperatureFloor);
  scores_.clear();
  ids_.clear();
  for (int id = 0; id < vocab_size_; ++id) {
    const auto i = static_cast<size_t>(id);
    if (!allowed_.Has(id)) continue;
    if (!mask.empty() && ((mask[i / 64] >> (i % 64)) & 1) == 0) continue;
    scores_.push_back(logits[i] / temperature);
    ids_.push_back(id);
  }
  if (scores_.empty()) {
    return absl::InvalidArgumentError("the mask allows no token");
  }
  NodeDistribution out;
  out.allowed_rows = static_cast<int32_t>(scores_.size());
  double max = 0;
  if (!FiniteMax(scores_, &max)) {
    return absl::InternalError("the transformed logits are not finite");
  }
  const ExpSums sums = SumExp(scores_, max);
  const double log_mass = ExactLog(sums.mass);
  out.log_sum_exp = static_cast<float>(max + log_mass);
  out.entropy_bits = static_cast<float>((log_mass - sums.weighted / sums.mass) / kLn2);
  out.raw_log_sum_exp = static_cast<float>(raw_max + ExactLog(SumExp(raw_, raw_max).mass));
  SelectRows(raw_, logits, temperature, first, count, &out);
  return out;
}

}  // namespace chimera
