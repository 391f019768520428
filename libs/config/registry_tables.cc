// Keys that no reader claims. A row names a prefix and its keys; "key:t" gives the type of a value
// that is no string (registry.h). When a feature starts to read a key, its row loses that key: the
// coverage test fails while both are there.
#include <algorithm>

#include "config/registry.h"

namespace chimera {
namespace {

struct Row {
  KeyRole role;
  const char* feature;  // "" for notes
  const char* prefix;
  const char* keys;
  const char* why;
};

constexpr KeyRole kNote = KeyRole::kNote;
constexpr KeyRole kPending = KeyRole::kPending;

constexpr Row kRows[] = {
    // Metadata of other loaders and references.
    {kNote, "", "", "architectures:a model_type torch_dtype use_cache:b transformers_version",
     "metadata for the loaders of other frameworks"},
    {kNote, "", "auto_map", "AutoConfig AutoModelForCausalLM",
     "metadata for the loaders of other frameworks"},
    {kNote, "", "§",
     "r0 r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12 r13 r14 r15 r16 r17 r18 r19 r20 r21 r22 r23 r24 "
     "r25 "
     "r26 r27 r28 r29 r30 r31 r32 r33 r34 r35 r36 r37 r38 r39 r40 r41 r42",
     "number of a paper"},
    {kNote, "", "",
     "quantization.§:x quantization.sherry_mode.§:x quantization.hgf_correction.§:x backbone.§:x "
     "backbone.moe.§:x gated_deltanet.§:x efla.§:x xlstm.§:x titans.§:x looping.§:x "
     "span_inference.§:x span_inference.tree_verify.§:x grammar.§:x semantic_memory.§:x "
     "entropy_valve.§:x entropy_valve.loop_depth_router.§:x self_evolution.tier1.ttt.§:x "
     "self_evolution.tier1.memory_growth.§:x self_evolution.tier2.meta_guidelines.§:x "
     "self_evolution.tier2.episodic_cases.§:x self_evolution.tier2.self_feedback.§:x "
     "training.phases[pretrain].§:x training.distillation_init.§:x byte_level.§:x "
     "hyper_training.§_hyper:x P3_ternary_compute.§_paradigm:x",
     "papers behind this section"},

    // Model.
    {kNote, "", "", "max_position_embeddings:i",
     "rotary angles are reduced in double: any position will do"},
    {kNote, "", "quantization", "linear_class weight_values:a",
     "what ternary means; method switches it"},
    {kNote, "", "quantization", "weight_bits:n",
     "label: log2 of three values; files take 2.125, 1.725 or 1.375 (quantization.packing)"},
    {kNote, "", "quantization", "runtime_kernel",
     "the kernel is chosen for the CPU at run time; TL2 does not fit scales per group"},
    {kNote, "", "backbone", "kv_cache",
     "no cache grows with the text; TM layers keep a window of fixed size"},
    {kNote, "", "gated_deltanet", "formulation", "the formula the layer implements"},
    {kNote, "", "titans", "surprise_formula forgetting_formula",
     "the formulas the layer implements"},
    {kNote, "", "braid_state", "continuous_hidden:a fast_hidden:a",
     "labels: hidden_size is the size of both"},
    {kPending, "H7", "braid_state.entity_table", "slots:i slot_bits:i binding", "entity table"},
    {kPending, "O5", "braid_state.grammar_stack", "slots:i width_bits:i",
     "grammar stack in the surface's half of a snapshot"},
    {kPending, "S9", "braid_state", "debt_ledger_slots:i", "ledger inside the state"},
    {kNote, "", "context_tiers[recent_ring]", "mb:i",
     "label: token ids take 4 bytes each; the window of TM layers counts as state"},
    {kNote, "", "context_tiers[braid_state]", "name mb:i",
     "label: the state is counted from the dimensions"},
    {kPending, "H1", "context_tiers[semantic_memory]", "name mb:i", "tier of the context"},
    {kPending, "E1", "context_tiers[ttt_compressed]", "name mb:i", "tier of the context"},
    {kPending, "S3", "context_tiers[span_trace]", "name entries:i mb:i",
     "tier of the context: spans a stream committed"},
    {kPending, "H5", "context_tiers[episodic_cases]", "name entries:i mb:i", "tier of the context"},
    {kPending, "M11", "byte_level",
     "enabled:b encoder_params encoder_depth:i patching decoder_params", "byte-level mode"},
    {kPending, "M12", "multimodal", "enabled:b modalities:a", "image and sound encoders"},
    {kPending, "M12", "multimodal.vision", "type depth:i hidden:i patch:i out:i quant",
     "image encoder"},
    {kPending, "M12", "multimodal.audio", "type depth:i hidden:i out:i quant", "sound encoder"},
    {kPending, "M14", "files", "weights moe spans grammar memory_seed tokenizer evolution",
     "names inside a model folder"},
    {kPending, "M14", "deployment", "cold_start_s:n", "time from start to ready"},
    {kPending, "M16", "deployment", "platforms:a", "instruction sets"},

    // Surface.
    {kPending, "S1", "span_inference",
     "enabled:b bank_entries:i bank_avg_tokens:i bank_max_tokens:i bank_memory_mb:i", "span bank"},
    {kPending, "S2", "span_inference",
     "candidate_sources:a candidate_source_keys:a candidates_fast:i candidates_reason:i "
     "scoring_keys:a scoring_weights_fast:a",
     "candidates and their score"},
    {kPending, "S3", "span_inference.tree_verify",
     "enabled:b method tree_width:i tree_depth:i hardware_aware:b", "token trees"},
    {kPending, "S4", "span_inference", "certificate_fields:a certificate_verify_max_us:i",
     "certificates"},
    {kPending, "S5", "span_inference",
     "render_queue_target:i render_queue_max:i fallback_below_acceptance:n", "render queue"},
    {kPending, "S5", "deployment", "watchdog_max_overruns:i", "watchdog"},
    {kPending, "S8", "safety", "format_guards:a", "constraints that are always on"},
    {kPending, "S10", "entropy_valve", "enabled:b metrics:a threshold_bits:n type",
     "entropy valve"},
    {kPending, "S10", "entropy_valve.loop_depth_router", "method accuracy_target:n",
     "router of loop depth"},
    {kPending, "S10", "entropy_valve.levels.low", "loops:i min_span:i audit:n", "valve level"},
    {kPending, "S10", "entropy_valve.levels.medium", "loops:i min_span:i audit:n", "valve level"},
    {kPending, "S10", "entropy_valve.levels.high", "loops:i min_span:i audit:n", "valve level"},
    {kPending, "S11", "modes.fast", "tps:i neural_hz:i span_avg:i loops:i audit:n", "mode"},
    {kPending, "S11", "modes.balanced", "tps:i neural_hz:i span_avg:i loops:i audit:n", "mode"},
    {kPending, "S11", "modes.reasoning", "tps:i neural_hz:i span_avg:i loops:i audit:n", "mode"},
    {kPending, "S12", "self_evolution.tier2.self_feedback",
     "enabled:b confidence_threshold:n max_refinement_rounds:i", "refinement round"},

    // Memory and evolution.
    {kPending, "H1", "semantic_memory", "relations:i memory_mb:i ops:a", "relations and budget"},
    {kPending, "H2", "semantic_memory", "lsh_tables:i lsh_bits_per_table:i hot_cache_entries:i",
     "approximate search"},
    {kPending, "H2", "semantic_memory", "read_at_every_knot:b", "memory reads while decoding"},
    {kPending, "H8", "safety", "user_facts_override_weak_memory:b state_uncertainty_when_unsure:b",
     "promises to the user"},
    {kPending, "E1", "self_evolution.tier1.ttt",
     "enabled:b target_layers:a target_param inner_lr:n inner_optimizer momentum:n objective "
     "chunk_size:i update_scope reset_decay:n persistence",
     "training at test time"},
    {kPending, "E2", "self_evolution.tier3.span_bank_expansion",
     "enabled:b min_span_len:i max_new_per_session:i acceptance persistent:b compression",
     "growth of the span bank"},
    {kPending, "E2", "self_evolution.tier3.loop_depth_learning",
     "enabled:b classifier classifier_params:i signal persistent:b", "learned loop depth"},
    {kPending, "E2", "self_evolution", "num_mechanisms:i", "count of the mechanisms above"},

    // Operations.
    {kNote, "", "deployment", "batch_size:i",
     "one request is one stream; streams are batched by what arrives"},
    {kNote, "", "deployment", "shared:a", "read-only parts are shared by construction"},
    {kPending, "O2", "diagnostics", "telemetry:b metrics:a", "exported metrics"},
    {kPending, "O2", "diagnostics.thresholds",
     "min_span_accept:n max_cert_fail:n max_rollback:n "
     "max_moe_imbalance:n",
     "alerts"},
    {kPending, "O7", "safety", "crash_only_allocator:b", "a clean restart when memory runs out"},
    {kNote, "", "memory_budget_mb", "headroom_8gb:i", "label: what is left of an 8 GB machine"},

    // Training.
    {kPending, "T5", "training.phases[pretrain]", "data:a", "names of corpora"},
    {kPending, "T1", "training.phases[ctx_extend]", "name stages:a", "context extension"},
    {kPending, "T1", "training.phases[sft]", "name data:a epochs:i lr:n", "supervised tuning"},
    {kPending, "T1", "training.phases[dpo]", "name data epochs:i lr:n beta:n", "preference tuning"},
    {kPending, "T1", "training.distillation_init", "enabled:b method teacher tokens",
     "start from a teacher"},
    {kNote, "", "hyper_training", "_note", "prose"},
    {kNote, "", "hyper_training.paradigms.P1_growlength", "status description §:x", "prose"},
    {kNote, "", "hyper_training.paradigms.P2_reservoir_freezing", "status description §:x",
     "prose"},
    {kNote, "", "hyper_training.paradigms.P3_sparse_mezo", "status description §:x", "prose"},
    {kNote, "", "hyper_training.paradigms.P4_blockwise_pipeline", "status description requires",
     "prose"},
    {kNote, "", "hyper_training.paradigms.P5_fused_ternary_cache", "status description", "prose"},
    {kNote, "", "hyper_training.paradigms.P6_aggressive_token_packing", "status description",
     "prose"},
    {kNote, "", "hyper_training.paradigms.P7_progressive_layer_unfreeze", "status description",
     "prose"},
    {kPending, "T2", "hyper_training.paradigms.P1_growlength", "default_stages:a",
     "lengths over the run"},
    {kPending, "T2", "hyper_training.paradigms.P2_reservoir_freezing", "targets:a", "frozen gates"},
    {kPending, "T2", "hyper_training.paradigms.P3_sparse_mezo",
     "default_sparsity:n mask_refresh_interval", "perturbed share"},
    {kPending, "T2", "hyper_training.paradigms",
     "P1_growlength.speedup P2_reservoir_freezing.speedup P3_sparse_mezo.speedup "
     "P4_blockwise_pipeline.speedup P5_fused_ternary_cache.speedup "
     "P6_aggressive_token_packing.speedup P7_progressive_layer_unfreeze.speedup",
     "claim the report prints beside the measured factor"},
    {kPending, "T2", "hyper_training.combined_estimate",
     "theoretical_multiplier baseline_tiny_35M target_tiny_35M",
     "claim the report prints beside the measured factor"},
    {kNote, "", "hyper_training.combined_estimate", "formula note", "prose"},

    // Prose of the file about itself. What it describes and we have is listed under its own keys.
    {kNote, "", "P3_ternary_compute", "_note thesis", "prose"},
    {kNote, "", "P3_ternary_compute.not_implemented",
     "elut_training mixture_of_depths sparse_backprop", "prose"},
    {kNote, "", "P3_ternary_compute.implemented_optimizations",
     "mezo_optimizer.status mezo_optimizer.description mezo_optimizer.benefit "
     "mezo_optimizer.limitation mezo_optimizer.§:x "
     "sparse_mezo_v53.status sparse_mezo_v53.description sparse_mezo_v53.benefit "
     "sparse_mezo_v53.§:x "
     "growlength_v53.status growlength_v53.description growlength_v53.benefit growlength_v53.§:x "
     "reservoir_freezing_v53.status reservoir_freezing_v53.description "
     "reservoir_freezing_v53.benefit reservoir_freezing_v53.§:x "
     "bf16_autocast.status bf16_autocast.description bf16_autocast.benefit "
     "bf16_autocast.limitation "
     "torch_compile.status torch_compile.description torch_compile.benefit "
     "torch_compile.limitation "
     "parallel_mlstm.status parallel_mlstm.description parallel_mlstm.benefit parallel_mlstm.§:x "
     "parallel_titans_mac.status parallel_titans_mac.description parallel_titans_mac.benefit "
     "parallel_titans_mac.§:x "
     "sort_based_moe.status sort_based_moe.description sort_based_moe.benefit sort_based_moe.§:x "
     "gradient_checkpointing.status gradient_checkpointing.description "
     "gradient_checkpointing.benefit "
     "cpu_thread_tuning.status cpu_thread_tuning.description cpu_thread_tuning.benefit "
     "ipex_integration.status ipex_integration.description ipex_integration.benefit "
     "ternary_qat_ste.status ternary_qat_ste.description ternary_qat_ste.benefit "
     "ternary_qat_ste.limitation ternary_qat_ste.§:x "
     "two_bit_packed_weights.status two_bit_packed_weights.description "
     "two_bit_packed_weights.benefit two_bit_packed_weights.limitation "
     "two_bit_packed_weights.implementation "
     "fused_ternary_cache_v53.status fused_ternary_cache_v53.description "
     "fused_ternary_cache_v53.benefit "
     "progressive_unfreeze_v53.status progressive_unfreeze_v53.description "
     "progressive_unfreeze_v53.benefit "
     "token_packing_v53.status token_packing_v53.description token_packing_v53.benefit "
     "zero_multiply_forward.status zero_multiply_forward.description "
     "zero_multiply_forward.benefit zero_multiply_forward.limitation zero_multiply_forward.note",
     "prose about another implementation"},
    {kPending, "T3", "P3_ternary_compute.implemented_optimizations",
     "ternary_mezo_sparse.status ternary_mezo_sparse.description ternary_mezo_sparse.benefit "
     "ternary_mezo_sparse.limitation",
     "zero-skipping perturbation, a switch of the trainer; its claim is printed beside the figure"},
    {kPending, "T3", "P3_ternary_compute.implemented_optimizations",
     "sparse_grad_w_masking.status sparse_grad_w_masking.description "
     "sparse_grad_w_masking.benefit sparse_grad_w_masking.limitation",
     "deep-zero gradient mask, a switch of the trainer; its claim is printed beside the figure"},
    {kNote, "", "P3_ternary_compute.realistic_performance",
     "cpu_training_tiny_35M_baseline.hardware cpu_training_tiny_35M_baseline.throughput "
     "cpu_training_tiny_35M_baseline.note cpu_training_tiny_35M_hyper.hardware "
     "cpu_training_tiny_35M_hyper.throughput cpu_training_tiny_35M_hyper.note "
     "cpu_training_small_150M_baseline.hardware cpu_training_small_150M_baseline.throughput "
     "cpu_training_small_150M_baseline.note cpu_training_small_150M_hyper.hardware "
     "cpu_training_small_150M_hyper.throughput cpu_training_small_150M_hyper.note "
     "cpu_training_tiny_35M.hardware cpu_training_tiny_35M.throughput cpu_training_tiny_35M.note "
     "cpu_training_small_150M.hardware cpu_training_small_150M.throughput "
     "cpu_training_small_150M.note cpu_inference_ternary.note gpu_training_comparison",
     "figures of another implementation"},
};

// Splits "a b:i" at spaces and adds one key each.
void AddKeys(const Row& row, std::vector<ListedKey>* out) {
  const std::string keys = row.keys;
  size_t at = 0;
  while (at < keys.size()) {
    const size_t end = std::min(keys.find(' ', at), keys.size());
    std::string key = keys.substr(at, end - at);
    at = end + 1;
    char type = 's';
    if (key.size() > 2 && key[key.size() - 2] == ':') {
      type = key.back();
      key.resize(key.size() - 2);
    }
    const std::string prefix = row.prefix;
    out->push_back(
        {prefix.empty() ? key : prefix + "." + key, row.role, type, row.feature, row.why});
  }
}

}  // namespace

const std::vector<ListedKey>& ListedKeys() {
  static const auto* keys = [] {
    auto* all = new std::vector<ListedKey>;
    for (const Row& row : kRows) AddKeys(row, all);
    return all;
  }();
  return *keys;
}

}  // namespace chimera
