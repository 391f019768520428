// chimera grammar mask-bench: how long schemas take to compile and masks to come about, and whether
// the compiled schemas judge their instances rightly.
//
// The file has one JSON object a line: {"schema": ..., "tests": [{"valid": true, "data": ...}]},
// the form of JSONSchemaBench. Masks are measured as in MaskBench: along the tokens of the valid
// instances, written with their properties in the schema's order, each schema from a cold start; a
// second walk measures masks that are kept.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "grammar/grammar_cache.h"
#include "grammar/grammar_vocabulary.h"
#include "grammar/state_table.h"
#include "grammar/token_grammar.h"
#include "services/cli/bench.h"
#include "services/cli/grammar_commands.h"
#include "services/cli/print_json.h"
#include "services/cli/progress_line.h"
#include "services/cli/tokenizer_choice.h"

namespace chimera {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kTokensLeft = 1 << 20;  // no budget

struct MaskBenchFlags {
  TokenizerFlags tokenizer;
  std::string schemas;
  int limit = 0;
  bool json = false;
};

struct Figures {
  std::vector<double> compile_us, mask_us, kept_us;
  int schemas = 0, fully_right = 0, refused = 0, wrong_accepts = 0, wrong_rejects = 0;
  int64_t walked = 0, tokens = 0;  // of the valid instances
  int64_t density_percent[101] = {};
};

double Percentile(std::vector<double>* values, double p) {
  if (values->empty()) return 0;
  const auto at = static_cast<ptrdiff_t>(p * static_cast<double>(values->size() - 1));
  std::nth_element(values->begin(), values->begin() + at, values->end());
  return (*values)[static_cast<size_t>(at)];
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double MicrosSince(int64_t begin_ns) {
  return static_cast<double>(Clock::Real().NowNs() - begin_ns) * 1e-3;
}

// What a $ref within the document names, or null.
const Json* Resolve(const Json& root, const Json& schema) {
  const auto ref = schema.find("$ref");
  if (ref == schema.end() || !ref->is_string()) return nullptr;
  const std::string& name = ref->get_ref<const std::string&>();
  if (!name.starts_with("#")) return nullptr;
  try {
    const nlohmann::json_pointer<std::string> pointer(name.substr(1));
    return root.contains(pointer) ? &root.at(pointer) : nullptr;
  } catch (const nlohmann::json::exception&) {
    return nullptr;
  }
}

// The instance with its properties in the order the schema names them, as far as that is plain.
Json InOrder(const Json& root, const Json& schema, const Json& value, int depth = 0) {
  if (depth > 64 || !schema.is_object()) return value;
  if (const Json* target = Resolve(root, schema)) return InOrder(root, *target, value, depth + 1);
  if (value.is_array()) {
    Json out = Json::array();
    const auto items = schema.find("items");
    for (const Json& item : value) {
      out.push_back(items == schema.end() ? item : InOrder(root, *items, item, depth + 1));
    }
    return out;
  }
  const auto properties = schema.find("properties");
  if (!value.is_object() || properties == schema.end() || !properties->is_object()) return value;
  Json out = Json::object();
  for (const auto& [name, child] : properties->items()) {
    const auto at = value.find(name);
    if (at != value.end()) out[name] = InOrder(root, child, *at, depth + 1);
  }
  for (const auto& [name, child] : value.items()) {
    if (!out.contains(name)) out[name] = child;
  }
  return out;
}

bool Accepts(const std::shared_ptr<const Machine>& machine, const std::string& text) {
  StateTable table(machine);
  const GrammarState end = table.Run(table.start(), text);
  return end != kDeadState && table.CanEnd(end);
}

// Walks the tokens as far as the grammar lets them go.
void WalkMasks(const std::shared_ptr<TokenGrammar>& grammar, const std::vector<int32_t>& ids,
               bool kept, Figures* figures) {
  GrammarMatcher matcher(grammar);
  std::vector<uint64_t> bits(grammar->vocabulary().mask_words());
  if (!kept) figures->tokens += static_cast<int64_t>(ids.size());
  for (const int32_t id : ids) {
    const int64_t begin_ns = Clock::Real().NowNs();
    const auto mask = matcher.Mask(kTokensLeft, bits);
    (kept ? figures->kept_us : figures->mask_us).push_back(MicrosSince(begin_ns));
    if (!mask.ok() || !matcher.Advance(id).ok()) return;
    if (kept) continue;
    ++figures->walked;
    ++figures->density_percent[mask->allowed * int64_t{100} / grammar->vocabulary().vocab_size()];
  }
}

void RunSchema(const Json& line, const std::shared_ptr<const GrammarVocabulary>& vocabulary,
               Figures* figures) {
  ++figures->schemas;
  const GrammarSource source = {GrammarSource::Kind::kJsonSchema, line.at("schema").dump()};
  const int64_t begin_ns = Clock::Real().NowNs();
  const auto generate = CompileGrammar(source, GrammarUse::kGenerate);
  figures->compile_us.push_back(MicrosSince(begin_ns));
  const auto check = CompileGrammar(source, GrammarUse::kCheck);
  if (!generate.ok() || !check.ok()) {
    ++figures->refused;
    return;
  }
  bool right = true;
  std::vector<std::vector<int32_t>> valid;
  for (const Json& test : line.at("tests")) {
    const bool accepted = Accepts(*check, test.at("data").dump());
    figures->wrong_accepts += accepted && !test.at("valid").get<bool>();
    figures->wrong_rejects += !accepted && test.at("valid").get<bool>();
    right = right && accepted == test.at("valid").get<bool>();
    if (!test.at("valid").get<bool>()) continue;
    const Json& schema = line.at("schema");
    valid.push_back(
        vocabulary->tokenizer().Encode(InOrder(schema, schema, test.at("data")).dump()));
  }
  figures->fully_right += right;
  const auto grammar = std::make_shared<TokenGrammar>(vocabulary, *generate);
  for (const bool kept : {false, true}) {
    for (const auto& ids : valid) WalkMasks(grammar, ids, kept, figures);
  }
}

Json Report(Figures* f) {
  Json out = {{"benchmark", "grammar masks"},
              {"mean_us", Mean(f->mask_us)},
              {"p50_us", Percentile(&f->mask_us, 0.5)},
              {"p90_us", Percentile(&f->mask_us, 0.9)},
              {"p99_us", Percentile(&f->mask_us, 0.99)},
              {"p999_us", Percentile(&f->mask_us, 0.999)},
              {"cached_us", Percentile(&f->kept_us, 0.5)},
              {"compile_p50_us", Percentile(&f->compile_us, 0.5)},
              {"compile_p99_us", Percentile(&f->compile_us, 0.99)},
              {"schemas", f->schemas},
              {"fully_right", f->fully_right},
              {"wrong_accepts", f->wrong_accepts},
              {"wrong_rejects", f->wrong_rejects},
              {"refused", f->refused},
              {"masks", f->mask_us.size()},
              {"tokens_walked", f->walked},
              {"tokens", f->tokens}};
  const int64_t few = f->density_percent[0] + f->density_percent[1];
  out["masks_under_2_percent"] =
      f->walked == 0 ? 0.0 : static_cast<double>(few) / static_cast<double>(f->walked);
  return out;
}

void PrintTable(const Json& out, int vocab_size) {
  const auto us = [&](const char* key) { return out.at(key).get<double>(); };
  std::printf("masks over %d tokens, microseconds: mean %.1f, median %.1f, p99 %.1f, kept %.2f\n",
              vocab_size, us("mean_us"), us("p50_us"), us("p99_us"), us("cached_us"));
  std::printf("compiling, microseconds: median %.0f, p99 %.0f\n", us("compile_p50_us"),
              us("compile_p99_us"));
  std::printf("schemas %d: %d fully right, %d refused; wrong accepts %d, wrong rejects %d\n",
              out.at("schemas").get<int>(), out.at("fully_right").get<int>(),
              out.at("refused").get<int>(), out.at("wrong_accepts").get<int>(),
              out.at("wrong_rejects").get<int>());
  std::printf(
      "published for others (MaskBench, 128k tokens, one thread): llguidance 0.7.10 mean 64, p99 "
      "533, compile 1,037 and 17,988; XGrammar 0.1.17 mean 728, p99 5,687\n%s\n",
      MachineLine().c_str());
}

absl::Status RunMaskBench(const MaskBenchFlags& flags) {
  TokenizerFlags choice = flags.tokenizer;
  if (choice.tokenizer.empty() && choice.model.empty()) choice.tokenizer = "o200k_base";
  CHIMERA_ASSIGN_OR_RETURN(const auto tokenizer, ChooseTokenizer(choice));
  const auto vocabulary = GrammarVocabulary::Create(tokenizer);
  std::ifstream in(flags.schemas);
  if (!in) return absl::NotFoundError(absl::StrCat(flags.schemas, " cannot be read"));
  Figures figures;
  ProgressLine progress(flags.json);
  std::string text;
  for (int n = 1; std::getline(in, text) && (flags.limit == 0 || n <= flags.limit); ++n) {
    const Json line = Json::parse(text, nullptr, false);
    if (!line.is_object() || !line.contains("schema") || !line.contains("tests")) {
      return absl::InvalidArgumentError(
          absl::StrCat(flags.schemas, ", line ", n, ": no object with schema and tests"));
    }
    RunSchema(line, vocabulary, &figures);
    progress.Show(absl::StrCat(n, " schemas, ", figures.mask_us.size(), " masks"));
  }
  Json out = Report(&figures);
  if (flags.json) {
    out.update(MachineJson());
    PrintJson(out);
  } else {
    PrintTable(out, vocabulary->vocab_size());
  }
  return absl::OkStatus();
}

}  // namespace

void AddGrammarMaskBench(CLI::App* grammar, Command* run) {
  auto flags = std::make_shared<MaskBenchFlags>();
  CLI::App* sub = grammar->add_subcommand("mask-bench", "Time of masks and schemas");
  sub->add_option("--schemas", flags->schemas, "JSON lines with schema and tests (JSONSchemaBench)")
      ->required();
  AddTokenizerOptions(sub, &flags->tokenizer, false);
  sub->add_option("--limit", flags->limit, "Schemas at most (all)");
  sub->add_flag("--json", flags->json, "One JSON object");
  sub->footer("Example:\n  chimera grammar mask-bench --schemas json_schemas.jsonl --json");
  sub->callback([flags, run] { *run = [flags] { return RunMaskBench(*flags); }; });
}

}  // namespace chimera
