#include "decode/logit_transform.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "decode/exact_math.h"

namespace chimera {
namespace {

// A temperature below this acts as this one: logits stay finite in float.
constexpr float kTemperatureFloor = 1e-6f;
constexpr double kLn2 = 0.69314718055994530942;
constexpr size_t kLanes = 16;

struct Sums {
  double mass = 0;      // sum of exp(x - max)
  double weighted = 0;  // sum of exp(x - max) * (x - max)
};

double Fold(std::array<double, kLanes>& lanes) {
  for (size_t width = kLanes / 2; width >= 1; width /= 2) {
    for (size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

Sums SumExp(std::span<const float> values, double max) {
  std::array<double, kLanes> mass{};
  std::array<double, kLanes> weighted{};
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const double x = static_cast<double>(values[i + lane]) - max;
      const double e = ExactExp(x);
      mass[lane] += e;
      weighted[lane] += e * x;
    }
  }
  for (size_t lane = 0; i < values.size(); ++i, ++lane) {
    const double x = static_cast<double>(values[i]) - max;
    const double e = ExactExp(x);
    mass[lane] += e;
    weighted[lane] += e * x;
  }
  return {Fold(mass), Fold(weighted)};
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
  order_.reserve(n);
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

void LogitTransformer::SelectRows(std::span<const float> raw, int first, int count,
                                  NodeDistribution* out) {
  order_.resize(scores_.size());
  for (uint32_t i = 0; i < order_.size(); ++i) order_[i] = i;
  const auto before = [this](uint32_t a, uint32_t b) {
    return scores_[a] != scores_[b] ? scores_[a] > scores_[b] : ids_[a] < ids_[b];
  };
  const auto begin = std::min<size_t>(static_cast<size_t>(first), order_.size());
  const auto end = std::min<size_t>(begin + static_cast<size_t>(count), order_.size());
  const auto at = [this](size_t i) { return order_.begin() + static_cast<std::ptrdiff_t>(i); };
  if (begin > 0 && begin < order_.size()) {
    std::nth_element(at(0), at(begin), order_.end(), before);
  }
  std::partial_sort(at(begin), at(end), order_.end(), before);
  for (size_t i = begin; i < end; ++i) {
    const uint32_t row = order_[i];
    out->token_ids.push_back(ids_[row]);
    out->logits.push_back(scores_[row]);
    out->raw_logits.push_back(raw[static_cast<size_t>(ids_[row])]);
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
  const Sums sums = SumExp(scores_, max);
  const double log_mass = ExactLog(sums.mass);
  out.log_sum_exp = static_cast<float>(max + log_mass);
  out.entropy_bits = static_cast<float>((log_mass - sums.weighted / sums.mass) / kLn2);
  out.raw_log_sum_exp = static_cast<float>(raw_max + ExactLog(SumExp(raw_, raw_max).mass));
  SelectRows(raw_, first, count, &out);
  return out;
}

}  // namespace chimera
