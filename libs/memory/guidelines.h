// How to use the memory (math-inference-training D.3): guidelines, each made when memory did harm
// in some context. Made from a closed set of actions; where a context is like that of a guideline,
// the guidelines near it vote, with a weight that follows how taking the advice went.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hdc/features.h"
#include "hdc/hypervector.h"

namespace chimera {

enum class GuidelineAction : uint8_t {
  kIgnoreItemClass = 0,
  kPreferNewest = 1,
  kAskUser = 2,
  kRaiseLoops = 3,
  kLowerTemperature = 4,
  kForceGrammar = 5,
};
inline constexpr int kGuidelineActions = 6;
// "ignore_item_class", .., "force_grammar".
const char* GuidelineActionName(GuidelineAction action);

inline constexpr size_t kGuidelineTextBytesMax = 2048;
inline constexpr size_t kGuidelineRecordBytesMax = 1024 + 40 + kGuidelineTextBytesMax;

struct GuidelineOptions {
  int guidelines_max = 256;  // self_evolution.tier2.meta_guidelines.max
  double trigger = -0.05;    // a contrastive evaluation below it makes a guideline
  int distance_max = 3700;   // Hamming, of a context to a guideline that votes
  int votes_max = 4;
  double votes_min = 0.25;  // advice with less weight behind it is not given
  double learning_rate = 0.1;
  uint64_t protected_uses = 64;  // retrievals before a guideline may be evicted
};

struct Guideline {
  uint64_t id = 0;       // XXH3-64 of trigger and action vector; not on disk
  HyperVector trigger;   // sketch of the context where memory did harm
  HyperVector action;    // Bind(trigger, code of the action)
  std::string text;      // for people; at most kGuidelineTextBytesMax bytes of UTF-8
  float weight = 0.5f;   // in [0, 1]
  uint64_t uses = 0;     // outcomes recorded
  uint64_t created = 0;  // retrievals of the bank before it
};

struct Advice {
  GuidelineAction action = GuidelineAction::kIgnoreItemClass;
  double votes = 0;              // the winner's
  std::vector<uint64_t> voters;  // those that voted for it, nearest first
};

// What Guideline::id is.
uint64_t GuidelineIdOf(const HyperVector& trigger, const HyperVector& action);

// Codes of the actions, XXH3-64 of byte 03 and the action's number in a codebook. Immutable.
class ActionCodes {
 public:
  explicit ActionCodes(const FeatureCodebook& codebook);
  const HyperVector& code(GuidelineAction action) const {
    return codes_[static_cast<size_t>(action)];
  }
  // The action whose code is nearest to Bind(action_vector, context): exact for the context the
  // guideline was made in, and right for any context within distance_max of it.
  GuidelineAction Unbind(const HyperVector& action_vector, const HyperVector& context) const;

 private:
  std::array<HyperVector, kGuidelineActions> codes_;
};

// At most 1.1 MB of 256 guidelines. Thread-compatible; borrows codes.
class Guidelines {
 public:
  // guidelines_max 1 .. 4096 (checked).
  Guidelines(const ActionCodes& codes, const GuidelineOptions& options = {});

  // Makes a guideline when delta, the benefit of memory in a contrastive evaluation, is below the
  // trigger; returns whether it did. The same trigger and action again are no new guideline. When
  // full, the one with the least weight among those with protected_uses retrievals behind them
  // goes; RESOURCE_EXHAUSTED when there is none. INVALID_ARGUMENT: text, delta not finite.
  absl::StatusOr<bool> Learn(const HyperVector& context, GuidelineAction action,
                             std::string_view text, double delta);

  // The votes_max nearest guidelines within distance_max (ties: the smaller id) vote by weight;
  // nothing when the winner has less than votes_min. Ties: the smaller action. Counts the
  // retrieval.
  std::optional<Advice> Ask(const HyperVector& context);
  // How following the advice went, in [0, 1]: w += rate * (outcome - w) for every voter that is
  // still there. INVALID_ARGUMENT otherwise.
  absl::Status RecordOutcome(const Advice& advice, double outcome);

  // Null when absent; valid until the next Learn.
  const Guideline* Find(uint64_t id) const;
  // A guideline as a record of its own, at most kGuidelineRecordBytesMax bytes, with the number of
  // retrievals so far (docs/formats/evolution-state.md). It is one of guidelines().
  std::string EncodeOne(const Guideline& guideline) const;
  // Takes such a record in; the bank's retrievals become at least the record's. DATA_LOSS naming
  // the fault, also when it has another id; ALREADY_EXISTS; RESOURCE_EXHAUSTED when full.
  absl::Status Restore(uint64_t id, std::string_view record);

  const std::vector<Guideline>& guidelines() const { return guidelines_; }
  uint64_t retrievals() const { return retrievals_; }
  uint64_t advised() const { return advised_; }
  uint64_t evicted() const { return evicted_; }
  int64_t bytes() const;

  // Magic CHGUIDE1 (docs/formats/evolution-state.md).
  std::string Encode() const;
  // DATA_LOSS naming the fault; FAILED_PRECONDITION when it holds more than guidelines_max.
  static absl::StatusOr<Guidelines> Decode(const ActionCodes& codes,
                                           const GuidelineOptions& options, std::string_view bytes);

 private:
  absl::StatusOr<size_t> PlaceForOne();

  const ActionCodes* codes_;
  GuidelineOptions options_;
  std::vector<Guideline> guidelines_;
  uint64_t retrievals_ = 0;
  uint64_t advised_ = 0;
  uint64_t evicted_ = 0;
};

}  // namespace chimera
