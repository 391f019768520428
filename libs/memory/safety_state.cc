#include "memory/safety_state.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "memory/record.h"

namespace chimera {
namespace {

constexpr std::string_view kMagic = "CHSAFETY";
constexpr uint32_t kVersion = 1;

}  // namespace

const char* EvolutionStateName(EvolutionState state) {
  static constexpr const char* kNames[] = {"normal", "frozen", "probation", "off"};
  return kNames[static_cast<size_t>(state)];
}

const char* FreezeReasonName(FreezeReason reason) {
  static constexpr const char* kNames[] = {"none", "failures", "contrast"};
  return kNames[static_cast<size_t>(reason)];
}

const char* GrowthClassName(GrowthClass growth) {
  static constexpr const char* kNames[kGrowthClasses] = {"memory", "span_bank", "episodic",
                                                         "guidelines"};
  return kNames[static_cast<size_t>(growth)];
}

SafetyState::SafetyState(const SafetyOptions& options) : options_(options) {
  CHIMERA_CHECK(options.freeze_threshold > 0 && options.freeze_threshold < 1);
  CHIMERA_CHECK(options.monitor_tokens >= 1);
  CHIMERA_CHECK(options.probation_tokens >= 1);
  CHIMERA_CHECK(options.probation_one_in >= 1);
}

bool SafetyState::OnToken(bool failed) {
  if (!Watches()) return false;
  failure_rate_ += ((failed ? 1.0 : 0.0) - failure_rate_) / options_.monitor_tokens;
  if (failure_rate_ > options_.freeze_threshold) return Fire(FreezeReason::kFailures);
  if (state_ == EvolutionState::kProbation && ++probation_tokens_ >= options_.probation_tokens) {
    state_ = EvolutionState::kNormal;
  }
  return false;
}

bool SafetyState::OnEvaluation(double delta) {
  CHIMERA_CHECK(!std::isnan(delta));
  if (!Watches()) return false;
  deltas_[static_cast<size_t>(next_delta_)] = static_cast<float>(std::clamp(delta, -1.0, 1.0));
  next_delta_ = (next_delta_ + 1) % kMonitoredEvaluations;
  evaluations_ = std::min(evaluations_ + 1, kMonitoredEvaluations);
  if (evaluations_ < kMonitoredEvaluations || contrast_mean() >= 0) return false;
  return Fire(FreezeReason::kContrast);
}

double SafetyState::contrast_mean() const {
  double sum = 0;
  for (int i = 0; i < evaluations_; ++i) sum += deltas_[static_cast<size_t>(i)];
  return evaluations_ == 0 ? 0 : sum / evaluations_;
}

bool SafetyState::Fire(FreezeReason reason) {
  state_ = state_ == EvolutionState::kProbation ? EvolutionState::kOff : EvolutionState::kFrozen;
  reason_ = reason;
  ++freezes_;
  return true;
}

void SafetyState::ClearMonitors() {
  failure_rate_ = 0;
  deltas_.fill(0);
  evaluations_ = 0;
  next_delta_ = 0;
  probation_tokens_ = 0;
  probation_writes_ = 0;
}

absl::Status SafetyState::Restored() {
  if (state_ != EvolutionState::kFrozen) {
    return absl::FailedPreconditionError(absl::StrCat("evolution is ", EvolutionStateName(state_),
                                                      "; only frozen leads to probation"));
  }
  state_ = EvolutionState::kProbation;
  ClearMonitors();
  return absl::OkStatus();
}

void SafetyState::Reset() { *this = SafetyState(options_); }

bool SafetyState::AdmitWrite() {
  if (state_ == EvolutionState::kNormal) return true;
  if (state_ != EvolutionState::kProbation) return false;
  return ++probation_writes_ % options_.probation_one_in == 0;
}

absl::Status SafetyState::CheckGrowth(GrowthClass growth, int64_t bytes_now,
                                      int64_t bytes_more) const {
  const int64_t ceiling = options_.ceiling_bytes[static_cast<size_t>(growth)];
  if (bytes_more <= ceiling && bytes_now <= ceiling - bytes_more) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(GrowthClassName(growth), " of ", bytes_now,
                                                   " bytes would grow by ", bytes_more,
                                                   " above its ceiling of ", ceiling, " bytes"));
}

std::string SafetyState::Encode() const {
  RecordWriter out(kMagic, kVersion);
  out.U8(static_cast<uint8_t>(state_));
  out.U8(static_cast<uint8_t>(reason_));
  out.U8(static_cast<uint8_t>(evaluations_));
  out.U8(static_cast<uint8_t>(next_delta_));
  out.U32(0);
  out.F64(failure_rate_);
  for (const int64_t count : {probation_tokens_, probation_writes_, freezes_}) {
    out.U64(static_cast<uint64_t>(count));
  }
  for (const float delta : deltas_) out.F32(delta);
  return out.Finish();
}

absl::StatusOr<SafetyState> SafetyState::Decode(const SafetyOptions& options,
                                                std::string_view bytes) {
  CHIMERA_ASSIGN_OR_RETURN(RecordReader in,
                           RecordReader::Open("safety state", bytes, kMagic, kVersion));
  SafetyState out(options);
  const uint8_t state = in.U8(), reason = in.U8();
  out.evaluations_ = in.U8();
  out.next_delta_ = in.U8();
  if (in.U32() != 0) return in.Fault("bytes 20..23 are not zero");
  out.failure_rate_ = in.F64();
  for (int64_t* count : {&out.probation_tokens_, &out.probation_writes_, &out.freezes_}) {
    const uint64_t value = in.U64();
    if (value > uint64_t{1} << 62) return in.Fault(absl::StrCat("a count of ", value));
    *count = static_cast<int64_t>(value);
  }
  for (float& delta : out.deltas_) {
    delta = in.F32();
    if (!Within(delta, -1, 1)) return in.OutOfRange("evaluation", delta, -1, 1);
  }
  CHIMERA_RETURN_IF_ERROR(in.Finish());
  if (state > 3) return in.OutOfRange("state", state, 0, 3);
  if (reason > 2) return in.OutOfRange("reason", reason, 0, 2);
  if (out.evaluations_ > kMonitoredEvaluations || out.next_delta_ >= kMonitoredEvaluations) {
    return in.Fault("its window of evaluations is out of range");
  }
  if (!Within(out.failure_rate_, 0, 1)) return in.OutOfRange("rate", out.failure_rate_, 0, 1);
  out.state_ = static_cast<EvolutionState>(state);
  out.reason_ = static_cast<FreezeReason>(reason);
  return out;
}

}  // namespace chimera
