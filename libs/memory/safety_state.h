// When learning has to stop (math-inference-training D.9):
//   NORMAL -> FROZEN      a monitor fired: the average of certificate failures and rollbacks per
//                         token exceeds 0.05, or the last 64 contrastive evaluations have a mean <
//                         0
//   FROZEN -> PROBATION   the last good snapshot has been restored
//   PROBATION -> NORMAL   4,096 tokens went by
//   PROBATION -> OFF      a monitor fired again; only the user's reset leads out
// FROZEN and OFF write nothing and read everything; PROBATION lets every eighth write through.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace chimera {

enum class EvolutionState : uint8_t { kNormal = 0, kFrozen = 1, kProbation = 2, kOff = 3 };
enum class FreezeReason : uint8_t { kNone = 0, kFailures = 1, kContrast = 2 };
// "normal", .. and "none", "failures", "contrast".
const char* EvolutionStateName(EvolutionState state);
const char* FreezeReasonName(FreezeReason reason);

// What may grow, each below a ceiling of its own.
enum class GrowthClass : uint8_t { kMemory = 0, kSpanBank = 1, kEpisodic = 2, kGuidelines = 3 };
inline constexpr int kGrowthClasses = 4;
const char* GrowthClassName(GrowthClass growth);

struct SafetyOptions {
  double freeze_threshold = 0.05;  // self_evolution.safety.freeze_threshold
  int monitor_tokens = 256;        // the average gives a token the weight 1 / monitor_tokens
  int probation_tokens = 4096;
  int probation_one_in = 8;
  // self_evolution.safety.max_growth_mb, in bytes, by GrowthClass.
  std::array<int64_t, kGrowthClasses> ceiling_bytes = {512ll << 20, 128ll << 20, 8ll << 20,
                                                       2ll << 20};
};

inline constexpr int kMonitoredEvaluations = 64;

// Allocates nothing after construction. Thread-compatible.
class SafetyState {
 public:
  // 0 < freeze_threshold < 1, the counts >= 1 (checked).
  explicit SafetyState(const SafetyOptions& options = {});

  // One committed token, and whether a certificate failed or a rollback happened at it. True when
  // this led to FROZEN or OFF.
  bool OnToken(bool failed);
  // One contrastive evaluation; delta is clipped to [-1, 1] and must not be NaN (checked). The
  // same.
  bool OnEvaluation(double delta);
  // The last good snapshot is back. FAILED_PRECONDITION unless FROZEN.
  absl::Status Restored();
  // The user's reset: as after construction.
  void Reset();

  // Whether the next write by itself (not by the user) may happen; counts it in PROBATION.
  bool AdmitWrite();
  // RESOURCE_EXHAUSTED when bytes_now + bytes_more exceeds the ceiling of the class.
  absl::Status CheckGrowth(GrowthClass growth, int64_t bytes_now, int64_t bytes_more) const;

  EvolutionState state() const { return state_; }
  FreezeReason reason() const { return reason_; }  // of the last freeze
  // The monitors; after a freeze what they held when they fired.
  double failure_rate() const { return failure_rate_; }
  double contrast_mean() const;  // of the evaluations in the window; 0 when there are none
  int evaluations() const { return evaluations_; }  // in the window, at most 64
  int64_t freezes() const { return freezes_; }

  // Magic CHSAFETY, 320 bytes.
  std::string Encode() const;
  static absl::StatusOr<SafetyState> Decode(const SafetyOptions& options, std::string_view bytes);

 private:
  bool Watches() const {
    return state_ == EvolutionState::kNormal || state_ == EvolutionState::kProbation;
  }
  bool Fire(FreezeReason reason);
  void ClearMonitors();

  SafetyOptions options_;
  EvolutionState state_ = EvolutionState::kNormal;
  FreezeReason reason_ = FreezeReason::kNone;
  double failure_rate_ = 0;
  std::array<float, kMonitoredEvaluations> deltas_{};  // a ring
  int evaluations_ = 0;
  int next_delta_ = 0;
  int64_t probation_tokens_ = 0;
  int64_t probation_writes_ = 0;
  int64_t freezes_ = 0;
};

}  // namespace chimera
