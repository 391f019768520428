// chimera grammar head-bench: what mask-first is worth (math-inference-training B.7). Steps along
// the tokens of JSON documents, once as free text and once under the json mode, by turns; the head
// evaluates only the rows that the mask allows.
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
#include "cluster/local_knot.h"
#include "cluster/model_frontend.h"
#include "grammar/grammar_cache.h"
#include "services/cli/bench.h"
#include "services/cli/grammar_commands.h"
#include "services/cli/print_json.h"
#include "services/cli/progress_line.h"

namespace chimera {
namespace {

struct HeadBenchFlags {
  std::string model;
  std::string documents;
  int count = 100;
  int tokens = 24;
  int threads = 0;
  bool json = false;
};

// Parts of the vocabulary that masks allow, and how many do.
constexpr double kDensities[] = {0.001, 0.02, 0.25, 0.5, 0.9, 1.0};

struct Figures {
  double free_ns = 0, masked_ns = 0;
  int64_t steps = 0;
  int64_t by_density[std::size(kDensities)] = {};
  std::vector<double> ratios;  // by document: time free over time masked
};

// Runs the tokens as one stream; the grammar, when there is one, masks what follows each of them.
absl::StatusOr<double> Walk(LocalKnot* knot, const std::vector<int32_t>& ids, int eot,
                            const std::shared_ptr<TokenGrammar>& grammar, Figures* figures) {
  CHIMERA_ASSIGN_OR_RETURN(const std::unique_ptr<KnotStream> stream, knot->Open("", 0, 0));
  std::optional<GrammarMatcher> matcher;
  if (grammar != nullptr) matcher.emplace(grammar);
  VerifyRequest request;
  request.transform.omit_raw_mass = true;
  request.transform.top_p = 0.92f;
  request.transform.rows_max = 64;
  request.nodes = {{.parent = -1, .token_id = eot, .want_distribution = true}};
  CHIMERA_RETURN_IF_ERROR(stream->Verify(request).status());  // pages and scratch
  int64_t took_ns = 0;
  for (const int32_t id : ids) {
    const int64_t begin_ns = Clock::Real().NowNs();
    if (matcher.has_value()) {
      CHIMERA_RETURN_IF_ERROR(matcher->Advance(id));
      auto mask = std::make_shared<NodeMask>(grammar->vocabulary().mask_words());
      CHIMERA_ASSIGN_OR_RETURN(const MaskResult result, matcher->Mask(1 << 20, *mask));
      if (result.allowed == 0) break;
      request.nodes[0].mask = std::move(mask);
      const double density = double(result.allowed) / grammar->vocabulary().vocab_size();
      const auto at = std::lower_bound(std::begin(kDensities), std::end(kDensities), density);
      ++figures->by_density[std::min<size_t>(size_t(at - std::begin(kDensities)),
                                             std::size(kDensities) - 1)];
    }
    request.nodes[0].token_id = id;
    CHIMERA_RETURN_IF_ERROR(stream->Verify(request).status());
    took_ns += Clock::Real().NowNs() - begin_ns;
  }
  return double(took_ns);
}

absl::StatusOr<std::vector<std::string>> ReadDocuments(const HeadBenchFlags& flags) {
  std::ifstream in(flags.documents);
  if (!in) return absl::NotFoundError(absl::StrCat(flags.documents, " cannot be read"));
  std::vector<std::string> documents;
  std::string text;
  while (std::getline(in, text) && documents.size() < size_t(flags.count)) {
    const auto line = nlohmann::ordered_json::parse(text, nullptr, false);
    if (line.is_discarded()) continue;
    const auto tests = line.is_object() ? line.find("tests") : line.end();
    if (!line.is_object() || tests == line.end()) {
      documents.push_back(line.dump());
      continue;
    }
    for (const auto& test : *tests) {
      if (!test.value("valid", false)) continue;
      documents.push_back(test.at("data").dump());
      break;
    }
  }
  if (documents.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(flags.documents, " has no JSON documents"));
  }
  return documents;
}

absl::Status RunHeadBench(const HeadBenchFlags& flags) {
  LocalKnotOptions options;
  options.max_streams = 1;
  if (flags.threads > 0) options.threads = flags.threads;
  CHIMERA_ASSIGN_OR_RETURN(const std::unique_ptr<LocalKnot> knot,
                           LocalKnot::Create(options, flags.model, nullptr));
  FrontendCache frontends(knot.get());
  CHIMERA_ASSIGN_OR_RETURN(const auto frontend, frontends.Get(""));
  CHIMERA_ASSIGN_OR_RETURN(const auto grammar,
                           frontend->grammars->Get({GrammarSource::Kind::kMode, "json"}));
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<std::string> documents, ReadDocuments(flags));
  const int eot = frontend->tokenizer->eot();
  Figures figures;
  ProgressLine progress(flags.json);
  for (size_t i = 0; i < documents.size(); ++i) {
    std::vector<int32_t> ids = frontend->tokenizer->Encode(documents[i]);
    ids.resize(std::min(ids.size(), size_t(flags.tokens)));
    double free_ns = 0, masked_ns = 0;
    for (const bool masked : {i % 2 == 0, i % 2 != 0}) {
      CHIMERA_ASSIGN_OR_RETURN((masked ? masked_ns : free_ns),
                               Walk(knot.get(), ids, eot, masked ? grammar : nullptr, &figures));
    }
    figures.free_ns += free_ns;
    figures.masked_ns += masked_ns;
    figures.steps += int64_t(ids.size());
    figures.ratios.push_back(free_ns / masked_ns);
    progress.ShowBar(double(i + 1) / double(documents.size()), absl::StrCat(i + 1, " documents"));
  }
  std::sort(figures.ratios.begin(), figures.ratios.end());
  nlohmann::ordered_json out = {
      {"benchmark", "mask-first head"},
      {"documents", documents.size()},
      {"steps", figures.steps},
      {"free_tokens_per_s", double(figures.steps) * 1e9 / figures.free_ns},
      {"json_tokens_per_s", double(figures.steps) * 1e9 / figures.masked_ns},
      {"ratio", figures.free_ns / figures.masked_ns},
      {"ratio_median", figures.ratios[figures.ratios.size() / 2]}};
  for (size_t d = 0; d < std::size(kDensities); ++d) {
    out["masks_by_density"][absl::StrCat("<=", kDensities[d])] = figures.by_density[d];
  }
  if (flags.json) {
    out.update(MachineJson());
    PrintJson(out);
  } else {
    std::printf("%s\n%s\n", out.dump(2).c_str(), MachineLine().c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddGrammarHeadBench(CLI::App* grammar, Command* run) {
  auto flags = std::make_shared<HeadBenchFlags>();
  CLI::App* sub = grammar->add_subcommand("head-bench", "Steps under the json mode against free");
  sub->add_option("--model", flags->model, "Model folder")->required();
  sub->add_option("--documents", flags->documents,
                  "JSON lines: documents, or objects with tests as of mask-bench")
      ->required();
  sub->add_option("--count", flags->count, "Documents at most (100)")->check(CLI::PositiveNumber);
  sub->add_option("--tokens", flags->tokens, "Tokens of each at most (24)")
      ->check(CLI::PositiveNumber);
  sub->add_option("--threads", flags->threads, "Threads (all)");
  sub->add_flag("--json", flags->json, "One JSON object");
  sub->footer(
      "Example:\n  chimera grammar head-bench --model models/nano --documents schemas.jsonl");
  sub->callback([flags, run] { *run = [flags] { return RunHeadBench(*flags); }; });
}

}  // namespace chimera
