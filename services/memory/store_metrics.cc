#include "services/memory/store_metrics.h"

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/status_macros.h"
#include "memory/store_figures.h"

namespace chimera {
namespace {

struct Series {
  const char* name;
  const char* help;
  int64_t StoreFigures::*value;
  double unit;  // of the figure, in the series' base unit
};

constexpr Series kGauges[] = {
    {"chimera_memory_facts", "Facts remembered, of all users.", &StoreFigures::facts, 1},
    {"chimera_memory_facts_max", "Facts the store may hold.", &StoreFigures::facts_max, 1},
    {"chimera_memory_relations", "Relations stored, of all users.", &StoreFigures::relations, 1},
    {"chimera_memory_relations_max", "Relations the store may hold.", &StoreFigures::relations_max,
     1},
    {"chimera_memory_users", "Users with anything stored.", &StoreFigures::users, 1},
    {"chimera_memory_users_max", "Users the store may hold.", &StoreFigures::users_max, 1},
    {"chimera_memory_stored_bytes", "Bytes of keys and values.", &StoreFigures::bytes, 1},
    {"chimera_memory_stored_bytes_max", "Bytes of keys and values the store may hold.",
     &StoreFigures::bytes_max, 1},
    {"chimera_memory_table_bytes", "Bytes of RocksDB's live table files.",
     &StoreFigures::table_bytes, 1},
    {"chimera_memory_memtable_bytes", "Bytes of RocksDB's write buffers.",
     &StoreFigures::memtable_bytes, 1},
    {"chimera_memory_block_cache_bytes", "Bytes in RocksDB's block cache.",
     &StoreFigures::cache_bytes, 1},
    {"chimera_memory_pending_compaction_bytes", "Bytes RocksDB has yet to compact.",
     &StoreFigures::pending_compaction_bytes, 1},
    {"chimera_memory_compactions_running", "Compactions under way.",
     &StoreFigures::running_compactions, 1},
    {"chimera_memory_unsynced_items", "Inferred items that wait for their group's sync.",
     &StoreFigures::unsynced_items, 1},
    {"chimera_memory_wal_sync_p99_seconds", "The slowest hundredth of syncs took this or longer.",
     &StoreFigures::wal_sync_p99_us, 1e-6},
};

constexpr Series kCounters[] = {
    {"chimera_memory_stall_seconds_total", "Time RocksDB held writers back.",
     &StoreFigures::stall_us, 1e-6},
    {"chimera_memory_wal_syncs_total", "Syncs of the write-ahead log.", &StoreFigures::wal_syncs,
     1},
    {"chimera_memory_wal_sync_seconds_total", "Time spent in syncs of the write-ahead log.",
     &StoreFigures::wal_sync_us, 1e-6},
    {"chimera_memory_block_cache_hits_total", "Blocks found in RocksDB's cache.",
     &StoreFigures::cache_hits, 1},
    {"chimera_memory_block_cache_misses_total", "Blocks read from files.",
     &StoreFigures::cache_misses, 1},
    {"chimera_memory_background_errors_total", "Background errors RocksDB met.",
     &StoreFigures::background_errors, 1},
};

struct LearningSeries {
  const char* name;
  const char* help;
  int64_t LearningFigures::*value;
};

constexpr char kHeldBack[] = "chimera_memory_users_held_back";

constexpr LearningSeries kLearning[] = {
    {"chimera_memory_case_retrievals_total", "Situations that episodic cases were asked for.",
     &LearningFigures::case_retrievals},
    {"chimera_memory_case_hits_total", "Of those, situations that a case was near to.",
     &LearningFigures::case_hits},
    {"chimera_memory_guidelines_advised_total", "Questions that guidelines had advice for.",
     &LearningFigures::guidelines_advised},
    {"chimera_memory_guidelines_made_total", "Guidelines that harm done by a fact has taught.",
     &LearningFigures::guidelines_made},
    {"chimera_memory_evolved_written_total", "Facts the machine wrote down by itself.",
     &LearningFigures::written},
    {"chimera_memory_evolved_refused_total",
     "Writes by the machine refused: safety state, ceiling, quota.", &LearningFigures::refused},
    {"chimera_memory_evolved_evaluated_total", "Contrastive evaluations of such facts.",
     &LearningFigures::evaluated},
    {"chimera_memory_evolved_rejected_total", "Such facts dropped by their evaluations.",
     &LearningFigures::rejected},
    {"chimera_memory_evolved_rollbacks_total", "Users' learning rolled back to a good state.",
     &LearningFigures::rollbacks},
};

}  // namespace

absl::Status ExportStoreMetrics(LocalMemory* store, Metrics* metrics) {
  for (const Series& one : kGauges) {
    CHIMERA_RETURN_IF_ERROR(
        metrics->Declare({.name = one.name, .help = one.help, .type = MetricType::kGauge}));
  }
  for (const Series& one : kCounters) {
    CHIMERA_RETURN_IF_ERROR(metrics->Declare({.name = one.name, .help = one.help}));
  }
  // Counters here are totals of RocksDB's own; a series is given what came since the last scrape.
  metrics->OnScrape([store, last = std::make_shared<StoreFigures>()](MetricsSink* sink) {
    const StoreFigures now = store->Figures();
    for (const Series& one : kGauges) {
      sink->Gauge(one.name, "", static_cast<double>(now.*one.value) * one.unit);
    }
    for (const Series& one : kCounters) {
      sink->Count(one.name, "",
                  static_cast<double>(now.*one.value - (*last).*one.value) * one.unit);
    }
    *last = now;
  });
  return absl::OkStatus();
}

absl::Status ExportLearningMetrics(UserLearning* learning, Metrics* metrics) {
  for (const LearningSeries& one : kLearning) {
    CHIMERA_RETURN_IF_ERROR(metrics->Declare({.name = one.name, .help = one.help}));
  }
  CHIMERA_RETURN_IF_ERROR(
      metrics->Declare({.name = kHeldBack,
                        .help = "Users seen lately whose learning is frozen, on probation or off.",
                        .type = MetricType::kGauge}));
  metrics->OnScrape([learning, last = std::make_shared<LearningFigures>()](MetricsSink* sink) {
    const LearningFigures now = learning->Figures();
    for (const LearningSeries& one : kLearning) {
      sink->Count(one.name, "", static_cast<double>(now.*one.value - (*last).*one.value));
    }
    sink->Gauge(kHeldBack, "", static_cast<double>(now.users_held_back));
    *last = now;
  });
  return absl::OkStatus();
}

}  // namespace chimera
