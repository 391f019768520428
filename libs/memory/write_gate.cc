#include "memory/write_gate.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "memory/record.h"

namespace chimera {
namespace {

constexpr std::string_view kMagic = "CHWGATE1";
constexpr uint32_t kVersion = 1;
constexpr double kSurpriseMax = 1e30;  // squares stay finite

}  // namespace

WriteGate::WriteGate(const WriteGateOptions& options) : options_(options) {
  CHIMERA_CHECK(options.beta > 0 && options.beta < 1);
  CHIMERA_CHECK(options.sigmas > 0);
  CHIMERA_CHECK(options.tokens_between >= 1);
  CHIMERA_CHECK(options.writes_per_session >= 0);
}

bool WriteGate::Observe(double surprise) {
  if (!Within(surprise, 0, kSurpriseMax)) {
    ++ignored_;
    return false;
  }
  const bool high = surprise > mean_ + options_.sigmas * std::sqrt(variance_);
  ++tokens_;
  ++since_write_;
  // The exponential moments of West (1979), with the weight of a plain average at the beginning.
  const double share = std::max(1.0 - options_.beta, 1.0 / static_cast<double>(tokens_));
  const double off = surprise - mean_;
  mean_ += share * off;
  variance_ = (1.0 - share) * (variance_ + share * off * off);
  const bool write =
      high && since_write_ >= options_.tokens_between && writes_ < options_.writes_per_session;
  if (!write) return false;
  since_write_ = 0;
  ++writes_;
  return true;
}

std::string WriteGate::Encode() const {
  RecordWriter out(kMagic, kVersion);
  out.F64(mean_);
  out.F64(variance_);
  for (const int64_t count : {tokens_, since_write_, writes_, ignored_}) {
    out.U64(static_cast<uint64_t>(count));
  }
  return out.Finish();
}

absl::StatusOr<WriteGate> WriteGate::Decode(const WriteGateOptions& options,
                                            std::string_view bytes) {
  CHIMERA_ASSIGN_OR_RETURN(RecordReader in,
                           RecordReader::Open("write gate", bytes, kMagic, kVersion));
  WriteGate gate(options);
  gate.mean_ = in.F64();
  gate.variance_ = in.F64();
  for (int64_t* count : {&gate.tokens_, &gate.since_write_, &gate.writes_, &gate.ignored_}) {
    const uint64_t value = in.U64();
    if (value > uint64_t{1} << 62) return in.Fault(absl::StrCat("a count of ", value));
    *count = static_cast<int64_t>(value);
  }
  CHIMERA_RETURN_IF_ERROR(in.Finish());
  if (!Within(gate.mean_, 0, kSurpriseMax)) {
    return in.OutOfRange("mean", gate.mean_, 0, kSurpriseMax);
  }
  if (!Within(gate.variance_, 0, kSurpriseMax * kSurpriseMax)) {
    return in.OutOfRange("variance", gate.variance_, 0, kSurpriseMax * kSurpriseMax);
  }
  if (gate.since_write_ > gate.tokens_ || gate.writes_ > gate.tokens_) {
    return in.Fault("it counts more writes than tokens");
  }
  return gate;
}

bool IsEvaluated(const ContrastiveOptions& options, uint64_t fact_id) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(fact_id >> (8 * i));
  return Xxh3(bytes) % options.one_in == 0;
}

absl::StatusOr<double> ContrastiveDelta(const ContrastiveOptions& options, double nll_with,
                                        double nll_without, int tokens) {
  if (tokens < 1 || tokens > options.window_tokens) {
    return absl::InvalidArgumentError(absl::StrCat("contrastive evaluation over ", tokens,
                                                   " tokens; it is 1 to ", options.window_tokens));
  }
  for (const double nll : {nll_with, nll_without}) {
    if (Within(nll, 0, 1e9)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("contrastive evaluation with a loss of ", nll, " nats; it is 0 to 1e9"));
  }
  return (nll_without - nll_with) / tokens;
}

TrialVerdict RecordTrial(const ContrastiveOptions& options, double delta, FactTrial* trial) {
  const double clipped = std::clamp(delta, -1.0, 1.0);
  trial->weight = static_cast<float>(options.weight_keep * trial->weight +
                                     (1.0 - options.weight_keep) * clipped);
  if (trial->trials >= options.trials) return TrialVerdict::kKeep;
  trial->delta_sum += static_cast<float>(clipped);
  if (++trial->trials < options.trials) return TrialVerdict::kOpen;
  return trial->delta_sum >= options.min_benefit * options.trials ? TrialVerdict::kKeep
                                                                  : TrialVerdict::kDrop;
}

}  // namespace chimera
