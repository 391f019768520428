// Figures of a LocalMemory.
#include "base/status_macros.h"
#include "memory/memory_arguments.h"
#include "memory/rocksdb_store.h"

namespace chimera {
namespace {

// Adds one user's to stats.
void AddStats(UserMemory* memory, MemoryStats* stats) {
  MutexLock lock(&memory->mutex);
  stats->facts += memory->facts.facts();
  stats->users += memory->used.entries > 0;
  stats->text_bytes += memory->facts.text_bytes();
  stats->user_facts += memory->facts.user_facts();
  stats->relations += memory->relations.triples();
  stats->cases += static_cast<int64_t>(memory->records[0].size());
  stats->guidelines += static_cast<int64_t>(memory->records[1].size());
  stats->sections += static_cast<int64_t>(memory->sections.size());
  stats->entries += memory->used.entries;
  stats->bytes += memory->used.bytes;
}

}  // namespace

absl::StatusOr<MemoryStats> LocalMemory::Stats(const std::string& user) {
  MemoryStats stats;
  if (user.empty()) {
    for (const UserPointer& memory : AllUsers()) AddStats(memory.get(), &stats);
    stats.facts_max = options_.facts_max;
    stats.bytes_max = options_.ceilings.bytes;
    // No user can have more, so the store cannot.
    stats.entries_max = options_.quota.entries_max * options_.ceilings.users;
  } else {
    CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
    if (const UserPointer memory = FindUser(user); memory != nullptr) {
      AddStats(memory.get(), &stats);
    }
    stats.facts_max = options_.facts_per_user_max;
    stats.bytes_max = options_.quota.bytes_max;
    stats.entries_max = options_.quota.entries_max;
  }
  stats.relations_max = options_.ceilings.relations;
  MutexLock lock(&users_mutex_);
  stats.corrupt_records_skipped = corrupt_records_;
  return stats;
}

StoreFigures LocalMemory::Figures() {
  StoreFigures figures = db_->Figures();
  const Growth used = totals_.Get();
  figures.facts = used.facts;
  figures.facts_max = options_.facts_max;
  figures.relations = used.relations;
  figures.relations_max = options_.ceilings.relations;
  figures.bytes = used.bytes;
  figures.bytes_max = options_.ceilings.bytes;
  figures.users_max = options_.ceilings.users;
  MutexLock lock(&users_mutex_);
  figures.users = static_cast<int64_t>(users_.size());
  return figures;
}

int64_t LocalMemory::CacheBytes() {
  const StoreFigures figures = db_->Figures();
  int64_t bytes = figures.cache_bytes + figures.memtable_bytes;
  for (const UserPointer& memory : AllUsers()) {
    MutexLock lock(&memory->mutex);
    bytes += memory->facts.facts() * int64_t{sizeof(HyperVector)} + memory->relations.MemoryBytes();
  }
  return bytes;
}

}  // namespace chimera
