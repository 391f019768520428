#include "cluster/completer.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "cluster/memory_reader.h"
#include "cluster/status_map.h"
#include "grammar/modes.h"
#include "memory/memory_arguments.h"

namespace chimera {
namespace {

// How a completion waits for a slot that another client of the knot holds.
constexpr int kSlotRetryMs = 20;
constexpr int kMemoryReadThreads = 2;
constexpr size_t kMemoryReadsWaiting = 64;

// Fits a JSON number exactly, so that whoever reads it back gets the same seed.
uint64_t FreshSeed() {
  std::random_device device;
  const uint64_t bits = (uint64_t{device()} << 32) | device();
  return bits & ((uint64_t{1} << 53) - 1);
}

SamplingParams Resolve(const CompletionRequest& request, const GenerationConfig& generation,
                       const ParamLimits& limits) {
  SamplingParams params = DefaultParams(generation, limits);
  params.temperature = request.temperature.value_or(params.temperature);
  params.top_p = request.top_p.value_or(params.top_p);
  params.repetition_penalty = request.repetition_penalty.value_or(params.repetition_penalty);
  params.max_tokens = request.max_tokens.value_or(params.max_tokens);
  params.seed = request.seed.has_value() ? *request.seed : FreshSeed();
  params.stop = request.stop;
  params.logprobs = request.logprobs;
  return params;
}

double Seconds(int64_t from_ns, int64_t to_ns) {
  return from_ns == 0 || to_ns == 0 ? 0.0 : static_cast<double>(to_ns - from_ns) * 1e-9;
}

// Null for a request without a mode, and where the configuration leaves nothing to weigh.
std::unique_ptr<TextGuide> GuideFor(const CompletionRequest& request, const ModelFrontend& frontend,
                                    const SamplingParams& params) {
  if (request.grammar.kind != GrammarSource::Kind::kMode) return nullptr;
  const std::optional<GrammarMode> mode = GrammarModeOf(request.grammar.text);
  if (!mode.has_value()) return nullptr;
  const GuidanceConfig& guidance = frontend.config.guidance;
  const auto soft = [&](const char* name) {
    return std::count(guidance.soft_constraints.begin(), guidance.soft_constraints.end(), name) > 0;
  };
  GuideSettings settings = {.mode = *mode,
                            .debts = frontend.config.switches.debt_ledger,
                            .sentence_rhythm = soft("sentence_rhythm"),
                            .paragraph_length = soft("paragraph_length"),
                            .repetition_avoidance = soft("repetition_avoidance")};
  settings.debt.obligations = {};
  for (const std::string& name : guidance.obligations) {
    if (const auto type = DebtOf(name)) {
      settings.debt.obligations[static_cast<size_t>(*type)] = true;
    }
  }
  settings.debt.max_outstanding = guidance.max_debts;
  settings.debt.pressure_weight = guidance.pressure_weight;
  settings.debt.max_tokens = params.max_tokens;
  const bool weighs = IsProse(*mode) && !guidance.soft_constraints.empty();
  if (!settings.debts && !weighs) return nullptr;
  return std::make_unique<TextGuide>(settings, frontend.tokenizer, frontend.classes);
}

}  // namespace

struct Completer::Timing {
  int64_t arrival_ns = 0;
  int64_t begin_ns = 0;
  int64_t first_token_ns = 0;
  int64_t last_token_ns = 0;
};

void CancelToken::Cancel() {
  MutexLock lock(&mutex_);
  if (cancelled_) return;
  cancelled_ = true;
  if (on_cancel_) on_cancel_();
  wake_.NotifyAll();
}

bool CancelToken::cancelled() const {
  MutexLock lock(&mutex_);
  return cancelled_;
}

bool CancelToken::Sleep(int ms) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
  MutexLock lock(&mutex_);
  while (!cancelled_) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= until) return true;
    wake_.WaitFor(&mutex_, until - now);
  }
  return false;
}

CancelScope::CancelScope(CancelToken* token, std::function<void()> on_cancel) : token_(token) {
  MutexLock lock(&token_->mutex_);
  token_->on_cancel_ = std::move(on_cancel);
  if (token_->cancelled_) token_->on_cancel_();
}

CancelScope::~CancelScope() {
  MutexLock lock(&token_->mutex_);
  token_->on_cancel_ = nullptr;
}

Completer::Completer(Knot* knot, const ParamLimits& limits, Metrics* metrics, Memory* memory,
                     bool learn)
    : knot_(knot), limits_(limits), metrics_(metrics), memory_(memory), frontends_(knot) {
  if (memory == nullptr) return;
  memory_reads_ =
      std::make_unique<Executor>("memory read", kMemoryReadThreads, kMemoryReadsWaiting);
  if (learn) learning_ = std::make_unique<SessionLearning>(knot, memory, metrics);
}

absl::StatusOr<CompletionEnd> Completer::Run(const CompletionRequest& request, CompletionSink* sink,
                                             CancelToken* cancel) {
  Timing timing;
  timing.begin_ns = Clock::Real().NowNs();
  timing.arrival_ns = request.arrival_ns != 0 ? request.arrival_ns : timing.begin_ns;
  absl::StatusOr<CompletionEnd> end = RunChecked(request, sink, cancel, &timing);
  if (end.ok()) {
    end->queue_seconds = Seconds(timing.arrival_ns, timing.begin_ns);
    end->first_token_seconds = Seconds(timing.arrival_ns, timing.first_token_ns);
    end->total_seconds = Seconds(timing.arrival_ns, Clock::Real().NowNs());
  }
  Record(end, timing);
  return end;
}

absl::StatusOr<CompletionEnd> Completer::RunChecked(const CompletionRequest& request,
                                                    CompletionSink* sink, CancelToken* cancel,
                                                    Timing* timing) {
  if (cancel->cancelled()) return absl::CancelledError("the request was cancelled");
  if (request.deadline_ns != 0 && timing->begin_ns >= request.deadline_ns) {
    return absl::DeadlineExceededError("the request's deadline passed while it waited");
  }
  CHIMERA_RETURN_IF_ERROR(ValidateRequestId(request.request_id));
  CHIMERA_RETURN_IF_ERROR(ValidatePrompt(request.prompt, limits_));
  CHIMERA_RETURN_IF_ERROR(CheckUser(request));
  // Checked once more with the model's defaults; here before a slot is asked for.
  CHIMERA_RETURN_IF_ERROR(ValidateParams(Resolve(request, GenerationConfig(), limits_), limits_));
  // So is the grammar, which may take a while.
  if (request.grammar.kind != GrammarSource::Kind::kNone) {
    CHIMERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ModelFrontend> current,
                             frontends_.Get(request.model_id));
    CHIMERA_RETURN_IF_ERROR(MatcherFor(request, *current).status());
  }

  std::unique_ptr<KnotStream> stream;
  CHIMERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ModelFrontend> frontend,
                           OpenStream(request, cancel, &stream));
  CompletionStart start;
  start.params = Resolve(request, frontend->config.generation, limits_);
  CHIMERA_RETURN_IF_ERROR(ValidateParams(start.params, limits_));
  start.memory = ContextFor(request);
  const std::string text =
      start.memory ? PromptWithFacts(request.prompt, start.memory->facts) : request.prompt;
  const std::vector<int32_t> prompt = frontend->tokenizer->Encode(text);
  start.model_id = frontend->model_id;
  start.prompt_tokens = static_cast<int>(prompt.size());
  start.tokenizer = frontend->tokenizer;
  CHIMERA_ASSIGN_OR_RETURN(std::optional<GrammarMatcher> matcher, MatcherFor(request, *frontend));
  CHIMERA_RETURN_IF_ERROR(sink->OnStart(start));

  std::unique_ptr<MemoryTrack> track;
  if (start.memory.has_value()) {
    track =
        std::make_unique<MemoryTrack>(MakeMemoryReader(memory_, memory_reads_.get(), request.user),
                                      frontend->tokenizer, start.memory->facts);
  }
  Session session(std::move(stream), frontend->tokenizer, start.params, std::move(matcher),
                  GuideFor(request, *frontend, start.params), std::move(track));
  const bool learn = learning_ != nullptr && request.learn && start.memory.has_value();
  if (learn) session.KeepRan();
  const CancelScope scope(cancel, [&session] { session.Cancel(); });
  CHIMERA_ASSIGN_OR_RETURN(CompletionEnd end, Generate(&session, prompt, sink, timing));
  if (learn) {
    learning_->Learn({.user = request.user,
                      .model_id = frontend->model_id,
                      .tokenizer = frontend->tokenizer,
                      .prompt = request.prompt,
                      .context_bytes = text.size() - request.prompt.size(),
                      .ran = {session.ran().begin(), session.ran().end()},
                      .facts = start.memory->facts});
  }
  if (start.memory.has_value()) {
    end.memory = session.memory_counts();
    if (metrics_ != nullptr) {
      metrics_->Count("chimera_memory_reads_total", "used", static_cast<double>(end.memory->used));
      metrics_->Count("chimera_memory_reads_total", "missed",
                      static_cast<double>(end.memory->missed));
    }
  }
  return end;
}

absl::Status Completer::CheckUser(const CompletionRequest& request) const {
  if (request.user.empty()) return absl::OkStatus();
  if (memory_ == nullptr) {
    return absl::FailedPreconditionError(
        "the request names a user, and there is no memory here to read");
  }
  return ValidateUserId(request.user);
}

std::optional<MemoryContext> Completer::ContextFor(const CompletionRequest& request) {
  if (request.user.empty()) return std::nullopt;
  MemoryContext context;
  auto facts = RecallForPrompt(memory_, request.user, request.prompt);
  if (facts.ok()) {
    context.facts = *std::move(facts);
  } else {
    context.fault = std::string(facts.status().message());
  }
  if (metrics_ != nullptr) {
    metrics_->Count("chimera_memory_reads_total", facts.ok() ? "used" : "missed", 1);
  }
  return context;
}

absl::StatusOr<std::shared_ptr<const ModelFrontend>> Completer::OpenStream(
    const CompletionRequest& request, CancelToken* cancel, std::unique_ptr<KnotStream>* stream) {
  while (true) {
    CHIMERA_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFrontend> frontend,
                             frontends_.Get(request.model_id));
    absl::StatusOr<std::unique_ptr<KnotStream>> opened =
        knot_->Open(frontend->model_id, request.deadline_ns, 0);
    if (opened.ok()) {
      *stream = *std::move(opened);
      return frontend;
    }
    // Another client of the knot holds the last slot, or a publish came between the two calls: both
    // pass. A model that the client named is an answer, not a race.
    const bool slots_taken = absl::IsResourceExhausted(opened.status());
    const bool published = absl::IsFailedPrecondition(opened.status()) && request.model_id.empty();
    if (!slots_taken && !published) return opened.status();
    const int64_t now_ns = Clock::Real().NowNs();
    if (request.deadline_ns != 0 && now_ns >= request.deadline_ns) return opened.status();
    if (!cancel->Sleep(kSlotRetryMs)) return absl::CancelledError("the request was cancelled");
  }
}

absl::StatusOr<std::optional<GrammarMatcher>> Completer::MatcherFor(
    const CompletionRequest& request, const ModelFrontend& frontend) {
  std::optional<GrammarMatcher> matcher;
  if (request.grammar.kind == GrammarSource::Kind::kNone) return matcher;
  const GrammarConfig& config = frontend.config.grammar;
  if (!config.enabled) {
    return absl::FailedPreconditionError("grammar.enabled is off in this model's configuration");
  }
  if (request.grammar.kind == GrammarSource::Kind::kMode &&
      GrammarModeOf(request.grammar.text).has_value() &&
      std::find(config.modes.begin(), config.modes.end(), request.grammar.text) ==
          config.modes.end()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "mode ", request.grammar.text, " is not in grammar.modes of this model's configuration"));
  }
  CHIMERA_ASSIGN_OR_RETURN(std::shared_ptr<TokenGrammar> grammar,
                           frontend.grammars->Get(request.grammar));
  matcher.emplace(std::move(grammar));
  return matcher;
}

absl::StatusOr<CompletionEnd> Completer::Generate(Session* session,
                                                  const std::vector<int32_t>& prompt,
                                                  CompletionSink* sink, Timing* timing) {
  CHIMERA_RETURN_IF_ERROR(session->Start(prompt));
  if (metrics_ != nullptr) {
    metrics_->Count("chimera_prompt_tokens_total", "", static_cast<double>(prompt.size()));
  }
  while (true) {
    CHIMERA_ASSIGN_OR_RETURN(const SessionEvent event, session->Step());
    const int64_t now_ns = Clock::Real().NowNs();
    if (timing->first_token_ns == 0) {
      timing->first_token_ns = now_ns;
    } else if (metrics_ != nullptr) {
      metrics_->Observe("chimera_inter_token_seconds", "", Seconds(timing->last_token_ns, now_ns));
    }
    timing->last_token_ns = now_ns;
    if (metrics_ != nullptr) {
      metrics_->Count("chimera_surface_tokens_total", "reasoning",
                      static_cast<double>(event.token_ids.size()));
    }
    CHIMERA_RETURN_IF_ERROR(sink->OnEvent(event));
    if (event.reason == FinishReason::kNone) continue;
    CompletionEnd end;
    end.reason = event.reason;
    end.stop_index = event.stop_index;
    end.prompt_tokens = session->prompt_tokens();
    end.completion_tokens = session->completion_tokens();
    if (session->has_grammar()) {
      end.grammar = session->grammar_outcome();
      RecordGrammar(*end.grammar);
    }
    end.debts = session->debt_outcomes();
    RecordDebts(end.debts);
    return end;
  }
}

void Completer::RecordGrammar(const GrammarOutcome& outcome) {
  if (metrics_ == nullptr) return;
  const auto count = [this](const char* name, const char* label, int by) {
    metrics_->Count(name, label, static_cast<double>(by));
  };
  count("chimera_grammar_texts_total", outcome.complete ? "complete" : "open", 1);
  count("chimera_grammar_steps_total", "masked", outcome.masked_steps);
  count("chimera_grammar_steps_total", "end_withheld", outcome.withheld_ends);
  count("chimera_grammar_steps_total", "closing", outcome.budget_steps);
  count("chimera_grammar_steps_total", "forced", outcome.forced_tokens);
}

void Completer::RecordDebts(const std::vector<DebtOutcome>& debts) {
  if (metrics_ == nullptr) return;
  for (const DebtOutcome& debt : debts) {
    const auto count = [&](const char* name, int64_t by) {
      metrics_->Count(name, DebtName(debt.type), static_cast<double>(by));
    };
    count("chimera_debts_opened_total", debt.counts.opened);
    count("chimera_debts_discharged_total", debt.counts.discharged);
    count("chimera_debts_outstanding_total", debt.counts.outstanding);
  }
}

void Completer::Record(const absl::StatusOr<CompletionEnd>& end, const Timing& timing) {
  if (metrics_ == nullptr) return;
  const int64_t now_ns = Clock::Real().NowNs();
  metrics_->CountRequest(StatusCodeLabel(end.status().code()),
                         end.ok() ? FinishReasonName(end->reason) : "none");
  metrics_->Observe("chimera_request_duration_seconds", "", Seconds(timing.arrival_ns, now_ns));
  metrics_->Observe("chimera_request_queue_seconds", "",
                    Seconds(timing.arrival_ns, timing.begin_ns));
  if (timing.first_token_ns != 0) {
    metrics_->Observe("chimera_time_to_first_token_seconds", "",
                      Seconds(timing.arrival_ns, timing.first_token_ns));
  }
}

absl::StatusOr<std::vector<int32_t>> Completer::Tokenize(const std::string& text) {
  if (text.size() > limits_.prompt_bytes_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("text has ", text.size(), " bytes, the limit is ", limits_.prompt_bytes_max));
  }
  CHIMERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ModelFrontend> frontend, frontends_.Get(""));
  return frontend->tokenizer->Encode(text);
}

}  // namespace chimera
