#include "cluster/metrics_table.h"

#include "decode/debt_types.h"

namespace chimera {
namespace {

// Upper bounds in seconds. First token: 1 ms to 164 s. Between tokens: 0.1 ms to 6.6 s. Requests:
// 10 ms to 655 s.
std::vector<double> Doubling(double first, int n) {
  std::vector<double> bounds;
  for (double bound = first; n > 0; --n, bound *= 2) bounds.push_back(bound);
  return bounds;
}

// By the names of the configuration.
MetricSpec Debts(const char* name, const char* help) {
  MetricSpec spec = {name, help, MetricType::kCounter, "type", {}, {}};
  for (int i = 0; i < kDebtTypes; ++i) {
    spec.label_values.emplace_back(DebtName(static_cast<DebtType>(i)));
  }
  return spec;
}

std::vector<MetricSpec> SurfaceTable() {
  return {
      {"chimera_surface_tokens_total",
       "Tokens committed to clients' texts.",
       MetricType::kCounter,
       "mode",
       {"fast", "balanced", "reasoning"},
       {}},
      {"chimera_prompt_tokens_total", "Prompt tokens run.", MetricType::kCounter, "", {}, {}},
      {"chimera_grammar_texts_total",
       "Completions under a grammar: whole texts of the language, and those cut short.",
       MetricType::kCounter,
       "state",
       {"complete", "open"},
       {}},
      {"chimera_memory_reads_total",
       "Reads of users' memories by completions: used, or missed because no answer came in time.",
       MetricType::kCounter,
       "state",
       {"used", "missed"},
       {}},
      {"chimera_sessions_learned_total",
       "Completions a user's memory was told of, failed at, or let go as too many waited.",
       MetricType::kCounter,
       "outcome",
       {"learned", "failed", "let_go"},
       {}},
      {"chimera_grammar_steps_total",
       "Draws from less than all tokens, draws at which the text could not end yet, draws that the "
       "tokens left narrowed down to closing it, and tokens that nothing else could replace.",
       MetricType::kCounter,
       "kind",
       {"masked", "end_withheld", "closing", "forced"},
       {}},
      Debts("chimera_debts_opened_total", "Debts that texts under a mode opened."),
      Debts("chimera_debts_discharged_total", "Debts that texts under a mode settled."),
      Debts("chimera_debts_outstanding_total", "Debts that were open where a text ended."),
      {"chimera_requests_waiting",
       "Completions waiting for a worker.",
       MetricType::kGauge,
       "",
       {},
       {}},
      {"chimera_requests_running", "Completions being worked on.", MetricType::kGauge, "", {}, {}},
      {"chimera_request_duration_seconds",
       "From a completion's arrival to its end.",
       MetricType::kHistogram,
       "",
       {},
       Doubling(0.01, 17)},
      {"chimera_request_queue_seconds",
       "From a completion's arrival to its first work.",
       MetricType::kHistogram,
       "",
       {},
       Doubling(0.001, 18)},
      {"chimera_time_to_first_token_seconds",
       "From a completion's arrival to its first token.",
       MetricType::kHistogram,
       "",
       {},
       Doubling(0.001, 18)},
      {"chimera_inter_token_seconds",
       "Between two tokens of a completion.",
       MetricType::kHistogram,
       "",
       {},
       Doubling(0.0001, 17)},
  };
}

std::vector<MetricSpec> KnotTable() {
  return {
      {"chimera_knots_total",
       "Positions the network ran.",
       MetricType::kCounter,
       "mode",
       {"plain"},
       {}},
      {"chimera_watchdog_overruns_total",
       "Passes of steps that took longer than a tick and 1.5 times what the cost curve says.",
       MetricType::kCounter,
       "",
       {},
       {}},
      {"chimera_loop_depth",
       "Loops run in a pass.",
       MetricType::kHistogram,
       "",
       {},
       {1, 2, 3, 4, 5, 6}},
      {"chimera_memory_bytes",
       "Memory held, by component.",
       MetricType::kGauge,
       "component",
       {"weights", "braid_state", "snapshots", "scratch", "memory_cache", "other"},
       {}},
      {"chimera_memory_limit_bytes",
       "The most that models, states, snapshots and buffers of the knot may take; 0 without a "
       "limit.",
       MetricType::kGauge,
       "",
       {},
       {}},
      {"chimera_streams_running", "Stream slots in use.", MetricType::kGauge, "", {}, {}},
      {"chimera_streams_limit", "Stream slots there are.", MetricType::kGauge, "", {}, {}},
      {"chimera_weights_check",
       "1 for how the current model's weights stand to their digests.",
       MetricType::kGauge,
       "state",
       {"running", "good", "damaged"},
       {}},
      {"chimera_knot_pass_seconds",
       "A verify window of so many positions without the head, measured at start; 0 until then.",
       MetricType::kGauge,
       "positions",
       {"1", "2", "4", "8", "16", "32"},
       {}},
      {"chimera_knot_head_seconds",
       "The distribution of one position, measured at start; 0 until then.",
       MetricType::kGauge,
       "",
       {},
       {}},
      {"chimera_gate_value_ratio",
       "Mean gate values of gated delta layers.",
       MetricType::kHistogram,
       "gate",
       {"alpha", "beta"},
       {0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0}},
  };
}

std::vector<MetricSpec> ProcessTable() {
  return {
      {"process_cpu_seconds_total", "User and system time used.", MetricType::kCounter, "", {}, {}},
      {"process_resident_memory_bytes", "Resident memory.", MetricType::kGauge, "", {}, {}},
      {"process_virtual_memory_bytes", "Virtual memory.", MetricType::kGauge, "", {}, {}},
      {"process_start_time_seconds",
       "Start of the process since 1970.",
       MetricType::kGauge,
       "",
       {},
       {}},
      {"process_open_fds", "Open file descriptors.", MetricType::kGauge, "", {}, {}},
      {"process_max_fds", "Limit of open file descriptors.", MetricType::kGauge, "", {}, {}},
  };
}

}  // namespace

std::vector<MetricSpec> MetricTable() {
  std::vector<MetricSpec> table;
  for (std::vector<MetricSpec> part : {SurfaceTable(), KnotTable(), ProcessTable()}) {
    table.insert(table.end(), part.begin(), part.end());
  }
  return table;
}

}  // namespace chimera
