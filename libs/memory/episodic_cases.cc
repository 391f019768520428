#include "memory/episodic_cases.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/exact_math.h"
#include "base/file.h"
#include "base/philox.h"
#include "base/status_macros.h"
#include "memory/record.h"
#include "memory/weighted_draw.h"

namespace chimera {
namespace {

constexpr std::string_view kMagic = "CHCASES1";
constexpr uint32_t kVersion = 1;
constexpr int kKernelRadius = 2800;
constexpr double kKernelWidth = 200;
constexpr double kTemperature = 0.2;

absl::Status CheckOutcome(double r) {
  if (Within(r, 0, 1)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("outcome ", r, " is outside 0..1"));
}

// Stays in [0, 1] also after rounding.
float Toward(float value, double target, double rate) {
  return static_cast<float>(std::clamp(value + rate * (target - value), 0.0, 1.0));
}

// What keeps a case when room is needed.
double Worth(const EpisodicCase& c, uint32_t now_s) {
  const double days = now_s > c.t_last_s ? (now_s - c.t_last_s) / 86400.0 : 0.0;
  return c.q + 0.05 * ExactLog(1.0 + c.n) - 0.01 * days;
}

// The text in a field of fixed width; an error when what follows it is not zero.
absl::StatusOr<std::string> Unpadded(const RecordReader& in, const char* what,
                                     std::string_view field, size_t n) {
  if (n > field.size()) {
    return in.OutOfRange(what, static_cast<double>(n), 0, static_cast<double>(field.size()));
  }
  if (field.substr(n).find_first_not_of('\0') != field.npos) {
    return in.Fault(absl::StrCat(what, " of ", n, " bytes has more behind it"));
  }
  return std::string(field.substr(0, n));
}

}  // namespace

uint64_t CaseIdOf(const HyperVector& sketch, std::string_view plan, std::string_view tags) {
  std::string bytes;
  for (const uint8_t byte : ToBytes(sketch)) bytes.push_back(static_cast<char>(byte));
  bytes.push_back(static_cast<char>(plan.size() & 0xFF));
  bytes.push_back(static_cast<char>(plan.size() >> 8));
  bytes += plan;
  bytes += tags;
  return Xxh3(bytes);
}

std::string EncodeCase(const EpisodicCase& c) {
  RecordWriter out;
  out.Hyper(c.sketch);
  out.Padded(c.plan, kCasePlanBytesMax);
  out.F32(c.q);
  out.U32(c.n);
  out.F32(c.reward_ema);
  out.U32(c.t_last_s);
  out.U16(static_cast<uint16_t>(c.plan.size()));
  out.U16(static_cast<uint16_t>(c.tags.size()));
  out.Padded(c.tags, kCaseTagsBytesMax);
  return out.Finish();
}

absl::StatusOr<EpisodicCase> DecodeCase(std::string_view bytes) {
  CHIMERA_ASSIGN_OR_RETURN(RecordReader in, RecordReader::OpenBare("case", bytes));
  EpisodicCase c;
  c.sketch = in.Hyper();
  const std::string_view plan = in.Bytes(kCasePlanBytesMax);
  c.q = in.F32();
  c.n = in.U32();
  c.reward_ema = in.F32();
  c.t_last_s = in.U32();
  const uint16_t plan_bytes = in.U16(), tags_bytes = in.U16();
  const std::string_view tags = in.Bytes(kCaseTagsBytesMax);
  CHIMERA_RETURN_IF_ERROR(in.Finish());
  CHIMERA_ASSIGN_OR_RETURN(c.plan, Unpadded(in, "plan", plan, plan_bytes));
  CHIMERA_ASSIGN_OR_RETURN(c.tags, Unpadded(in, "tags", tags, tags_bytes));
  if (!Within(c.q, 0, 1)) return in.OutOfRange("q", c.q, 0, 1);
  if (!Within(c.reward_ema, 0, 1)) return in.OutOfRange("reward_ema", c.reward_ema, 0, 1);
  if (c.n == 0) return in.Fault("it has no outcome");
  c.id = CaseIdOf(c.sketch, c.plan, c.tags);
  return c;
}

EpisodicCases::EpisodicCases(const EpisodicOptions& options) : options_(options) {
  CHIMERA_CHECK(options.cases_max >= 1 && options.cases_max <= 65536);
  CHIMERA_CHECK(options.chosen_max >= 1 && options.chosen_max <= options.nearest);
  CHIMERA_CHECK(options.learning_rate > 0 && options.learning_rate <= 1);
}

std::vector<CaseChoice> EpisodicCases::Policy(const HyperVector& sketch) const {
  std::vector<std::pair<int, size_t>> near;  // distance, place
  near.reserve(cases_.size());
  for (size_t i = 0; i < cases_.size(); ++i) near.push_back({Hamming(sketch, cases_[i].sketch), i});
  const auto nearer = [this](const auto& a, const auto& b) {
    return std::pair(a.first, cases_[a.second].id) < std::pair(b.first, cases_[b.second].id);
  };
  const size_t n = std::min(near.size(), static_cast<size_t>(options_.nearest));
  std::partial_sort(near.begin(), near.begin() + static_cast<std::ptrdiff_t>(n), near.end(),
                    nearer);
  near.resize(n);

  const double log_n = ExactLog(1.0 + static_cast<double>(outcomes_of_all_));
  std::vector<CaseChoice> policy;
  double q_max = 0;
  for (const auto& [distance, place] : near) {
    const EpisodicCase& c = cases_[place];
    const double log_kernel = -std::max(0, distance - kKernelRadius) / kKernelWidth;
    const double bonus = 0.1 * std::sqrt(log_n / (1.0 + c.n));
    policy.push_back({.id = c.id, .distance = distance, .q_value = c.q + bonus + 0.5 * log_kernel});
    q_max = policy.size() == 1 ? policy[0].q_value : std::max(q_max, policy.back().q_value);
  }
  double sum = 0;
  for (CaseChoice& choice : policy) {
    choice.share = ExactExp((choice.q_value - q_max) / kTemperature);
    sum += choice.share;  // one fixed order: by distance and id
  }
  for (CaseChoice& choice : policy) choice.probability = choice.share / sum;
  std::stable_sort(policy.begin(), policy.end(), [](const CaseChoice& a, const CaseChoice& b) {
    return a.probability > b.probability;
  });
  return policy;
}

std::vector<CaseChoice> EpisodicCases::Retrieve(const HyperVector& sketch, bool explore) {
  std::vector<CaseChoice> policy = Policy(sketch);
  const bool hit = std::any_of(policy.begin(), policy.end(), [this](const CaseChoice& choice) {
    return choice.distance <= options_.hit_distance;
  });
  if (explore) {
    const PhiloxStream random(options_.seed, RngPurpose::kCaseDraw,
                              static_cast<uint32_t>(counters_.retrievals));
    const auto key = [&random](const CaseChoice& choice) {
      return ExponentialKey(OpenUniform(random, choice.id), 1.0 / choice.probability);
    };
    std::stable_sort(policy.begin(), policy.end(),
                     [&](const CaseChoice& a, const CaseChoice& b) { return key(a) < key(b); });
  }
  policy.resize(std::min(policy.size(), static_cast<size_t>(options_.chosen_max)));
  ++counters_.retrievals;
  counters_.hits += hit;
  return policy;
}

absl::StatusOr<bool> EpisodicCases::RecordOutcome(const CaseChoice& choice, double r,
                                                  uint32_t now_s) {
  CHIMERA_RETURN_IF_ERROR(CheckOutcome(r));
  CHIMERA_CHECK(Within(choice.share, 0, 1));
  const auto it = std::find_if(cases_.begin(), cases_.end(),
                               [&](const EpisodicCase& c) { return c.id == choice.id; });
  if (it == cases_.end()) return false;
  it->q = Toward(it->q, r, options_.learning_rate * choice.share);
  it->reward_ema = Toward(it->reward_ema, r, options_.learning_rate);
  it->n += it->n < UINT32_MAX;
  it->t_last_s = now_s;
  ++outcomes_of_all_;
  ++counters_.outcomes;
  return true;
}

absl::StatusOr<bool> EpisodicCases::Insert(const HyperVector& sketch, std::string_view plan,
                                           std::string_view tags, double r, uint32_t now_s) {
  CHIMERA_RETURN_IF_ERROR(CheckOutcome(r));
  if (plan.size() > kCasePlanBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("plan of ", plan.size(), " bytes; a case has at most ", kCasePlanBytesMax));
  }
  if (tags.size() > kCaseTagsBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("tags of ", tags.size(), " bytes; a case has at most ", kCaseTagsBytesMax));
  }
  if (std::abs(r - 0.5) <= options_.insert_margin) return false;
  const uint64_t id = CaseIdOf(sketch, plan, tags);
  if (Find(id) != nullptr) return false;
  EpisodicCase fresh{.id = id,
                     .sketch = sketch,
                     .plan = std::string(plan),
                     .tags = std::string(tags),
                     .q = static_cast<float>(r),
                     .n = 1,
                     .reward_ema = static_cast<float>(r),
                     .t_last_s = now_s};
  ++outcomes_of_all_;
  ++counters_.inserted;
  if (cases_.size() < static_cast<size_t>(options_.cases_max)) {
    cases_.push_back(std::move(fresh));
  } else {
    const size_t weakest = Weakest(now_s);
    outcomes_of_all_ -= cases_[weakest].n;
    cases_[weakest] = std::move(fresh);
    ++counters_.evicted;
  }
  return true;
}

bool EpisodicCases::Restore(EpisodicCase c) {
  if (cases_.size() >= static_cast<size_t>(options_.cases_max)) return false;
  outcomes_of_all_ += c.n;
  cases_.push_back(std::move(c));
  return true;
}

size_t EpisodicCases::Weakest(uint32_t now_s) const {
  size_t weakest = 0;
  for (size_t i = 1; i < cases_.size(); ++i) {
    const std::pair a(Worth(cases_[i], now_s), cases_[i].id);
    if (a < std::pair(Worth(cases_[weakest], now_s), cases_[weakest].id)) weakest = i;
  }
  return weakest;
}

const EpisodicCase* EpisodicCases::Find(uint64_t id) const {
  const auto it = std::find_if(cases_.begin(), cases_.end(),
                               [id](const EpisodicCase& c) { return c.id == id; });
  return it == cases_.end() ? nullptr : &*it;
}

std::string EpisodicCases::Encode() const {
  RecordWriter out(kMagic, kVersion);
  for (const uint64_t value : {counters_.retrievals, counters_.hits, counters_.outcomes,
                               counters_.inserted, counters_.evicted, uint64_t{cases_.size()}}) {
    out.U64(value);
  }
  for (const EpisodicCase& c : cases_) out.Bytes(EncodeCase(c));
  return out.Finish();
}

absl::StatusOr<EpisodicCases> EpisodicCases::Decode(const EpisodicOptions& options,
                                                    std::string_view bytes) {
  CHIMERA_ASSIGN_OR_RETURN(RecordReader in,
                           RecordReader::Open("episodic cases", bytes, kMagic, kVersion));
  EpisodicCases out(options);
  CaseCounters& counters = out.counters_;
  for (uint64_t* value : {&counters.retrievals, &counters.hits, &counters.outcomes,
                          &counters.inserted, &counters.evicted}) {
    *value = in.U64();
  }
  const uint64_t n = in.U64();
  if (n > in.left() || n * kCaseBytes != in.left()) {
    return in.Fault(absl::StrCat("it says ", n, " cases and has ", in.left(), " bytes of them"));
  }
  if (n > static_cast<uint64_t>(options.cases_max)) {
    return absl::FailedPreconditionError(
        absl::StrCat("episodic cases: it holds ", n, " cases; the limit is ", options.cases_max));
  }
  std::unordered_set<uint64_t> ids;
  out.cases_.reserve(n);
  for (uint64_t i = 0; i < n; ++i) {
    CHIMERA_ASSIGN_OR_RETURN(EpisodicCase c, DecodeCase(in.Bytes(kCaseBytes)));
    if (!ids.insert(c.id).second) return in.Fault("a case is there twice");
    out.outcomes_of_all_ += c.n;
    out.cases_.push_back(std::move(c));
  }
  CHIMERA_RETURN_IF_ERROR(in.Finish());
  return out;
}

}  // namespace chimera
