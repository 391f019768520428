#include "config/config_fields.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "config/evolution_fields.h"
#include "config/model_fields.h"

namespace chimera {
namespace {

// The full vocabulary has 199,998 merges and leaves one id unused before its specials.
constexpr int kFullVocab = 200073;
constexpr int kFullRanks = 199998;
constexpr int kFullEot = 199999;
constexpr int kFullEop = 200018;
constexpr int kSpecials = 56;  // end of text, end of prompt, 54 agent specials
constexpr int kBytes = 256;    // a byte-level vocabulary holds every byte
constexpr int kPadAgent = 39;  // place of the padding id among the agent specials

TokenIds TokensOf(int vocab_size) {
  TokenIds tokens;
  if (vocab_size == kFullVocab) {
    tokens = {.n_ranks = kFullRanks, .eot = kFullEot, .eop = kFullEop, .first_agent = kFullEop + 1};
  } else {
    const int n = vocab_size - kSpecials;
    tokens = {.n_ranks = n, .eot = n, .eop = n + 1, .first_agent = n + 2};
  }
  tokens.pad = tokens.first_agent + kPadAgent;
  return tokens;
}

void ReadIdentity(Reader& r, Config* c) {
  r.ActsIn("config: name in reports");
  r.String("_name_or_path", &c->model.name);
  r.ActsIn("config: versions 5.1 and 5.3 load");
  r.String("_v", &c->version);
  if (r.status().ok() && c->version.rfind("5.1.", 0) != 0 && c->version.rfind("5.3.", 0) != 0) {
    r.Fail("_v", "is not supported, versions 5.1.x and 5.3.x are");
  }
}

void ReadTokens(Reader& r, Config* c) {
  r.ActsIn("text: size of the vocabulary; model: rows of the embedding");
  r.Int("vocab_size", kBytes + kSpecials, kFullVocab, &c->model.vocab_size);
  const int n_ranks = c->model.vocab_size - kSpecials;
  if (r.status().ok() && c->model.vocab_size != kFullVocab && n_ranks >= kFullRanks) {
    r.Fail("vocab_size",
           absl::StrCat("must be ", kFullVocab, ", or N + 56 with N below ", kFullRanks));
  }
  r.ActsIn("text: end of text and padding");
  std::vector<int> ids;
  r.Ints("token_ids", 0, kFullVocab - 1, 2, &ids);
  if (!r.status().ok()) return;
  c->tokens = TokensOf(c->model.vocab_size);
  if (ids != std::vector<int>{c->tokens.eot, c->tokens.pad}) {
    r.Fail("token_ids", absl::StrCat("must be [", c->tokens.eot, ", ", c->tokens.pad,
                                     "] for vocab_size ", c->model.vocab_size));
  }
}

void ReadMemory(Reader& root, Config* c) {
  Reader r = root.At("semantic_memory");
  MemoryConfig& m = c->memory;
  r.ActsIn("hdc: width of a hypervector");
  // The words of a vector, their storage label and the braid's sketch all follow this number.
  r.FixedInt("vector_bits", 8192);
  m.vector_bits = 8192;
  r.FixedString("vector_storage", "uint64_x128");
  r.ActsIn("memory: most facts of all users");
  r.Int("capacity", 1, 1'000'000'000, &m.capacity);
  Reader later = r.Unclaimed();
  later.Int("relations", 0, 1'000'000'000, &m.relations);
  later.Int("lsh_tables", 1, 1024, &m.lsh_tables);
  later.Int("lsh_bits_per_table", 1, 30, &m.lsh_bits_per_table);
  later.Int("hot_cache_entries", 0, 1 << 30, &m.hot_cache_entries);
}

void ReadGeneration(Reader& root, Config* c) {
  Reader r = root.At("generation");
  GenerationConfig& g = c->generation;
  r.ActsIn("decode: default of a request");
  r.Float("temperature", 0, 100, &g.temperature);
  r.Float("top_p", 0, 1, &g.top_p);
  r.Float("repetition_penalty", 0.01, 100, &g.repetition_penalty);
  r.Int("max_new_tokens", 1, 1 << 22, &g.max_new_tokens);
  r.Bool("do_sample", &g.do_sample);
  r.Bool("stream", &g.stream);
  if (r.status().ok() && g.top_p == 0) r.Fail("top_p", "must be above 0");
}

void ReadPretrain(Reader& root, Config* c) {
  Reader r = root.At("training").At("phases", "pretrain");
  PretrainConfig& p = c->pretrain;
  r.ActsIn("config: finds the phase");
  r.FixedString("name", "pretrain");
  r.ActsIn("train: default of a recipe");
  r.Count("tokens", &p.tokens_budget);
  r.Int("seq_len", 1, 1 << 22, &p.seq_len);
  r.Count("batch_tokens", &p.batch_tokens);
  r.FixedString("optimizer", "AdamW");
  r.Float("lr", 0, 10, &p.lr);
  r.FixedString("schedule", "cosine_warmup");
  r.Int("warmup_steps", 0, 1 << 30, &p.warmup_steps);
  r.Float("weight_decay", 0, 10, &p.weight_decay);
  r.Float("grad_clip", 0, 1e6, &p.grad_clip);
  r.ActsIn("train: fake quantization in the forward pass");
  r.FixedString("ternary", "native_qat_ste");
  if (r.status().ok() && p.batch_tokens < p.seq_len) {
    r.Fail("batch_tokens", absl::StrCat("is less than one sequence of seq_len ", p.seq_len));
  }
}

void ReadDeployment(Reader& root, Config* c) {
  Reader r = root.At("deployment");
  DeploymentConfig& d = c->deployment;
  r.ActsIn("knot, surface: streams open at once");
  r.Int("max_streams", 1, 65536, &d.max_streams);
  r.ActsIn("config: printed beside the recomputed state of a stream");
  r.Int("per_stream_mb", 1, 1 << 20, &d.per_stream_mb);
  r.ActsIn("model: weights are mapped, not read");
  std::vector<std::string> mapped;
  r.Strings("mmap", 16, &mapped);
  d.mmap_weights = std::find(mapped.begin(), mapped.end(), "weights") != mapped.end();
  for (const std::string& what : mapped) {
    if (what != "weights" && what != "span_bank") {
      r.Fail("mmap",
             absl::StrCat("names \"", what, "\", which is neither \"weights\" nor \"span_bank\""));
    }
  }
  r.ActsIn("decode: one seed, one output; there is no other mode");
  r.FixedBool("deterministic", true);
  r.FixedBool("seed_controls_all", true);
  r.ActsIn("cluster: a pass that takes longer, and 1.5 times its cost, counts as overrun");
  r.Int("watchdog_tick_ms", 1, 60000, &d.watchdog_tick_ms);
  Reader safety = root.At("safety");
  safety.ActsIn("cluster: what goes beyond the recomputed budget is refused");
  safety.Bool("memory_limit_enforced", &d.memory_limit_enforced);
  Reader later = r.Unclaimed();
  later.Int("watchdog_max_overruns", 0, 1 << 20, &d.watchdog_max_overruns);
}

void ReadDiagnostics(Reader& root, Config* c) {
  Reader r = root.At("diagnostics");
  DiagnosticsConfig& d = c->diagnostics;
  r.ActsIn("decode: tokens between two reports of a stream");
  r.Int("report_interval_tokens", 1, 1 << 30, &d.report_interval_tokens);
  Reader later = r.Unclaimed();
  later.Bool("telemetry", &d.telemetry);
  later.Strings("metrics", 256, &d.metrics);
  later.At("thresholds").FloatMap(&d.thresholds);
}

void ReadGrammar(Reader& root, Config* c) {
  Reader r = root.At("grammar");
  GrammarConfig& g = c->grammar;
  r.ActsIn("cluster: whether requests may have a grammar");
  r.Bool("enabled", &g.enabled);
  r.ActsIn("cluster: modes that requests may name");
  r.Strings("modes", 64, &g.modes);
  r.ActsIn("grammar: what is kept of grammars and masks");
  r.FixedString("representation", "deterministic_fst_plus_weighted");
  r.Int("storage_mb", 1, 1 << 20, &g.storage_mb);
  r.Bool("adaptive_mask_cache", &g.mask_cache);
  r.Bool("jit_compilation", &g.jit);
  // The same switch stands in two places: both have to be on.
  bool spans_agree = true;
  Reader spans = root.At("span_inference");
  spans.ActsIn("grammar: what is kept of grammars and masks");
  spans.Bool("adaptive_mask_cache", &spans_agree);
  g.mask_cache = g.mask_cache && spans_agree;
}

void ReadBudget(Reader& root, Config* c) {
  Reader r = root.At("memory_budget_mb");
  r.ActsIn("config, cluster: printed beside the recomputed bytes; the knot's memory limit");
  std::vector<std::string> names;
  std::vector<int> mbs;
  BudgetLabels& b = c->budget;
  r.Strings("_keys", 64, &names);
  r.Ints("_vals", 0, 1 << 30, 64, &mbs);
  r.Int("total", 0, int64_t{1} << 40, &b.total_mb);
  r.Int("growth_ceiling", 0, int64_t{1} << 40, &b.growth_ceiling_mb);
  r.Int("max_with_growth", 0, int64_t{1} << 40, &b.max_with_growth_mb);
  if (!r.status().ok()) return;
  if (names.size() != mbs.size()) {
    return r.Fail("_vals",
                  absl::StrCat("holds ", mbs.size(), " entries, _keys holds ", names.size()));
  }
  int64_t sum = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    b.parts.push_back({names[i], mbs[i]});
    sum += mbs[i];
  }
  if (sum != b.total_mb)
    r.Fail("total", absl::StrCat("is wrong: the entries of _vals add up to ", sum));
  if (b.max_with_growth_mb != b.total_mb + b.growth_ceiling_mb) {
    r.Fail("max_with_growth",
           absl::StrCat("is wrong: total + growth_ceiling is ", b.total_mb + b.growth_ceiling_mb));
  }
}

void ReadSizeLabels(Reader& root, Config* c) {
  auto read = [c](Reader& r, const std::string& key) {
    r.ActsIn("config: printed beside the counted parameters");
    std::string label;
    r.Label(key, &label);
    c->size_labels.emplace_back(r.PathOf(key), label);
  };
  Reader params = root.At("params");
  for (const char* key : {"base", "moe_total", "physical", "effective_2loops", "effective_6loops",
                          "active_per_token", "weight_mb", "total_mb"}) {
    read(params, key);
  }
  Reader braid = root.At("braid_state");
  read(braid, "per_stream_mb");
  Reader moe = root.At("backbone").At("moe");
  for (const char* key : {"total_params", "active_params_per_tok"}) read(moe, key);
}

// Their features are pending: the value is handed over, and the registry says what it waits for.
void ReadSwitches(Reader& root, Config* c) {
  Reader r = root.Unclaimed();
  Switches& s = c->switches;
  r.At("byte_level").Bool("enabled", &s.byte_level);
  r.At("multimodal").Bool("enabled", &s.multimodal);
  r.At("training").At("distillation_init").Bool("enabled", &s.distillation);
  r.At("span_inference").Bool("enabled", &s.span_inference);
  r.At("entropy_valve").Bool("enabled", &s.entropy_valve);
}

// A list of names, each known and there once.
void ReadNames(Reader& r, const std::string& key, const std::vector<std::string>& known,
               std::vector<std::string>* out) {
  r.Strings(key, known.size(), out);
  if (!r.status().ok()) return;
  for (size_t i = 0; i < out->size(); ++i) {
    const std::string& name = (*out)[i];
    const std::string entry = absl::StrCat(key, "[", i, "] = \"", name, "\"");
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return r.FailAt(entry, "is not known");
    }
    if (std::find(out->begin(), out->begin() + static_cast<std::ptrdiff_t>(i), name) !=
        out->begin() + static_cast<std::ptrdiff_t>(i)) {
      return r.FailAt(entry, "stands there twice");
    }
  }
}

void ReadGuidance(Reader& root, Config* c) {
  GuidanceConfig& g = c->guidance;
  Reader grammar = root.At("grammar");
  grammar.ActsIn("grammar: what a mode's mask holds to");
  ReadNames(
      grammar, "hard_constraints",
      {"balanced_brackets", "valid_json_in_json_mode", "fence_closure", "string_literal_closure"},
      &g.hard_constraints);
  grammar.ActsIn("decode: weights for texts of prose modes");
  ReadNames(grammar, "soft_constraints",
            {"sentence_rhythm", "repetition_avoidance", "paragraph_length"}, &g.soft_constraints);
  Reader debts = root.At("debt_ledger");
  debts.ActsIn("decode: debts of a text under a mode, their pull on its words, the report");
  debts.Bool("enabled", &c->switches.debt_ledger);
  ReadNames(debts, "obligations",
            {"close_bracket", "close_string", "close_fence", "resolve_pronoun", "finish_list",
             "maintain_tense", "complete_sentence", "end_json_object"},
            &g.obligations);
  debts.Int("max_outstanding", 8, 64, &g.max_debts);
  debts.Float("pressure_weight", 0, 8, &g.pressure_weight);
}

}  // namespace

absl::StatusOr<ConfigRead> ReadConfigFields(const JsonDocument& document) {
  Reader root(document);
  ConfigRead read;
  Config* c = &read.config;
  ReadIdentity(root, c);
  ReadModelFields(root, &c->model);
  ReadTokens(root, c);
  ReadMemory(root, c);
  ReadEvolutionFields(root, &c->evolution);
  ReadGeneration(root, c);
  ReadPretrain(root, c);
  ReadDeployment(root, c);
  ReadDiagnostics(root, c);
  ReadGrammar(root, c);
  ReadGuidance(root, c);
  ReadBudget(root, c);
  ReadSizeLabels(root, c);
  ReadSwitches(root, c);
  if (!root.status().ok()) return root.status();
  read.claims = root.claims();
  return read;
}

}  // namespace chimera
