#include "memory/guidelines.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "hdc/words.h"
#include "memory/record.h"

namespace chimera {
namespace {

constexpr std::string_view kMagic = "CHGUIDE1";
constexpr uint32_t kVersion = 1;
constexpr size_t kFixedBytes = 2 * kHyperBytes + 24;  // of a guideline without its text

absl::Status CheckText(std::string_view text) {
  if (text.size() > kGuidelineTextBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "guideline text of ", text.size(), " bytes; the limit is ", kGuidelineTextBytesMax));
  }
  if (!IsValidUtf8(text)) {
    return absl::InvalidArgumentError(
        absl::StrCat("guideline text of ", text.size(), " bytes is not valid UTF-8"));
  }
  return absl::OkStatus();
}

}  // namespace

const char* GuidelineActionName(GuidelineAction action) {
  static constexpr const char* kNames[kGuidelineActions] = {"ignore_item_class", "prefer_newest",
                                                            "ask_user",          "raise_loops",
                                                            "lower_temperature", "force_grammar"};
  return kNames[static_cast<size_t>(action)];
}

uint64_t GuidelineIdOf(const HyperVector& trigger, const HyperVector& action) {
  std::string bytes;
  for (const HyperVector* vector : {&trigger, &action}) {
    for (const uint8_t byte : ToBytes(*vector)) bytes.push_back(static_cast<char>(byte));
  }
  return Xxh3(bytes);
}

ActionCodes::ActionCodes(const FeatureCodebook& codebook) {
  for (int i = 0; i < kGuidelineActions; ++i) {
    const char bytes[2] = {3, static_cast<char>(i)};
    codes_[static_cast<size_t>(i)] = codebook.Code(Xxh3(std::string_view(bytes, 2)));
  }
}

GuidelineAction ActionCodes::Unbind(const HyperVector& action_vector,
                                    const HyperVector& context) const {
  const HyperVector noisy = Bind(action_vector, context);
  size_t best = 0;
  for (size_t i = 1; i < codes_.size(); ++i) {
    if (Hamming(noisy, codes_[i]) < Hamming(noisy, codes_[best])) best = i;
  }
  return static_cast<GuidelineAction>(best);
}

Guidelines::Guidelines(const ActionCodes& codes, const GuidelineOptions& options)
    : codes_(&codes), options_(options) {
  CHIMERA_CHECK(options.guidelines_max >= 1 && options.guidelines_max <= 4096);
  CHIMERA_CHECK(options.votes_max >= 1);
  CHIMERA_CHECK(options.learning_rate > 0 && options.learning_rate <= 1);
}

absl::StatusOr<bool> Guidelines::Learn(const HyperVector& context, GuidelineAction action,
                                       std::string_view text, double delta) {
  CHIMERA_RETURN_IF_ERROR(CheckText(text));
  if (!std::isfinite(delta)) {
    return absl::InvalidArgumentError("guideline from a contrastive evaluation that is no number");
  }
  if (delta >= options_.trigger) return false;
  Guideline fresh{.trigger = context,
                  .action = Bind(context, codes_->code(action)),
                  .text = std::string(text),
                  .created = retrievals_};
  fresh.id = GuidelineIdOf(fresh.trigger, fresh.action);
  for (const Guideline& held : guidelines_) {
    if (held.id == fresh.id) return false;
  }
  CHIMERA_ASSIGN_OR_RETURN(const size_t place, PlaceForOne());
  guidelines_[place] = std::move(fresh);
  return true;
}

absl::StatusOr<size_t> Guidelines::PlaceForOne() {
  if (guidelines_.size() < static_cast<size_t>(options_.guidelines_max)) {
    guidelines_.emplace_back();
    return guidelines_.size() - 1;
  }
  size_t weakest = guidelines_.size();
  for (size_t i = 0; i < guidelines_.size(); ++i) {
    if (retrievals_ - guidelines_[i].created <= options_.protected_uses) continue;
    if (weakest == guidelines_.size() ||
        std::pair(guidelines_[i].weight, guidelines_[i].id) <
            std::pair(guidelines_[weakest].weight, guidelines_[weakest].id)) {
      weakest = i;
    }
  }
  if (weakest == guidelines_.size()) {
    return absl::ResourceExhaustedError(absl::StrCat("guidelines: all ", guidelines_.size(),
                                                     " are younger than ", options_.protected_uses,
                                                     " retrievals"));
  }
  ++evicted_;
  return weakest;
}

std::optional<Advice> Guidelines::Ask(const HyperVector& context) {
  ++retrievals_;
  std::vector<std::tuple<int, uint64_t, size_t>> near;  // distance, id, place
  for (size_t i = 0; i < guidelines_.size(); ++i) {
    const int distance = Hamming(context, guidelines_[i].trigger);
    if (distance <= options_.distance_max) near.push_back({distance, guidelines_[i].id, i});
  }
  std::sort(near.begin(), near.end());
  near.resize(std::min(near.size(), static_cast<size_t>(options_.votes_max)));
  std::array<Advice, kGuidelineActions> tally;
  for (const auto& [distance, id, place] : near) {
    const Guideline& guideline = guidelines_[place];
    const GuidelineAction action = codes_->Unbind(guideline.action, context);
    Advice& advice = tally[static_cast<size_t>(action)];
    advice.action = action;
    advice.votes += guideline.weight;
    advice.voters.push_back(id);
  }
  const auto best = std::max_element(
      tally.begin(), tally.end(), [](const auto& a, const auto& b) { return a.votes < b.votes; });
  if (best->voters.empty() || best->votes < options_.votes_min) return std::nullopt;
  ++advised_;
  return *best;
}

absl::Status Guidelines::RecordOutcome(const Advice& advice, double outcome) {
  if (!Within(outcome, 0, 1)) {
    return absl::InvalidArgumentError(absl::StrCat("outcome ", outcome, " is outside 0..1"));
  }
  for (Guideline& guideline : guidelines_) {
    if (std::find(advice.voters.begin(), advice.voters.end(), guideline.id) ==
        advice.voters.end()) {
      continue;
    }
    const double w = guideline.weight + options_.learning_rate * (outcome - guideline.weight);
    guideline.weight = static_cast<float>(std::clamp(w, 0.0, 1.0));
    ++guideline.uses;
  }
  return absl::OkStatus();
}

const Guideline* Guidelines::Find(uint64_t id) const {
  const auto it = std::find_if(guidelines_.begin(), guidelines_.end(),
                               [id](const Guideline& guideline) { return guideline.id == id; });
  return it == guidelines_.end() ? nullptr : &*it;
}

std::string Guidelines::EncodeOne(const Guideline& guideline) const {
  RecordWriter out;
  out.Hyper(guideline.trigger);
  out.U8(static_cast<uint8_t>(codes_->Unbind(guideline.action, guideline.trigger)));
  out.U8(0);
  out.U16(static_cast<uint16_t>(guideline.text.size()));
  out.F32(guideline.weight);
  out.U64(guideline.uses);
  out.U64(guideline.created);
  out.U64(retrievals_);
  out.Bytes(guideline.text);
  return out.Finish();
}

absl::Status Guidelines::Restore(uint64_t id, std::string_view record) {
  CHIMERA_ASSIGN_OR_RETURN(RecordReader in, RecordReader::OpenBare("guideline", record));
  Guideline guideline;
  guideline.trigger = in.Hyper();
  const uint8_t action = in.U8(), zero = in.U8();
  const uint16_t text_bytes = in.U16();
  guideline.weight = in.F32();
  guideline.uses = in.U64();
  guideline.created = in.U64();
  const uint64_t retrievals = in.U64();
  guideline.text = std::string(in.Bytes(text_bytes));
  CHIMERA_RETURN_IF_ERROR(in.Finish());
  if (action >= kGuidelineActions || zero != 0) return in.Fault("it has an unknown action");
  if (!Within(guideline.weight, 0, 1)) return in.OutOfRange("weight", guideline.weight, 0, 1);
  if (!CheckText(guideline.text).ok()) return in.Fault("its text");
  if (guideline.created > retrievals) return in.Fault("a guideline from the future");
  guideline.action = Bind(guideline.trigger, codes_->code(static_cast<GuidelineAction>(action)));
  guideline.id = GuidelineIdOf(guideline.trigger, guideline.action);
  if (guideline.id != id) return in.Fault("it has another id");
  if (Find(id) != nullptr) return absl::AlreadyExistsError("guideline: it is there already");
  if (guidelines_.size() >= static_cast<size_t>(options_.guidelines_max)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("guidelines: there are ", guidelines_.size(), " already, the limit"));
  }
  retrievals_ = std::max(retrievals_, retrievals);
  guidelines_.push_back(std::move(guideline));
  return absl::OkStatus();
}

int64_t Guidelines::bytes() const {
  size_t bytes = 0;
  for (const Guideline& guideline : guidelines_) bytes += kFixedBytes + guideline.text.size();
  return static_cast<int64_t>(bytes);
}

std::string Guidelines::Encode() const {
  RecordWriter out(kMagic, kVersion);
  for (const uint64_t value : {retrievals_, advised_, evicted_, uint64_t{guidelines_.size()}}) {
    out.U64(value);
  }
  for (const Guideline& guideline : guidelines_) {
    out.Hyper(guideline.trigger);
    out.Hyper(guideline.action);
    out.F32(guideline.weight);
    out.U32(static_cast<uint32_t>(guideline.text.size()));
    out.U64(guideline.uses);
    out.U64(guideline.created);
    out.Bytes(guideline.text);
  }
  return out.Finish();
}

absl::StatusOr<Guidelines> Guidelines::Decode(const ActionCodes& codes,
                                              const GuidelineOptions& options,
                                              std::string_view bytes) {
  CHIMERA_ASSIGN_OR_RETURN(RecordReader in,
                           RecordReader::Open("guidelines", bytes, kMagic, kVersion));
  Guidelines out(codes, options);
  for (uint64_t* value : {&out.retrievals_, &out.advised_, &out.evicted_}) *value = in.U64();
  const uint64_t n = in.U64();
  if (n > in.left() / kFixedBytes) {
    return in.Fault(absl::StrCat("it says ", n, " guidelines and has ", in.left(), " bytes"));
  }
  if (n > static_cast<uint64_t>(options.guidelines_max)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "guidelines: it holds ", n, " guidelines; the limit is ", options.guidelines_max));
  }
  std::unordered_set<uint64_t> ids;
  for (uint64_t i = 0; i < n; ++i) {
    Guideline guideline;
    guideline.trigger = in.Hyper();
    guideline.action = in.Hyper();
    guideline.weight = in.F32();
    const uint32_t text_bytes = in.U32();
    guideline.uses = in.U64();
    guideline.created = in.U64();
    const std::string_view text = in.Bytes(text_bytes);
    if (!CheckText(text).ok()) return in.Fault(absl::StrCat("the text of guideline ", i));
    guideline.text = std::string(text);
    if (!Within(guideline.weight, 0, 1)) return in.OutOfRange("weight", guideline.weight, 0, 1);
    if (guideline.created > out.retrievals_) return in.Fault("a guideline from the future");
    const GuidelineAction action = codes.Unbind(guideline.action, guideline.trigger);
    if (Bind(guideline.trigger, codes.code(action)) != guideline.action) {
      return in.Fault(absl::StrCat("guideline ", i, " has an unknown action"));
    }
    guideline.id = GuidelineIdOf(guideline.trigger, guideline.action);
    if (!ids.insert(guideline.id).second) return in.Fault("a guideline is there twice");
    out.guidelines_.push_back(std::move(guideline));
  }
  CHIMERA_RETURN_IF_ERROR(in.Finish());
  return out;
}

}  // namespace chimera
