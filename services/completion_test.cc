// Whole completions over loopback sockets: results, determinism, refusals, figures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <set>
#include <thread>

#include "decode/debt_types.h"
#include "model/model_testing.h"
#include "services/serving_testing.h"

namespace chimera {
namespace {

using testing::HasSubstr;
namespace pb = surface::v1;

TEST(Completion, StartedDeltasFinished) {
  Serving serving(TestModelFolder("completion_basic", true), {});
  pb::CompleteRequest request = SeededRequest(7, 20);
  request.set_request_id("mine");
  request.set_logprobs(3);
  const Completion out = serving.Complete(request);
  ASSERT_TRUE(out.status.ok()) << out.status.error_message();
  EXPECT_EQ(out.started.request_id(), "mine");
  EXPECT_EQ(out.started.model_id(), serving.local->Info().model_id);
  EXPECT_EQ(out.started.seed(), 7u);
  EXPECT_FLOAT_EQ(out.started.temperature(), 0.7f);  // the model's default
  EXPECT_EQ(out.started.prompt_tokens(),
            static_cast<int>(TestTokenizer()->Encode("the quiet house").size()));
  EXPECT_EQ(out.finished.reason(), pb::FINISH_REASON_MAX_TOKENS);
  EXPECT_EQ(out.finished.usage().completion_tokens(), 20);
  EXPECT_EQ(out.token_ids.size(), 20u);
  EXPECT_EQ(out.deltas, 20);  // one a token: streamed, not sent at the end
  ASSERT_EQ(out.logprobs.size(), 20u);
  for (const pb::TokenLogprob& logprob : out.logprobs) {
    EXPECT_LE(logprob.logprob(), logprob.top(0).logprob());
    EXPECT_EQ(logprob.top_size(), 3);
  }
  EXPECT_GT(out.finished.usage().total_seconds(), 0);
  EXPECT_TRUE(serving.SlotsFreeWithin(0));  // free before the client hears the end
}

TEST(Completion, SeedsDecideTheText) {
  Serving serving(TestModelFolder("completion_seeds", true), {});
  const Completion first = serving.Complete(SeededRequest(1, 30));
  EXPECT_EQ(serving.Complete(SeededRequest(1, 30)).token_ids, first.token_ids);
  EXPECT_NE(serving.Complete(SeededRequest(2, 30)).token_ids, first.token_ids);
  pb::CompleteRequest unseeded = SeededRequest(0, 30);
  unseeded.clear_seed();
  const Completion drawn = serving.Complete(unseeded);
  unseeded.set_seed(drawn.started.seed());
  EXPECT_EQ(serving.Complete(unseeded).token_ids, drawn.token_ids);
  EXPECT_NE(serving.Complete(SeededRequest(99, 30)).started.seed(), drawn.started.seed());
}

// Local or remote knot, alone or among others, one thread or three: one seed, one text.
TEST(Completion, SameTextWhateverRunsBesideIt) {
  const std::string folder = TestModelFolder("completion_many", true);
  constexpr size_t kClients = 12;
  std::vector<std::vector<int32_t>> alone(kClients);
  {
    ServingOptions options;
    options.remote_knot = false;
    options.threads = 1;
    Serving serving(folder, options);
    for (size_t i = 0; i < kClients; ++i) {
      alone[i] = serving.Complete(SeededRequest(i, 60)).token_ids;
      ASSERT_FALSE(alone[i].empty());
    }
  }
  ServingOptions options;
  options.threads = 3;
  Serving serving(folder, options);
  std::vector<std::vector<int32_t>> together(kClients);
  std::vector<std::thread> clients;
  for (size_t i = 0; i < kClients; ++i) {
    clients.emplace_back(
        [&, i] { together[i] = serving.Complete(SeededRequest(i, 60)).token_ids; });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(together, alone);
  EXPECT_EQ(std::set(alone.begin(), alone.end()).size(), kClients);
}

TEST(Completion, StopStringsAndTokenLimit) {
  Serving serving(TestModelFolder("completion_stop", true), {});
  const Completion whole = serving.Complete(SeededRequest(5, 40));
  ASSERT_GT(whole.text.size(), 20u);
  // A stop string from the middle of the text itself, at a character boundary.
  size_t at = whole.text.size() / 2;
  while ((static_cast<unsigned char>(whole.text[at]) & 0xC0) == 0x80) ++at;
  size_t end = at + 1;
  while ((static_cast<unsigned char>(whole.text[end]) & 0xC0) == 0x80) ++end;
  const std::string stop = whole.text.substr(at, end - at);
  pb::CompleteRequest request = SeededRequest(5, 40);
  request.add_stop("no such thing");
  request.add_stop(stop);
  const Completion cut = serving.Complete(request);
  EXPECT_EQ(cut.finished.reason(), pb::FINISH_REASON_STOP);
  EXPECT_EQ(cut.finished.stop_index(), 1);
  EXPECT_EQ(cut.text, whole.text.substr(0, whole.text.find(stop)));
}

struct BadRequest {
  const char* what;
  void (*change)(pb::CompleteRequest*);
  const char* message;
};

TEST(Completion, RefusalsNameFieldValueAndLimit) {
  Serving serving(TestModelFolder("completion_bad", true), {});
  const std::vector<BadRequest> bad = {
      {"empty", [](auto* r) { r->clear_prompt(); }, "prompt is empty"},
      {"long", [](auto* r) { r->set_prompt(std::string(100001, 'a')); }, "limit is 100000"},
      {"utf8", [](auto* r) { r->set_prompt("\xFF\xFE"); }, "prompt is not valid UTF-8"},
      {"hot", [](auto* r) { r->set_temperature(101); }, "temperature 101 is outside 0..100"},
      {"top_p", [](auto* r) { r->set_top_p(0); }, "top_p 0 is outside (0, 1]"},
      {"penalty", [](auto* r) { r->set_repetition_penalty(11); }, "0.1..10"},
      {"tokens", [](auto* r) { r->set_max_tokens(0); }, "max_tokens 0 is outside 1.."},
      {"logprobs", [](auto* r) { r->set_logprobs(21); }, "logprobs 21 is outside 0..20"},
      {"stop", [](auto* r) { r->add_stop(""); }, "stop[0] has 0 bytes"},
      {"id", [](auto* r) { r->set_request_id(std::string(129, 'x')); }, "limit is 128"},
  };
  for (const BadRequest& row : bad) {
    pb::CompleteRequest request = SeededRequest(1, 5);
    row.change(&request);
    const Completion out = serving.Complete(request);
    EXPECT_EQ(out.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << row.what;
    EXPECT_THAT(out.status.error_message(), HasSubstr(row.message)) << row.what;
  }
  pb::CompleteRequest unknown = SeededRequest(1, 5);
  unknown.set_model_id(std::string(64, 'a'));
  const Completion out = serving.Complete(unknown);
  EXPECT_EQ(out.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(out.status.error_message(), HasSubstr(std::string(64, 'a')));
  EXPECT_THAT(out.status.error_message(), HasSubstr(serving.local->Info().model_id));
  EXPECT_TRUE(serving.Complete(SeededRequest(1, 5)).status.ok());
}

TEST(Completion, TokenizeAndServerInfo) {
  Serving serving(TestModelFolder("completion_info", true), {});
  grpc::ClientContext tokenize_context;
  SetTimeout(&tokenize_context, 5000);
  pb::TokenizeRequest request;
  request.set_text("<|endoftext|> is text here");
  pb::TokenizeResponse ids;
  ASSERT_TRUE(serving.stub->Tokenize(&tokenize_context, request, &ids).ok());
  EXPECT_EQ(std::vector<int32_t>(ids.token_ids().begin(), ids.token_ids().end()),
            TestTokenizer()->Encode(request.text()));
  grpc::ClientContext info_context;
  SetTimeout(&info_context, 5000);
  pb::GetServerInfoResponse info;
  ASSERT_TRUE(serving.stub->GetServerInfo(&info_context, {}, &info).ok());
  EXPECT_EQ(info.vocab_size(), 1080);
  EXPECT_EQ(info.model_name(), "test");
  EXPECT_EQ(info.streams_max(), 4);
}

// The text of a scrape after real requests, through the standard linter: no findings.
TEST(Completion, MetricsPassTheLinter) {
  Serving serving(TestModelFolder("completion_metrics", true), {});
  serving.Complete(SeededRequest(1, 10));
  pb::CompleteRequest bad = SeededRequest(1, 10);
  bad.clear_prompt();
  serving.Complete(bad);
  const std::string text = serving.metrics.Text();
  EXPECT_THAT(text, HasSubstr("chimera_surface_tokens_total{mode=\"reasoning\"} 10\n"));
  EXPECT_THAT(text,
              HasSubstr("chimera_requests_total{code=\"OK\",finish_reason=\"max_tokens\"} 1\n"));
  EXPECT_THAT(
      text,
      HasSubstr("chimera_requests_total{code=\"INVALID_ARGUMENT\",finish_reason=\"none\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("chimera_inter_token_seconds_count 9\n"));
  EXPECT_THAT(text, HasSubstr("chimera_build_info{"));
  EXPECT_THAT(text, HasSubstr("process_resident_memory_bytes "));

  const std::string path = TestFolder("metrics") + "/scrape.txt";
  std::FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  std::fwrite(text.data(), 1, text.size(), file);
  std::fclose(file);
  if (std::system("command -v promtool > /dev/null") != 0) {
    GTEST_SKIP() << "promtool is not installed";
  }
  std::FILE* lint = popen(("promtool check metrics < " + path + " 2>&1").c_str(), "r");
  ASSERT_NE(lint, nullptr);
  std::string findings;
  std::array<char, 4096> buffer;
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), lint)) {
    findings.append(buffer.data(), n);
  }
  EXPECT_EQ(pclose(lint), 0);
  EXPECT_EQ(findings, "");
}

// The debts of a text under a mode are in its trailer and in the figures; without one there are
// none, whatever the configuration says.
TEST(Completion, DebtsOfAModeAreReported) {
  Serving serving(TestModelFolder("completion_debts", true), {});
  pb::CompleteRequest request = SeededRequest(3, 60);
  EXPECT_EQ(serving.Complete(request).finished.debts_size(), 0);
  request.set_mode("plain_text");
  const Completion out = serving.Complete(request);
  ASSERT_TRUE(out.status.ok()) << out.status.error_message();
  ASSERT_GT(out.finished.debts_size(), 0);
  for (const pb::Debt& debt : out.finished.debts()) {
    EXPECT_TRUE(DebtOf(debt.type()).has_value()) << debt.type();
    EXPECT_GT(debt.opened(), 0);
    EXPECT_EQ(debt.opened() - debt.discharged(), debt.outstanding());
    EXPECT_LE(debt.overdue(), debt.outstanding());
  }
  EXPECT_EQ(serving.Complete(request).token_ids, out.token_ids);
}

// With ledger and soft constraints off a mode's text is another; local or remote makes none.
TEST(Completion, GuidanceChangesTheTextAndTheWireDoesNot) {
  const auto text = [](const char* name, const char* overlay, bool remote_knot) {
    const auto config = ParseConfig(ConfigJson(TestConfigWith("")), {overlay});
    EXPECT_TRUE(config.ok()) << config.status();
    ServingOptions options;
    options.remote_knot = remote_knot;
    Serving serving(TestModelFolder(name, *config), options);
    pb::CompleteRequest request = SeededRequest(11, 120);
    request.set_mode("plain_text");
    const Completion out = serving.Complete(request);
    EXPECT_TRUE(out.status.ok()) << out.status.error_message();
    return out.token_ids;
  };
  const auto on = text("completion_guided", "{}", true);
  EXPECT_EQ(text("completion_guided", "{}", false), on);
  EXPECT_NE(
      text("completion_unguided",
           R"({"debt_ledger": {"enabled": false}, "grammar": {"soft_constraints": []}})", true),
      on);
}

}  // namespace
}  // namespace chimera
