#include "decode/sampler.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/exact_math.h"
#include "base/philox.h"
#include "base/status_macros.h"

namespace chimera {
namespace {

// Running sums of row probabilities, fetched as far as somebody looks.
class RowMass {
 public:
  RowMass(NodeDistribution* distribution, FetchRows fetch)
      : distribution_(*distribution), fetch_(fetch) {}

  // Mass of rows [0, row]; fetches the row when it is not there yet.
  absl::StatusOr<double> Upto(size_t row) {
    while (cumulative_.size() <= row) {
      const size_t next = cumulative_.size();
      if (next >= distribution_.logits.size()) CHIMERA_RETURN_IF_ERROR(Fetch());
      const double p = ExactExp(static_cast<double>(distribution_.logits[next]) -
                                static_cast<double>(distribution_.log_sum_exp));
      cumulative_.push_back((cumulative_.empty() ? 0.0 : cumulative_.back()) + p);
    }
    return cumulative_[row];
  }

 private:
  absl::Status Fetch() {
    const size_t held = distribution_.logits.size();
    const size_t left = static_cast<size_t>(distribution_.allowed_rows) - held;
    const size_t count = std::min({left, std::max<size_t>(3 * held, 64), size_t{kRowsMax}});
    CHIMERA_RETURN_IF_ERROR(
        fetch_(static_cast<int>(held), static_cast<int>(count), &distribution_));
    const size_t now = distribution_.logits.size();
    if (now <= held || now > held + count || distribution_.token_ids.size() != now ||
        distribution_.raw_logits.size() != now) {
      return absl::InternalError(
          absl::StrCat("the knot sent ", now - held, " rows after row ", held, ", wanted ", count));
    }
    return absl::OkStatus();
  }

  NodeDistribution& distribution_;
  FetchRows fetch_;
  std::vector<double> cumulative_;
};

DrawnToken RowToken(const NodeDistribution& distribution, size_t row) {
  return {distribution.token_ids[row], static_cast<int>(row), distribution.raw_logits[row]};
}

}  // namespace

float TokenUniform(const SamplerSettings& settings, int64_t position) {
  const PhiloxStream stream(settings.seed, RngPurpose::kTokenSampling, settings.choice);
  return UniformFromBits(stream.Block(static_cast<uint64_t>(position))[0]);
}

absl::StatusOr<DrawnToken> DrawToken(NodeDistribution* distribution,
                                     const SamplerSettings& settings, int64_t position,
                                     FetchRows fetch) {
  const size_t held = distribution->logits.size();
  if (distribution->allowed_rows < 1 || held > static_cast<size_t>(distribution->allowed_rows) ||
      distribution->token_ids.size() != held || distribution->raw_logits.size() != held) {
    return absl::InternalError("the knot sent a distribution whose row lists do not agree");
  }
  const auto n = static_cast<size_t>(distribution->allowed_rows);
  RowMass mass(distribution, fetch);
  CHIMERA_RETURN_IF_ERROR(mass.Upto(0).status());
  if (settings.temperature == 0.0f) return RowToken(*distribution, 0);

  // The kept prefix. With top_p = 1 everything is kept and its mass is 1 by definition.
  size_t kept = n;
  double kept_mass = 1.0;
  if (settings.top_p < 1.0f) {
    for (size_t row = 0; row < n; ++row) {
      CHIMERA_ASSIGN_OR_RETURN(kept_mass, mass.Upto(row));
      if (kept_mass >= static_cast<double>(settings.top_p)) {
        kept = row + 1;
        break;
      }
    }
  }
  const double target = static_cast<double>(TokenUniform(settings, position)) * kept_mass;
  for (size_t row = 0; row < kept; ++row) {
    CHIMERA_ASSIGN_OR_RETURN(const double cumulative, mass.Upto(row));
    if (cumulative > target) return RowToken(*distribution, row);
  }
  // Rounding left the total at or below the target: the last kept row it is.
  return RowToken(*distribution, kept - 1);
}

}  // namespace chimera
