#include "model/step.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <tuple>

#include "base/philox.h"
#include "layers/titans.h"
#include "model/model_testing.h"
#include "model/planes_testing.h"

namespace chimera {
namespace {

// Depths that change along the text; all ones without a loop. Training runs a TM layer inside the
// loop with one depth a sequence.
std::vector<uint8_t> Depths(const ModelConfig& config, size_t n) {
  if (std::find(config.layers.begin(), config.layers.end(), LayerKind::kTitans) !=
      config.layers.end()) {
    return std::vector<uint8_t>(n, 3);
  }
  std::vector<uint8_t> loops;
  for (size_t t = 0; t < n; ++t) {
    loops.push_back(static_cast<uint8_t>(1 + (t / 13) % size_t(config.loop.loops_max)));
  }
  return loops;
}

std::vector<float> Serve(const Model& model, const std::vector<int32_t>& tokens, size_t block,
                         int threads) {
  const std::vector<uint8_t> loops = Depths(model.shape(), tokens.size());
  return ServeNll(model, tokens, block, {.threads = threads, .loops = loops});
}

class StepTest : public testing::TestWithParam<std::tuple<bool, TestShape>> {
 protected:
  bool quantized() const { return std::get<0>(GetParam()); }
  TestShape shape() const { return std::get<1>(GetParam()); }
  std::shared_ptr<const Model> Load() {
    auto model = Model::Load(TestModelFolder("step", quantized(), 1, shape()));
    EXPECT_TRUE(model.ok()) << model.status();
    return *model;
  }
};

TEST_P(StepTest, PrefillAndThreadsEqualPlainDecode) {
  const auto model = Load();
  const auto tokens = RandomTokens(200, 1024, 11);
  const auto plain = Serve(*model, tokens, 1, 1);
  for (const auto& other : {Serve(*model, tokens, 64, 1), Serve(*model, tokens, 7, 2),
                            Serve(*model, tokens, 33, 1), Serve(*model, tokens, 199, 2)}) {
    ASSERT_EQ(other.size(), plain.size());
    EXPECT_EQ(std::memcmp(other.data(), plain.data(), plain.size() * 4), 0);
  }
}

// DESIGN D1: what the trainer reports is what the server reproduces.
TEST_P(StepTest, ServingEqualsTraining) {
  const auto model = Load();
  const auto tokens = RandomTokens(300, 1024, 11);
  const auto serve = Serve(*model, tokens, 64, 1);
  const ModelConfig config = TestConfig(quantized(), shape()).model;
  Parameters parameters(config);
  parameters.Initialize(config, 1);
  const std::vector<uint8_t> loops = Depths(config, tokens.size());
  const auto train = TrainNll(config, &parameters, tokens, {.loops = loops}, false);
  ASSERT_EQ(serve.size(), train.size());
  double difference = 0.0, largest = 0.0, serve_sum = 0.0, train_sum = 0.0;
  for (size_t i = 0; i < serve.size(); ++i) {
    const double d = std::abs(double(serve[i]) - double(train[i]));
    difference += d;
    largest = std::max(largest, d);
    serve_sum += serve[i];
    train_sum += train[i];
  }
  // Sums rounded differently move an int8 activation now and then, in the full shape also a token
  // to another expert, and up to ten layers of random weights amplify that.
  EXPECT_LE(difference / double(serve.size()), shape() == TestShape::kPlain ? 5e-3 : 2e-2);
  EXPECT_NEAR(serve_sum / train_sum, 1.0, 1e-3);
  if (!quantized()) {
    // Rings and sketches are of integers and bits whatever the switch says.
    EXPECT_LE(largest, shape() == TestShape::kFull ? 3e-2 : 1e-3);
  }
}

// The surprise of a token is the norm over the memories of all TM layers, however passes are cut.
TEST_P(StepTest, SurprisesAreThoseOfTheMemories) {
  const auto model = Load();
  const ModelConfig& c = model->shape();
  const auto tokens = RandomTokens(100, 1024, 17);
  ExecContext exec(2);
  Stepper stepper(*model, &exec);
  BraidState state(c);
  std::vector<float> steps;
  for (const int32_t token : tokens) {
    stepper.Step(&state, token);
    float squares = 0;
    for (int i = 0; i < c.n_layers; ++i) {
      if (c.layers[size_t(i)] != LayerKind::kTitans) continue;
      const float last = TitansSurpriseOf(state.memory(i).data()).last;
      ASSERT_GT(last, 0.0f);
      squares += last * last;
    }
    steps.push_back(stepper.surprise(0));
    ASSERT_EQ(steps.back(), std::sqrt(squares)) << steps.size();
  }
  EXPECT_EQ(steps[0] > 0.0f, shape() == TestShape::kFull);
  for (const size_t block : {size_t{64}, size_t{7}}) {
    BraidState fresh(c);
    std::vector<float> prefilled;
    for (size_t at = 0; at < tokens.size(); at += block) {
      const size_t n = std::min(block, tokens.size() - at);
      stepper.Prefill(&fresh, std::span(tokens).subspan(at, n));
      for (size_t r = 0; r < n; ++r) prefilled.push_back(stepper.surprise(int(r)));
    }
    EXPECT_EQ(prefilled, steps) << block;
  }
}

TEST_P(StepTest, CopiedStateContinuesBitForBit) {
  const auto model = Load();
  const auto tokens = RandomTokens(60, 1024, 11);
  ExecContext exec(1);
  Stepper stepper(*model, &exec);
  BraidState state(model->shape());
  for (size_t i = 0; i < 30; ++i) stepper.Step(&state, tokens[i]);
  BraidState fork = state;
  std::vector<float> first;
  for (size_t i = 30; i < 60; ++i) {
    const auto hidden = stepper.Step(&state, tokens[i]);
    first.insert(first.end(), hidden.begin(), hidden.end());
  }
  std::vector<float> second;
  for (size_t i = 30; i < 60; ++i) {
    const auto hidden = stepper.Step(&fork, tokens[i]);
    second.insert(second.end(), hidden.begin(), hidden.end());
  }
  EXPECT_EQ(std::memcmp(first.data(), second.data(), first.size() * 4), 0);
  EXPECT_EQ(int64_t(state.floats().size_bytes()), BraidState::Bytes(model->shape()));
}

// Fields from outside: weight 0 is absent, each of the others changes the text, in any passes
// alike, and as they act on a text in training.
TEST(StepFields, ActAlikeInServingAndTraining) {
  const Config config = TestConfig(false, TestShape::kFull);  // the planes round least apart
  auto model = Model::Load(TestModelFolder("fields", config, 1));
  ASSERT_TRUE(model.ok()) << model.status();
  Parameters parameters(config.model);
  parameters.Initialize(config.model, 1);
  const auto tokens = RandomTokens(100, 1024, 13);
  const std::vector<uint8_t> loops = Depths(config.model, tokens.size());
  const auto serve = [&](const SpanFields& fields, size_t block) {
    return ServeNll(**model, tokens, block, {.loops = loops, .fields = fields});
  };
  const auto train = [&](const SpanFields& fields) {
    return TrainNll(config.model, &parameters, tokens, {.loops = loops, .fields = fields}, false);
  };
  std::vector<uint64_t> bits;
  for (uint64_t i = 0; i < uint64_t(config.model.sk.sketch_bits) / 64; ++i) {
    bits.push_back(0x9e3779b97f4a7c15 * (i + 1));
  }
  const auto plain = serve({}, 64), plain_train = train({});
  EXPECT_EQ(serve({.memory = {bits.data(), 0.0f}}, 64), plain);
  EXPECT_EQ(train({.memory = {bits.data(), 0.0f}}), plain_train);
  const SpanField field = {bits.data(), 1.0f};
  for (const SpanFields& fields :
       {SpanFields{.memory = field}, SpanFields{.grammar = field}, SpanFields{.debt = field}}) {
    const auto served = serve(fields, 64), trained = train(fields);
    EXPECT_NE(served, plain);
    EXPECT_EQ(serve(fields, 1), served);
    double moved = 0, apart = 0;
    for (size_t i = 0; i < served.size(); ++i) {
      moved += std::abs(double(trained[i]) - double(plain_train[i]));
      apart += std::abs(double(served[i]) - double(trained[i]));
    }
    EXPECT_LT(apart, moved / 2) << "serving follows training more than the field moves it";
  }
}

// Streams that share passes: prompts in pieces of any size beside decoding, with depths and exits
// of their own, have the bits of each alone.
TEST_P(StepTest, StreamsInOnePassEqualEachAlone) {
  const auto model = Load();
  const ModelConfig& c = model->shape();
  constexpr int kStreams = 5, kTokens = 70;
  ExecContext exec(2);
  Stepper together(*model, &exec), alone(*model, &exec);
  std::vector<BraidState> shared, own;
  std::vector<std::vector<int32_t>> texts;
  for (int s = 0; s < kStreams; ++s) {
    shared.emplace_back(c, c.loop.loops_max);
    own.emplace_back(c, c.loop.loops_max);
    texts.push_back(RandomTokens(kTokens, 1024, 20 + uint64_t(s)));
  }
  const auto loops_of = [&](size_t s) { return 1 + static_cast<int>(s) % c.loop.loops_max; };
  const PhiloxStream rng(32, RngPurpose::kDataShuffle, 0);
  uint64_t draw = 0;
  for (bool done = false; !done;) {
    std::vector<Stepper::Row> rows;
    std::vector<std::pair<size_t, int64_t>> who;
    for (size_t s = 0; s < kStreams; ++s) {
      const int64_t at = shared[s].position();
      const int64_t wanted = 1 + rng.Word(draw++) % (s < 2 ? 28 : 1);
      const int64_t n = std::min(wanted, kTokens - at);
      for (int64_t t = at; t < at + n; ++t) {
        rows.push_back({.state = &shared[s],
                        .token = texts[s][size_t(t)],
                        .loops = loops_of(s),
                        .exit_early = s == 3});
        who.emplace_back(s, t);
      }
    }
    done = rows.empty();
    if (done) break;
    const auto span = together.Batch(rows);
    const std::vector<float> hidden(span.begin(), span.end());
    const auto d = size_t(c.d_model);
    for (size_t r = 0; r < rows.size(); ++r) {
      const auto [s, t] = who[r];
      const auto want = alone.Step(&own[s], texts[s][size_t(t)], loops_of(s), s == 3);
      ASSERT_EQ(std::memcmp(hidden.data() + r * d, want.data(), d * 4), 0) << s << " at " << t;
      EXPECT_EQ(together.loops_run(int(r)), alone.loops_run());
      EXPECT_EQ(together.surprise(int(r)), alone.surprise(0));
      if (r + 1 == rows.size() || who[r + 1].first != s) {
        EXPECT_EQ(together.residual(int(r)), alone.residual());
      }
    }
  }
  for (size_t s = 0; s < kStreams; ++s) {
    EXPECT_EQ(shared[s].position(), kTokens);
    EXPECT_EQ(std::memcmp(shared[s].floats().data(), own[s].floats().data(),
                          own[s].floats().size_bytes()),
              0);
  }
}

// A pass in slices of any number of rows leaves the bits of plain decoding.
TEST_P(StepTest, SlicesOfAPassEqualPlainDecode) {
  const auto model = Load();
  const int depth = model->shape().loop.loops_max;
  const auto tokens = RandomTokens(Stepper::kPrefillMax, 1024, 19);
  ExecContext exec(2);
  Stepper plain(*model, &exec), slices(*model, &exec, Stepper::kPrefillMax);
  BraidState a(model->shape(), depth), b(model->shape(), depth);
  std::vector<float> want;
  std::vector<Stepper::Row> rows;
  for (const int32_t token : tokens) {
    const auto hidden = plain.Step(&a, token, depth);
    want.insert(want.end(), hidden.begin(), hidden.end());
    rows.push_back({.state = &b, .token = token, .loops = depth});
  }
  const auto d = size_t(model->shape().d_model);
  const PhiloxStream rng(33, RngPurpose::kDataShuffle, 0);
  uint64_t draw = 0;
  for (size_t begin = 0, taken = 0; begin < rows.size(); begin += taken) {
    taken = size_t(slices.Start(std::span(rows).subspan(begin)));
    ASSERT_GE(taken, std::min(rows.size() - begin, size_t{Stepper::kBatchMax}));
    for (bool done = false; !done;) {
      const int most = 1 + static_cast<int>(rng.Word(draw++) % 90);
      done = slices.Advance(most);
      ASSERT_LE(slices.slice_rows(), most);
    }
    ASSERT_EQ(std::memcmp(slices.Rows().data(), &want[begin * d], taken * d * 4), 0) << begin;
    EXPECT_EQ(b.position(), int64_t(begin + taken));
  }
  EXPECT_EQ(std::memcmp(a.floats().data(), b.floats().data(), a.floats().size_bytes()), 0);
}

// The future cannot leak into a pass: other tokens behind t, the same bits up to t.
TEST_P(StepTest, TheFutureDoesNotLeakIntoAPass) {
  const auto model = Load();
  auto tokens = RandomTokens(130, 1024, 11);
  const auto before = Serve(*model, tokens, 64, 1);
  for (size_t t = 90; t < tokens.size(); ++t) tokens[t] = (tokens[t] + 7) % 1024;
  const auto after = Serve(*model, tokens, 64, 1);
  EXPECT_EQ(std::memcmp(before.data(), after.data(), 89 * 4), 0);
  EXPECT_NE(before[89], after[89]);
}

// Drafts behind a stream's text, at most n_max deep.
struct Draft {
  std::vector<int32_t> parents, ids;
  std::vector<int> main_line;  // nodes that guess right
};

// The text goes on under the first child of each node; the others are wrong guesses.
Draft DraftOf(std::span<const int32_t> text, int64_t position, int n_max, const PhiloxStream& rng,
              uint64_t* draw) {
  Draft draft;
  const int room = std::min(n_max, static_cast<int>(16 - position % 16));
  const int n = 1 + static_cast<int>(rng.Word((*draw)++) % uint32_t(room));
  for (int depth = 0; depth < n; ++depth) {
    const int32_t parent = depth == 0 ? -1 : draft.main_line.back();
    draft.main_line.push_back(static_cast<int>(draft.parents.size()));
    draft.parents.push_back(parent);
    draft.ids.push_back(text[size_t(depth)]);
    if (rng.Word((*draw)++) % 2 == 0) {
      draft.parents.push_back(parent);
      draft.ids.push_back((text[size_t(depth)] + 3) % 1024);
    }
  }
  return draft;
}

// rows: of the nodes behind the text of `committed`.
void ExpectRowsOfPaths(const TokenTree& tree, const std::vector<int32_t>& ids, const float* rows,
                       const BraidState& committed, Stepper* plain) {
  for (int leaf = 0; leaf < tree.n_nodes(); ++leaf) {
    BraidState walk = committed;
    std::span<const float> last;
    int8_t path[kTreeNodesMax];
    const int length = tree.Path(leaf, path);
    for (int i = 0; i < length; ++i) last = plain->Step(&walk, ids[size_t(path[i])]);
    ASSERT_EQ(std::memcmp(last.data(), rows + size_t(leaf) * last.size(), last.size_bytes()), 0)
        << leaf;
  }
}

// A window of drafts: every node has the bits of plain decoding along its path, and the committed
// state those of the accepted path, also when nothing was accepted before.
TEST_P(StepTest, WindowsEqualPlainDecode) {
  const auto model = Load();
  const auto tokens = RandomTokens(400, 1024, 11);
  ExecContext exec(1);
  Stepper plain(*model, &exec), drafts(*model, &exec);
  BraidState a(model->shape()), b(model->shape());
  Window window(*model);
  const PhiloxStream rng(31, RngPurpose::kDataShuffle, 0);
  size_t at = 0;
  uint64_t draw = 0;
  while (at + 64 < tokens.size()) {
    const Draft draft = DraftOf(std::span(tokens).subspan(at), b.position(), 16, rng, &draw);
    const TokenTree tree(draft.parents.data(), static_cast<int>(draft.parents.size()));
    window.Begin(b, tree);
    const auto hidden = drafts.Tree(&b, &window, draft.ids);
    const std::vector<float> rows(hidden.begin(), hidden.end());
    EXPECT_EQ(drafts.surprise(0), 0.0f) << "nothing is committed yet";
    ExpectRowsOfPaths(tree, draft.ids, rows.data(), a, &plain);
    const size_t accepted = rng.Word(draw++) % (draft.main_line.size() + 1);
    if (accepted == 0) {
      // Nothing fits: plain decoding goes on from the untouched state.
      drafts.Step(&b, tokens[at]);
      plain.Step(&a, tokens[at++]);
    } else {
      window.Commit(&b, draft.main_line[accepted - 1]);
      EXPECT_FALSE(window.open());
      for (size_t i = 0; i < accepted; ++i) plain.Step(&a, tokens[at++]);
    }
    ASSERT_EQ(a.position(), b.position());
    ASSERT_EQ(std::memcmp(a.floats().data(), b.floats().data(), a.floats().size_bytes()), 0) << at;
  }
}

// Windows of two streams, a step of a third and the prompt of a fourth are rows of one pass.
TEST_P(StepTest, WindowsOfSeveralStreamsShareAPass) {
  constexpr size_t kStreams = 4, kWindows = 2;
  const auto model = Load();
  const ModelConfig& c = model->shape();
  ExecContext one(1), two(2);
  Stepper plain(*model, &one), together(*model, &two);
  std::vector<BraidState> own(kStreams, BraidState(c)), shared(kStreams, BraidState(c));
  Window windows[kWindows] = {Window(*model), Window(*model)};
  std::vector<std::vector<int32_t>> texts;
  for (size_t s = 0; s < kStreams; ++s) texts.push_back(RandomTokens(700, 1024, 11 + s));
  const PhiloxStream rng(34, RngPurpose::kDataShuffle, 0);
  uint64_t draw = 0;
  const auto text_of = [&](size_t s) {
    return std::span(texts[s]).subspan(size_t(shared[s].position()));
  };
  for (int pass = 0; pass < 24; ++pass) {
    std::vector<Stepper::Row> rows;
    std::vector<Draft> drafts;
    size_t begin[kStreams];
    // Windows first, between and last.
    for (const size_t s : {size_t{0}, size_t{2}, size_t{1}, size_t{3}}) {
      begin[s] = rows.size();
      if (s < kWindows) {
        drafts.push_back(DraftOf(text_of(s), shared[s].position(), 8, rng, &draw));
        const Draft& draft = drafts.back();
        windows[s].Begin(shared[s], TokenTree(draft.parents.data(), int(draft.parents.size())));
        for (const int32_t id : draft.ids) {
          rows.push_back({.state = &shared[s], .token = id, .window = &windows[s]});
        }
        continue;
      }
      const size_t n = s == 2 ? 1 : 1 + rng.Word(draw++) % 28;
      for (size_t i = 0; i < n; ++i) rows.push_back({.state = &shared[s], .token = text_of(s)[i]});
    }
    const auto hidden = together.Batch(rows);
    const std::vector<float> got(hidden.begin(), hidden.end());
    const auto d = size_t(c.d_model);
    for (size_t s = 0; s < kWindows; ++s) {
      const Draft& draft = drafts[s];
      EXPECT_EQ(shared[s].position(), own[s].position()) << "nothing is committed yet";
      ExpectRowsOfPaths(windows[s].tree(), draft.ids, &got[begin[s] * d], own[s], &plain);
      const int leaf = draft.main_line.back();
      const auto text = text_of(s);
      for (size_t i = 0; i < draft.main_line.size(); ++i) plain.Step(&own[s], text[i]);
      windows[s].Commit(&shared[s], leaf);
    }
    for (size_t s = kWindows; s < kStreams; ++s) {
      for (size_t i = begin[s]; i < rows.size() && rows[i].state == &shared[s]; ++i) {
        const auto want = plain.Step(&own[s], rows[i].token);
        ASSERT_EQ(std::memcmp(&got[i * d], want.data(), want.size_bytes()), 0) << s;
      }
    }
    for (size_t s = 0; s < kStreams; ++s) {
      ASSERT_EQ(std::memcmp(shared[s].floats().data(), own[s].floats().data(),
                            own[s].floats().size_bytes()),
                0)
          << "stream " << s << ", pass " << pass;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, StepTest,
                         testing::Combine(testing::Bool(),
                                          testing::Values(TestShape::kPlain, TestShape::kLooped,
                                                          TestShape::kFull)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param) ? "Quantized" : "Float") +
                                  (std::get<1>(info.param) == TestShape::kFull     ? "Full"
                                   : std::get<1>(info.param) == TestShape::kLooped ? "Looped"
                                                                                   : "Plain");
                         });

// A token that exits early runs as many iterations as it was worth, and equals one that was given
// that number; the others change nothing.
TEST(LoopStep, EarlyExitEqualsTheSameDepthGiven) {
  auto model = Model::Load(TestModelFolder("exit", true, 1, TestShape::kFull));
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelConfig& c = (*model)->shape();
  ExecContext exec(1);
  Stepper free(**model, &exec), bound(**model, &exec);
  BraidState a(c, c.loop.loops_max), b(c, c.loop.loops_max);
  int least = c.loop.loops_max, most = 0;
  for (int32_t token : RandomTokens(60, 1024, 11)) {
    const auto first = free.Step(&a, token, 0, true);
    least = std::min(least, free.loops_run());
    most = std::max(most, free.loops_run());
    const auto second = bound.Step(&b, token, free.loops_run());
    ASSERT_EQ(std::memcmp(first.data(), second.data(), first.size_bytes()), 0);
    ASSERT_EQ(free.residual(), bound.residual());
    if (free.loops_run() < c.loop.loops_max) {
      ASSERT_LT(free.residual(), c.loop.exit_threshold);
    }
  }
  EXPECT_EQ(std::memcmp(a.floats().data(), b.floats().data(), a.floats().size_bytes()), 0);
  EXPECT_GE(most, least);
}

}  // namespace
}  // namespace chimera
