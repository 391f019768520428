#include "cluster/memory_reader.h"

#include <chrono>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "text/utf8.h"

namespace chimera {
namespace {

using Recalled = absl::StatusOr<std::vector<RecalledText>>;

Recalled RecallTexts(Memory* memory, const std::string& user, const std::string& query, int k) {
  const RecallOptions options = {
      .k = k, .similarity_min = kCertainSimilarityMin, .with_sketches = true};
  CHIMERA_ASSIGN_OR_RETURN(std::vector<std::vector<RecalledFact>> answers,
                           memory->Recall(user, std::span(&query, 1), options));
  std::vector<RecalledText> texts;
  for (RecalledFact& fact : answers.front()) {
    RecalledText& out = texts.emplace_back();
    out.fact_id = std::move(fact.fact_id);
    out.text = std::move(fact.text);
    out.similarity = fact.similarity;
    out.uncertain = fact.uncertain;
    out.evaluate = fact.evaluate;
    if (fact.sketch.has_value()) out.sketch = std::make_shared<HyperVector>(*fact.sketch);
  }
  return texts;
}

// The answer to one read, shared by the task that makes it and the session that waits.
struct Answer {
  Mutex mutex;
  CondVar arrived;
  std::optional<Recalled> found ABSL_GUARDED_BY(mutex);

  void Set(Recalled value) {
    MutexLock lock(&mutex);
    found = std::move(value);
    arrived.NotifyAll();
  }
};

class MemoryReader final : public MemoryView {
 public:
  MemoryReader(Memory* memory, Executor* executor, std::string user)
      : memory_(memory), executor_(executor), user_(std::move(user)) {}

  void Issue(int64_t position, std::string text) override {
    auto answer = std::make_shared<Answer>();
    answers_[position] = answer;
    const auto posted =
        executor_->Post([memory = memory_, user = user_, text = std::move(text), answer] {
          answer->Set(RecallTexts(memory, user, text, 1));
        });
    if (!posted.ok()) answer->Set(posted.status());
  }

  Recalled Collect(int64_t position) override {
    using std::chrono::steady_clock;
    const auto at = answers_.find(position);
    if (at == answers_.end()) return absl::NotFoundError("nothing was asked");
    const std::shared_ptr<Answer> answer = std::move(at->second);
    answers_.erase(at);
    const auto until = steady_clock::now() + std::chrono::milliseconds(kMemoryReadWaitMs);
    MutexLock lock(&answer->mutex);
    while (!answer->found.has_value() && steady_clock::now() < until) {
      answer->arrived.WaitFor(&answer->mutex, until - steady_clock::now());
    }
    if (answer->found.has_value()) return *answer->found;
    return absl::DeadlineExceededError(
        absl::StrCat("the memory did not answer within ", kMemoryReadWaitMs, " ms"));
  }

 private:
  Memory* const memory_;
  Executor* const executor_;
  const std::string user_;
  std::map<int64_t, std::shared_ptr<Answer>> answers_;
};

}  // namespace

Recalled RecallForPrompt(Memory* memory, const std::string& user, std::string_view prompt) {
  const std::string query(Utf8Tail(prompt, kContextQueryBytes));
  if (query.empty()) return std::vector<RecalledText>();
  return RecallTexts(memory, user, query, kContextFacts);
}

std::string PromptWithFacts(const std::string& prompt, const std::vector<RecalledText>& facts) {
  std::string context;
  for (const RecalledText& fact : facts) {
    if (fact.uncertain || context.size() + fact.text.size() >= kContextBytesMax) continue;
    context.insert(0, fact.text + " ");
  }
  return context + prompt;
}

std::unique_ptr<MemoryView> MakeMemoryReader(Memory* memory, Executor* executor, std::string user) {
  return std::make_unique<MemoryReader>(memory, executor, std::move(user));
}

}  // namespace chimera
