#include "memory/fact_pool.h"

#include <algorithm>
#include <bit>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "memory/record.h"
#include "memory/weighted_draw.h"

namespace chimera {
namespace {

constexpr std::string_view kMagic = "CHFACTPL";
constexpr uint32_t kVersion = 1;
constexpr size_t kFactBytes = 20;
constexpr size_t kLogRecordBytes = 24;
constexpr uint8_t kTrialsMax = 64;

void AppendInt(uint64_t value, int width, std::string* out) {
  for (int i = 0; i < width; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t IntAt(std::string_view bytes, size_t at, size_t width) {
  uint64_t value = 0;
  for (size_t i = 0; i < width; ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
  }
  return value;
}

uint32_t CheckAfter(uint32_t last, std::string_view body) {
  std::string bytes;
  AppendInt(last, 4, &bytes);
  bytes += body;
  return static_cast<uint32_t>(Xxh3(bytes));
}

uint32_t CheckOfSnapshot(std::string_view snapshot) {
  return static_cast<uint32_t>(IntAt(snapshot, snapshot.size() - 8, 8));
}

bool IsSound(const FactTrial& trial) {
  return Within(trial.weight, -1.0001, 1.0001) && trial.trials <= kTrialsMax &&
         Within(trial.delta_sum, -1.0001 * kTrialsMax, 1.0001 * kTrialsMax);
}

// One log record: op 1, flag 1, trials 1, zero 1, weight 4, delta_sum 4, id 8, check 4. The flag is
// `pinned` of a put and "by a batch" of a drop.
struct LogRecord {
  uint8_t op;
  PooledFact fact;
};

LogRecord ParseLogRecord(std::string_view bytes) {
  LogRecord record;
  record.op = static_cast<uint8_t>(bytes[0]);
  record.fact.pinned = bytes[1] != 0;
  record.fact.trial.trials = static_cast<uint8_t>(bytes[2]);
  record.fact.trial.weight = std::bit_cast<float>(static_cast<uint32_t>(IntAt(bytes, 4, 4)));
  record.fact.trial.delta_sum = std::bit_cast<float>(static_cast<uint32_t>(IntAt(bytes, 8, 4)));
  record.fact.id = IntAt(bytes, 12, 8);
  return record;
}

}  // namespace

FactPool::FactPool(const FactPoolOptions& options) : options_(options) {
  CHIMERA_CHECK(options.facts_max >= 1 && options.facts_max <= int64_t{1} << 26);
  CHIMERA_CHECK(options.batch_max >= 1 && options.batch_max <= options.facts_max);
  CHIMERA_CHECK(options.eps > 0);
}

absl::StatusOr<std::vector<uint64_t>> FactPool::Append(std::span<const PooledFact> batch) {
  if (batch.empty() || batch.size() > static_cast<size_t>(options_.batch_max)) {
    return absl::InvalidArgumentError(absl::StrCat("fact pool: a batch of ", batch.size(),
                                                   " facts; it has 1 to ", options_.batch_max));
  }
  std::unordered_set<uint64_t> ids;
  int64_t fresh = 0, newly_pinned = 0;
  for (const PooledFact& fact : batch) {
    if (!ids.insert(fact.id).second) {
      return absl::InvalidArgumentError("fact pool: a batch holds one fact twice");
    }
    if (!IsSound(fact.trial)) {
      return absl::InvalidArgumentError("fact pool: a trial of the batch is out of range");
    }
    const PooledFact* held = Find(fact.id);
    fresh += held == nullptr;
    newly_pinned += held != nullptr && fact.pinned && !held->pinned;
  }
  const int64_t excess = std::max<int64_t>(0, size() + fresh - options_.facts_max);
  if (excess > size() - pinned_ - newly_pinned) {
    return absl::ResourceExhaustedError(
        absl::StrCat("fact pool: ", excess, " facts would have to go, and of the ", size(),
                     " facts only ", size() - pinned_ - newly_pinned, " are not pinned"));
  }
  for (const PooledFact& fact : batch) {
    PooledFact* held = FindMutable(fact.id);
    if (held == nullptr || !fact.pinned || held->pinned) continue;
    held->pinned = true;
    ++pinned_;
    Log(Op::kPut, *held);
  }
  const std::vector<uint64_t> gone = Draw(excess);
  for (const uint64_t id : gone) {
    Log(Op::kDrop, {.id = id, .pinned = true});
    Drop(id, true);
  }
  for (const PooledFact& fact : batch) {
    if (Find(fact.id) != nullptr) continue;
    // A held fact of the batch that was drawn just now stays gone.
    if (std::find(gone.begin(), gone.end(), fact.id) != gone.end()) continue;
    Put(fact);
    Log(Op::kPut, fact);
  }
  ++batches_;
  Commit();
  return gone;
}

std::vector<uint64_t> FactPool::Draw(int64_t k) const {
  if (k == 0) return {};
  const PhiloxStream random(options_.seed, RngPurpose::kMemoryDrop,
                            static_cast<uint32_t>(batches_));
  std::vector<std::pair<double, uint64_t>> chosen;  // a heap: the largest key on top
  for (const Slot& slot : slots_) {
    if (!slot.used || slot.fact.pinned) continue;
    const double u = OpenUniform(random, slot.fact.id);
    const double wait =
        options_.eps + std::max<double>(slot.fact.trial.weight, -0.5 * options_.eps);
    const bool full = chosen.size() == static_cast<size_t>(k);
    if (full && ExponentialKeyFloor(u, wait) > chosen.front().first) continue;
    const std::pair<double, uint64_t> entry{ExponentialKey(u, wait), slot.fact.id};
    if (full && entry > chosen.front()) continue;
    if (full) {
      std::pop_heap(chosen.begin(), chosen.end());
      chosen.pop_back();
    }
    chosen.push_back(entry);
    std::push_heap(chosen.begin(), chosen.end());
  }
  std::sort_heap(chosen.begin(), chosen.end());
  std::vector<uint64_t> ids;
  for (const auto& [key, id] : chosen) ids.push_back(id);
  return ids;
}

absl::Status FactPool::SetPinned(uint64_t id, bool pinned) {
  PooledFact* fact = FindMutable(id);
  if (fact == nullptr) return absl::NotFoundError("fact pool: no such fact");
  pinned_ += static_cast<int64_t>(pinned) - static_cast<int64_t>(fact->pinned);
  fact->pinned = pinned;
  Log(Op::kPut, *fact);
  Commit();
  return absl::OkStatus();
}

absl::Status FactPool::SetTrial(uint64_t id, const FactTrial& trial) {
  if (!IsSound(trial)) return absl::InvalidArgumentError("fact pool: a trial is out of range");
  PooledFact* fact = FindMutable(id);
  if (fact == nullptr) return absl::NotFoundError("fact pool: no such fact");
  fact->trial = trial;
  Log(Op::kPut, *fact);
  Commit();
  return absl::OkStatus();
}

bool FactPool::Erase(uint64_t id) {
  if (Find(id) == nullptr) return false;
  Log(Op::kDrop, {.id = id});
  Drop(id, false);
  Commit();
  return true;
}

const PooledFact* FactPool::Find(uint64_t id) const {
  const auto it = slot_of_.find(id);
  return it == slot_of_.end() ? nullptr : &slots_[it->second].fact;
}

PooledFact* FactPool::FindMutable(uint64_t id) { return const_cast<PooledFact*>(Find(id)); }

std::vector<PooledFact> FactPool::Facts() const {
  std::vector<const Slot*> used;
  for (const Slot& slot : slots_) {
    if (slot.used) used.push_back(&slot);
  }
  std::sort(used.begin(), used.end(),
            [](const Slot* a, const Slot* b) { return a->arrival < b->arrival; });
  std::vector<PooledFact> facts;
  facts.reserve(used.size());
  for (const Slot* slot : used) facts.push_back(slot->fact);
  return facts;
}

void FactPool::Put(const PooledFact& fact) {
  if (PooledFact* held = FindMutable(fact.id); held != nullptr) {
    pinned_ += static_cast<int64_t>(fact.pinned) - static_cast<int64_t>(held->pinned);
    *held = fact;
    return;
  }
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t slot = free_.back();
  free_.pop_back();
  slots_[slot] = {.fact = fact, .arrival = arrivals_++, .used = true};
  slot_of_[fact.id] = slot;
  pinned_ += fact.pinned;
}

void FactPool::Drop(uint64_t id, bool by_batch) {
  const auto it = slot_of_.find(id);
  CHIMERA_CHECK(it != slot_of_.end());
  pinned_ -= slots_[it->second].fact.pinned;
  slots_[it->second] = {};
  free_.push_back(it->second);
  slot_of_.erase(it);
  dropped_ += by_batch;
}

void FactPool::Log(Op op, const PooledFact& fact) {
  std::string body;
  for (const int byte : {static_cast<int>(op), static_cast<int>(fact.pinned),
                         static_cast<int>(fact.trial.trials), 0}) {
    body.push_back(static_cast<char>(byte));
  }
  AppendInt(std::bit_cast<uint32_t>(fact.trial.weight), 4, &body);
  AppendInt(std::bit_cast<uint32_t>(fact.trial.delta_sum), 4, &body);
  AppendInt(fact.id, 8, &body);
  log_check_ = CheckAfter(log_check_, body);
  log_ += body;
  AppendInt(log_check_, 4, &log_);
  ++ops_since_snapshot_;
}

void FactPool::Commit() { Log(Op::kCommit, {.id = batches_}); }

std::string FactPool::TakeLog() { return std::exchange(log_, {}); }

std::string FactPool::Encode() {
  RecordWriter out(kMagic, kVersion);
  out.U64(options_.seed);
  out.U64(batches_);
  out.U64(static_cast<uint64_t>(dropped_));
  out.U64(static_cast<uint64_t>(size()));
  for (const PooledFact& fact : Facts()) {
    out.U64(fact.id);
    out.F32(fact.trial.weight);
    out.F32(fact.trial.delta_sum);
    out.U8(fact.trial.trials);
    out.U8(fact.pinned);
    out.U16(0);
  }
  std::string snapshot = out.Finish();
  log_.clear();
  log_check_ = CheckOfSnapshot(snapshot);
  ops_since_snapshot_ = 0;
  return snapshot;
}

absl::StatusOr<FactPool> FactPool::Decode(const FactPoolOptions& options,
                                          std::string_view snapshot) {
  CHIMERA_ASSIGN_OR_RETURN(RecordReader in,
                           RecordReader::Open("fact pool", snapshot, kMagic, kVersion));
  FactPool pool(options);
  if (const uint64_t seed = in.U64(); seed != options.seed) {
    return absl::FailedPreconditionError("fact pool: it was made with another seed");
  }
  pool.batches_ = in.U64();
  const uint64_t dropped = in.U64();
  if (dropped > uint64_t{1} << 62) return in.Fault(absl::StrCat(dropped, " dropped facts"));
  pool.dropped_ = static_cast<int64_t>(dropped);
  const uint64_t n = in.U64();
  if (n > in.left() || n * kFactBytes != in.left()) {
    return in.Fault(absl::StrCat("it says ", n, " facts and has ", in.left(), " bytes of them"));
  }
  if (n > static_cast<uint64_t>(options.facts_max)) {
    return absl::FailedPreconditionError(
        absl::StrCat("fact pool: it holds ", n, " facts; the limit is ", options.facts_max));
  }
  for (uint64_t i = 0; i < n; ++i) {
    PooledFact fact;
    fact.id = in.U64();
    fact.trial.weight = in.F32();
    fact.trial.delta_sum = in.F32();
    fact.trial.trials = in.U8();
    const uint8_t pinned = in.U8();
    fact.pinned = pinned == 1;
    if (pinned > 1 || in.U16() != 0) return in.Fault(absl::StrCat("flags of fact ", i));
    if (!IsSound(fact.trial)) return in.Fault(absl::StrCat("trial of fact ", i));
    if (pool.Find(fact.id) != nullptr) return in.Fault(absl::StrCat("fact ", i, " is there twice"));
    pool.Put(fact);
  }
  CHIMERA_RETURN_IF_ERROR(in.Finish());
  pool.log_check_ = CheckOfSnapshot(snapshot);
  return pool;
}

absl::StatusOr<size_t> FactPool::Replay(std::string_view log) {
  uint32_t check = log_check_;
  size_t group_at = 0;
  for (size_t at = 0; at + kLogRecordBytes <= log.size(); at += kLogRecordBytes) {
    const std::string_view body = log.substr(at, kLogRecordBytes - 4);
    check = CheckAfter(check, body);
    if (IntAt(log, at + body.size(), 4) != check) break;
    if (static_cast<Op>(body[0]) != Op::kCommit) continue;
    const size_t next = at + kLogRecordBytes;
    const std::string_view group = log.substr(group_at, next - group_at);
    CHIMERA_RETURN_IF_ERROR(CheckGroup(group));
    ApplyGroup(group);
    group_at = next;
    log_check_ = check;
  }
  return group_at;
}

absl::Status FactPool::CheckGroup(std::string_view group) const {
  const auto fault = [](const char* what) {
    return absl::DataLossError(absl::StrCat("fact pool log: ", what));
  };
  std::unordered_map<uint64_t, bool> held;  // what the group has changed so far
  int64_t after = size();
  for (size_t at = 0; at < group.size(); at += kLogRecordBytes) {
    const LogRecord record = ParseLogRecord(group.substr(at, kLogRecordBytes));
    if (group[at + 1] != 0 && group[at + 1] != 1) return fault("a flag is neither 0 nor 1");
    if (group[at + 3] != 0) return fault("byte 3 of a record is not zero");
    const auto it = held.find(record.fact.id);
    const bool is_held = it != held.end() ? it->second : Find(record.fact.id) != nullptr;
    switch (static_cast<Op>(record.op)) {
      case Op::kPut:
        if (!IsSound(record.fact.trial)) return fault("a trial is out of range");
        after += !is_held;
        held[record.fact.id] = true;
        break;
      case Op::kDrop:
        if (!is_held) return fault("it drops a fact that is not there");
        --after;
        held[record.fact.id] = false;
        break;
      case Op::kCommit:
        if (record.fact.id - batches_ > 1) return fault("a batch is missing");
        break;
      default:
        return fault("an unknown operation");
    }
  }
  if (after > options_.facts_max) return fault("it holds more facts than the pool may");
  return absl::OkStatus();
}

void FactPool::ApplyGroup(std::string_view group) {
  for (size_t at = 0; at < group.size(); at += kLogRecordBytes) {
    const LogRecord record = ParseLogRecord(group.substr(at, kLogRecordBytes));
    const Op op = static_cast<Op>(record.op);
    if (op == Op::kPut) Put(record.fact);
    if (op == Op::kDrop) Drop(record.fact.id, record.fact.pinned);
    if (op == Op::kCommit) batches_ = record.fact.id;
    ++ops_since_snapshot_;
  }
}

}  // namespace chimera
