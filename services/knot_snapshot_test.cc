// Snapshots, restores and forks of streams, in process, over a socket and in another process: the
// same bits afterwards, and nothing left behind by what fails.
#include "decode/knot_snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/philox.h"
#include "cluster/channel.h"
#include "model/model_testing.h"
#include "model/snapshot.h"
#include "services/serving_testing.h"

namespace chimera {
namespace {

using testing::HasSubstr;
namespace kpb = knot::v1;

constexpr int kSecondsLeft = 300;  // nothing here waits for it

int64_t Deadline() { return Clock::Real().NowNs() + int64_t{kSecondsLeft} * 1000000000; }

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

int32_t TokenAt(int i) {
  const PhiloxStream rng(33, RngPurpose::kDataShuffle, 0);
  return static_cast<int32_t>(rng.Word(uint64_t(i)) % 1024);
}

// Runs tokens [begin, end); the distribution after the last.
NodeDistribution Pass(KnotStream* stream, int begin, int end, const SketchFieldSet& fields = {}) {
  VerifyRequest request;
  request.transform.temperature = 0.7f;
  request.transform.repetition_penalty = 1.4f;
  request.fields = fields;
  for (int i = begin; i < end; ++i) {
    request.nodes.push_back({.parent = i - begin - 1, .token_id = TokenAt(i)});
  }
  request.nodes.back().want_distribution = true;
  auto result = stream->Verify(request);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? result->distributions.at(0) : NodeDistribution{};
}

// Every distribution of a continuation token by token.
std::vector<NodeDistribution> Continue(KnotStream* stream, int begin, int end) {
  std::vector<NodeDistribution> out;
  for (int i = begin; i < end; ++i) out.push_back(Pass(stream, i, i + 1));
  return out;
}

void ExpectSame(const std::vector<NodeDistribution>& a, const std::vector<NodeDistribution>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].token_ids, b[i].token_ids) << i;
    EXPECT_EQ(a[i].logits, b[i].logits) << i;
    EXPECT_EQ(a[i].raw_logits, b[i].raw_logits) << i;
    EXPECT_EQ(a[i].log_sum_exp, b[i].log_sum_exp) << i;
    EXPECT_EQ(a[i].entropy_bits, b[i].entropy_bits) << i;
  }
}

constexpr int kPrompt = 1137;  // more than the penalty looks back, and not divisible by 16

class KnotSnapshotTest : public testing::Test {
 protected:
  void SetUp() override {
    ServingOptions options;
    options.max_streams = 3;
    folder_ = TestModelFolder("knot_snapshot", true, 1, TestShape::kFull);
    serving_ = std::make_unique<Serving>(folder_, options);
  }
  std::vector<Knot*> Knots() const { return {serving_->local.get(), serving_->remote.get()}; }
  std::unique_ptr<KnotStream> Open(Knot* knot) {
    auto stream = knot->Open("", Deadline(), 0);
    EXPECT_TRUE(stream.ok()) << stream.status();
    return *std::move(stream);
  }
  std::unique_ptr<KnotStream> Prompted(Knot* knot) {
    auto stream = Open(knot);
    Pass(stream.get(), 0, kPrompt);
    return stream;
  }
  // A snapshot of a prompted stream that is closed again.
  std::string Snapshot() {
    auto bytes = CopySnapshot(Prompted(serving_->local.get()).get(), "ledger");
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    return *std::move(bytes);
  }
  int64_t SnapshotBytesHeld() const {
    return serving_->local->memory().held(MemoryPart::kSnapshots);
  }

  std::string folder_;
  std::unique_ptr<Serving> serving_;
};

TEST_F(KnotSnapshotTest, ContinuesBitForBitHereAndThere) {
  auto plain = Prompted(serving_->local.get());
  const auto expected = Continue(plain.get(), kPrompt, kPrompt + 40);
  plain.reset();
  for (Knot* from : Knots()) {
    auto stream = Prompted(from);
    auto bytes = CopySnapshot(stream.get(), std::string("\0ledger", 7));
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_GT(static_cast<int64_t>(bytes->size()), kSnapshotChunkBytes);  // it takes several chunks
    EXPECT_EQ(SnapshotBytesHeld(), 0);
    for (Knot* to : Knots()) {
      auto restored = RestoreSnapshot(to, *bytes, Deadline());
      ASSERT_TRUE(restored.ok()) << restored.status();
      EXPECT_EQ(restored->position, kPrompt);
      EXPECT_EQ(restored->loops, 2);
      EXPECT_EQ(restored->surface, std::string("\0ledger", 7));
      EXPECT_EQ(restored->stream->model_id(), stream->model_id());
      ExpectSame(Continue(restored->stream.get(), kPrompt, kPrompt + 40), expected);
    }
    ExpectSame(Continue(stream.get(), kPrompt, kPrompt + 40), expected);  // it went on undisturbed
  }
}

// Without the recent tokens the penalty would see another past.
TEST_F(KnotSnapshotTest, TheRecentTokensArePartOfIt) {
  auto model = Model::Load(folder_);
  ASSERT_TRUE(model.ok());
  const std::string bytes = Snapshot();
  auto parsed = ReadSnapshot(**model, bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_EQ(parsed->recent.size(), size_t(kPrompt));
  const auto forgetful = WriteSnapshot(**model, parsed->state, {}, "");
  auto whole = RestoreSnapshot(serving_->local.get(), bytes, Deadline());
  auto other = RestoreSnapshot(serving_->local.get(), *forgetful, Deadline());
  ASSERT_TRUE(whole.ok() && other.ok());
  const NodeDistribution a = Pass(whole->stream.get(), kPrompt, kPrompt + 1);
  const NodeDistribution b = Pass(other->stream.get(), kPrompt, kPrompt + 1);
  EXPECT_EQ(a.raw_log_sum_exp, b.raw_log_sum_exp);
  EXPECT_NE(a.log_sum_exp, b.log_sum_exp);
}

// A window that was not committed is no part of a snapshot, and still there for the stream itself.
TEST_F(KnotSnapshotTest, PendingWindowsStayWithTheirStream) {
  for (Knot* knot : Knots()) {
    auto stream = Prompted(knot), plain = Prompted(knot);
    VerifyRequest window;
    window.commit_all = false;
    for (int i = 0; i < 3; ++i) {
      window.nodes.push_back({.parent = i - 1, .token_id = TokenAt(kPrompt + i)});
    }
    ASSERT_TRUE(stream->Verify(window).ok());
    auto bytes = CopySnapshot(stream.get(), "");
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    VerifyRequest next;
    next.commit_node = 2;
    next.nodes.push_back({.token_id = TokenAt(kPrompt + 3), .want_distribution = true});
    auto committed = stream->Verify(next);
    ASSERT_TRUE(committed.ok()) << committed.status();
    EXPECT_EQ(committed->position, kPrompt + 4);
    auto restored = RestoreSnapshot(knot, *bytes, Deadline());
    ASSERT_TRUE(restored.ok()) << restored.status();
    EXPECT_EQ(restored->position, kPrompt);
    EXPECT_EQ(restored->stream->Verify(next).status().code(), absl::StatusCode::kInvalidArgument);
    ExpectSame({Pass(stream.get(), kPrompt + 4, kPrompt + 5)},
               {Pass(plain.get(), kPrompt, kPrompt + 5)});
  }
}

TEST_F(KnotSnapshotTest, AForkIsAStreamOfItsOwn) {
  for (Knot* knot : Knots()) {
    auto stream = Prompted(knot);
    auto fork = stream->Fork(Deadline());
    ASSERT_TRUE(fork.ok()) << fork.status();
    EXPECT_EQ((*fork)->model_id(), stream->model_id());
    const auto other = Continue(fork->get(), 3000, 3020);
    EXPECT_EQ(serving_->local->Info().streams_running, 2);
    auto second = stream->Fork(Deadline());
    ASSERT_TRUE(second.ok()) << second.status();
    // Every slot is taken: refused, and the stream goes on.
    const absl::Status refused = stream->Fork(Deadline()).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(MessageOf(refused), HasSubstr("all 3 stream slots"));
    fork->reset();
    const auto went_on = Continue(stream.get(), kPrompt, kPrompt + 20);
    ExpectSame(Continue(second->get(), kPrompt, kPrompt + 20), went_on);
    EXPECT_NE(other[0].logits, went_on[0].logits);
    stream.reset();
    ExpectSame(Continue(second->get(), kPrompt + 20, kPrompt + 21),
               {Pass(Prompted(serving_->local.get()).get(), kPrompt, kPrompt + 21)});
  }
  EXPECT_TRUE(serving_->SlotsFreeWithin(500));
}

// Fields change at multiples of 16 only: a fork has those of its stream, and what was restored is
// told once.
TEST_F(KnotSnapshotTest, SketchFieldsGoOn) {
  auto sketch = std::make_shared<HyperVector>();
  sketch->words.fill(0x0123456789abcdef);
  const SketchFieldSet fields{.memory = {sketch, 0.8f}};
  for (Knot* knot : Knots()) {
    auto stream = Open(knot);
    Pass(stream.get(), 0, 21, fields);
    auto fork = stream->Fork(Deadline());
    ASSERT_TRUE(fork.ok()) << fork.status();
    auto bytes = CopySnapshot(stream.get(), "");
    auto restored = RestoreSnapshot(knot, *bytes, Deadline());
    ASSERT_TRUE(restored.ok()) << restored.status();
    const NodeDistribution expected = Pass(stream.get(), 21, 23, fields);
    ExpectSame({Pass(fork->get(), 21, 23, fields)}, {expected});
    ExpectSame({Pass(restored->stream.get(), 21, 23, fields)}, {expected});
    VerifyRequest without;
    without.nodes.push_back({.token_id = 1});
    EXPECT_THAT(MessageOf((*fork)->Verify(without).status()), HasSubstr("which 16 does not"));
    EXPECT_THAT(MessageOf(restored->stream->Verify(without).status()), HasSubstr("which 16 does"));
  }
}

TEST_F(KnotSnapshotTest, AStreamHoldsTwo) {
  for (Knot* knot : Knots()) {
    auto stream = Prompted(knot);
    auto first = stream->TakeSnapshot("a"), second = stream->TakeSnapshot("bc");
    ASSERT_TRUE(first.ok() && second.ok()) << first.status() << second.status();
    EXPECT_EQ(second->total_bytes, first->total_bytes + 1);
    EXPECT_EQ(second->position, kPrompt);
    EXPECT_EQ(SnapshotBytesHeld(), first->total_bytes + second->total_bytes);
    const absl::Status third = stream->TakeSnapshot("").status();
    EXPECT_EQ(third.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(MessageOf(third), HasSubstr("holds 2 snapshots, the limit is 2"));
    EXPECT_THAT(MessageOf(stream->ReadSnapshot(99, 0).status()), HasSubstr("no snapshot 99"));
    EXPECT_THAT(MessageOf(stream->ReadSnapshot(first->id, first->total_bytes).status()),
                HasSubstr("is outside the"));
    EXPECT_THAT(MessageOf(stream->ReadSnapshot(first->id, -1).status()), HasSubstr("offset -1"));
    EXPECT_TRUE(stream->DropSnapshot(first->id).ok());
    EXPECT_THAT(MessageOf(stream->DropSnapshot(first->id)), HasSubstr("holds no snapshot"));
    EXPECT_THAT(MessageOf(stream->TakeSnapshot(std::string(65537, 'x')).status()),
                HasSubstr("surface half of 65537 bytes exceeds 65536"));
    EXPECT_TRUE(stream->TakeSnapshot(std::string(65536, 'x')).ok());
    Pass(stream.get(), kPrompt, kPrompt + 1);  // after all of this it still runs
    stream.reset();
    EXPECT_EQ(SnapshotBytesHeld(), 0);
  }
}

// Chunks of a restore, as a stranger might send them; how it ended.
absl::Status Send(Knot* knot, const std::vector<std::pair<int64_t, std::string>>& chunks) {
  auto restore = knot->Restore(chunks.at(0).second, Deadline());
  if (!restore.ok()) return restore.status();
  for (size_t i = 1; i < chunks.size(); ++i) {
    const absl::Status added = (*restore)->Add(chunks[i].first, chunks[i].second);
    if (!added.ok()) return added;
  }
  return (*restore)->Finish().status();
}

TEST_F(KnotSnapshotTest, HostileSnapshotsAreNamedAndLeaveNothing) {
  const std::string bytes = Snapshot();
  const auto n = static_cast<int64_t>(bytes.size());
  const std::string head = bytes.substr(0, 1000), rest = bytes.substr(1000);
  const auto with = [&](size_t offset, auto value) {
    std::string changed = bytes;
    std::memcpy(changed.data() + offset, &value, sizeof(value));
    const uint64_t checksum = Xxh3(std::string_view(changed).substr(24));
    std::memcpy(changed.data() + 16, &checksum, sizeof(checksum));
    return changed;
  };
  for (Knot* knot : Knots()) {
    const auto fault = [&](const std::string& sent) {
      const absl::Status status = RestoreSnapshot(knot, sent, Deadline()).status();
      EXPECT_FALSE(status.ok());
      return MessageOf(status);
    };
    const auto chunk_fault = [&](const std::vector<std::pair<int64_t, std::string>>& chunks) {
      const absl::Status status = Send(knot, chunks);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      return MessageOf(status);
    };
    EXPECT_THAT(fault(""), HasSubstr("chunk of 0 bytes is outside 128..1048576"));
    EXPECT_THAT(fault(bytes.substr(0, 127)), HasSubstr("chunk of 127 bytes is outside 128.."));
    EXPECT_THAT(fault("X" + bytes.substr(1)), HasSubstr("wrong magic"));
    EXPECT_THAT(fault(with(8, uint32_t{9})), HasSubstr("version 9"));
    EXPECT_THAT(fault(with(24, uint64_t{1} << 60)), HasSubstr("its counts need"));
    EXPECT_THAT(fault(with(32, char('g'))), HasSubstr("is not served, current is"));
    EXPECT_EQ(RestoreSnapshot(knot, with(32, char('g')), 0).status().code(),
              absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(fault(with(96, uint32_t{5})), HasSubstr("loops 5 is outside 1..4"));
    EXPECT_THAT(fault(with(112, uint64_t{1} << 60)), HasSubstr("state floats"));
    EXPECT_THAT(fault(with(120, uint32_t{1} << 31)), HasSubstr("exceeds 65536"));
    std::string flipped = bytes;
    flipped[flipped.size() - 40000] ^= 1;
    EXPECT_THAT(fault(flipped), HasSubstr("checksum mismatch"));
    EXPECT_THAT(fault(bytes.substr(0, bytes.size() - 1)),
                HasSubstr("bytes but its header declares"));
    EXPECT_THAT(fault(bytes + "x"), HasSubstr("exceeds the snapshot's"));
    EXPECT_THAT(fault(with(128 + 4, int32_t{17})), HasSubstr("layer 1: write chunk"));
    EXPECT_THAT(chunk_fault({{0, head}, {999, rest.substr(0, 9)}}),
                HasSubstr(absl::StrCat("chunk at 999, expected at 1000 of ", n)));
    EXPECT_THAT(chunk_fault({{0, head}, {2000, rest.substr(0, 9)}}), HasSubstr("chunk at 2000"));
    EXPECT_THAT(chunk_fault({{0, head}, {-1, rest.substr(0, 9)}}), HasSubstr("chunk at -1"));
    EXPECT_THAT(chunk_fault({{0, head}, {1000, ""}}), HasSubstr("of 0 bytes is outside 1.."));
    EXPECT_THAT(chunk_fault({{0, head}, {1000, std::string((1 << 20) + 1, 'x')}}),
                HasSubstr("chunk of 1048577 bytes is outside 1..1048576"));
    EXPECT_TRUE(serving_->SlotsFreeWithin(500));
    EXPECT_EQ(SnapshotBytesHeld(), 0);
    // What it declares is admitted before it is sent; there is room for it after all of the above.
    EXPECT_TRUE(RestoreSnapshot(knot, bytes, Deadline()).ok());
  }
}

// Values that no training leaves, under a right checksum: they stay in their own stream.
TEST_F(KnotSnapshotTest, AbsurdStatesHurtNobodyElse) {
  auto model = Model::Load(folder_);
  ASSERT_TRUE(model.ok());
  auto snapshot = ReadSnapshot(**model, Snapshot());
  ASSERT_TRUE(snapshot.ok());
  for (const float absurd : {3e38f, std::numeric_limits<float>::quiet_NaN()}) {
    BraidState state = snapshot->state;
    for (int layer : {0, 2, 3}) {
      for (float& value : state.layer(layer, 0)) value = absurd;
    }
    auto bytes = WriteSnapshot(**model, state, snapshot->recent, "");
    auto bad = RestoreSnapshot(serving_->local.get(), *bytes, Deadline());
    ASSERT_TRUE(bad.ok()) << bad.status();
    auto good = Prompted(serving_->local.get()), plain = Prompted(serving_->local.get());
    VerifyRequest request;
    for (int i = 0; i < 40; ++i) request.nodes.push_back({.parent = i - 1, .token_id = TokenAt(i)});
    request.nodes.back().want_distribution = true;
    // What it says is nobody's business; that it comes back is.
    const auto result = bad->stream->Verify(request);
    EXPECT_TRUE(result.ok() || absl::IsInternal(result.status())) << result.status();
    ExpectSame(Continue(good.get(), kPrompt, kPrompt + 2),
               Continue(plain.get(), kPrompt, kPrompt + 2));
  }
}

TEST_F(KnotSnapshotTest, RestoresNeedSlotsAndTakeTheirTurn) {
  const std::string bytes = Snapshot();
  for (Knot* knot : Knots()) {
    auto half = knot->Restore(std::string_view(bytes).substr(0, 5000), Deadline());
    ASSERT_TRUE(half.ok()) << half.status();
    EXPECT_EQ((*half)->received_bytes(), 5000);
    EXPECT_EQ((*half)->total_bytes(), static_cast<int64_t>(bytes.size()));
    EXPECT_EQ(serving_->local->Info().streams_running, 1);  // it has its slot already
    auto second = Open(knot), third = Open(knot);
    const absl::Status full = RestoreSnapshot(knot, bytes, Deadline()).status();
    EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(MessageOf(full), HasSubstr("all 3 stream slots"));
    EXPECT_EQ((*half)->Finish().status().code(), absl::StatusCode::kDataLoss);
    half->reset();
    EXPECT_TRUE(RestoreSnapshot(knot, bytes, Deadline()).ok());
  }
  const absl::Status late =
      RestoreSnapshot(serving_->local.get(), bytes, Clock::Real().NowNs() - 1).status();
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
  auto cancelled = Open(serving_->local.get());
  cancelled->Cancel();
  EXPECT_EQ(cancelled->TakeSnapshot("").status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(cancelled->Fork(0).status().code(), absl::StatusCode::kCancelled);
}

// The order of messages on the wire, idle restores, cancelled ones, and forks nobody fetches.
class SnapshotWire : public KnotSnapshotTest {
 protected:
  using Call = grpc::ClientReaderWriter<kpb::StreamRequest, kpb::StreamResponse>;
  void SetUp() override {
    ServingOptions options;
    options.max_streams = 2;
    options.request_deadline_ms = 400;
    options.fork_claim_ms = 300;
    serving_ = std::make_unique<Serving>(
        TestModelFolder("snapshot_wire", true, 1, TestShape::kFull), options);
    channel_ = MakeChannel(serving_->knot_server->address());
    stub_ = kpb::KnotService::NewStub(channel_);
  }
  static kpb::StreamRequest Chunk(int64_t offset, const std::string& data) {
    kpb::StreamRequest message;
    message.mutable_restore_chunk()->set_offset(offset);
    message.mutable_restore_chunk()->set_data(data);
    return message;
  }
  grpc::Status Talk(const std::vector<kpb::StreamRequest>& messages) {
    grpc::ClientContext context;
    SetTimeout(&context, 5000);
    const auto call = stub_->Stream(&context);
    kpb::StreamResponse response;
    for (const kpb::StreamRequest& message : messages) {
      if (!call->Write(message) || !call->Read(&response)) return call->Finish();
    }
    call->WritesDone();
    while (call->Read(&response)) {
    }
    return call->Finish();
  }

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<kpb::KnotService::Stub> stub_;
};

TEST_F(SnapshotWire, OrderOfMessages) {
  const std::string bytes = Snapshot(), head = bytes.substr(0, 4000);
  kpb::StreamRequest open, take, verify;
  open.mutable_open();
  take.mutable_take_snapshot();
  verify.mutable_verify()->add_nodes()->set_parent(-1);
  const auto sentence = [&](const std::vector<kpb::StreamRequest>& messages) {
    return Talk(messages).error_message();
  };
  EXPECT_THAT(sentence({take}), HasSubstr("must be open or restore_chunk"));
  EXPECT_THAT(sentence({Chunk(8, head)}), HasSubstr("chunk at 8, expected at 0"));
  EXPECT_THAT(sentence({Chunk(0, head), open}), HasSubstr("has 4000 of"));
  EXPECT_THAT(sentence({Chunk(0, head), verify}), HasSubstr("is being restored"));
  EXPECT_THAT(sentence({Chunk(0, head), Chunk(0, head)}), HasSubstr("expected at 4000"));
  EXPECT_THAT(sentence({open, Chunk(0, head)}), HasSubstr("open already"));
  open.mutable_open()->set_fork_token("made up");
  EXPECT_THAT(sentence({open}), HasSubstr("no fork waits for this token"));
  EXPECT_TRUE(serving_->SlotsFreeWithin(300));
}

TEST_F(SnapshotWire, HalfARestoreGivesItsSlotBack) {
  const std::string bytes = Snapshot();
  grpc::ClientContext idle_context;  // no deadline, and then silence
  const auto idle = stub_->Stream(&idle_context);
  kpb::StreamResponse response;
  ASSERT_TRUE(idle->Write(Chunk(0, bytes.substr(0, 4000))) && idle->Read(&response));
  EXPECT_EQ(response.restore_progress().received_bytes(), 4000);
  EXPECT_EQ(serving_->local->Info().streams_running, 1);
  EXPECT_TRUE(serving_->SlotsFreeWithin(3000));
  EXPECT_FALSE(idle->Read(&response));
  EXPECT_EQ(idle->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  grpc::ClientContext context;
  const auto call = stub_->Stream(&context);
  ASSERT_TRUE(call->Write(Chunk(0, bytes.substr(0, 4000))) && call->Read(&response));
  EXPECT_EQ(serving_->local->Info().streams_running, 1);
  context.TryCancel();
  EXPECT_TRUE(serving_->SlotsFreeWithin(300));
  EXPECT_EQ(SnapshotBytesHeld(), 0);
  EXPECT_EQ(call->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(SnapshotWire, ForksWaitAWhileForTheirCall) {
  grpc::ClientContext context;
  SetTimeout(&context, 5000);
  const auto call = stub_->Stream(&context);
  kpb::StreamResponse response;
  kpb::StreamRequest open, fork;
  open.mutable_open();
  fork.mutable_fork();
  ASSERT_TRUE(call->Write(open) && call->Read(&response));
  ASSERT_TRUE(call->Write(fork) && call->Read(&response));
  const std::string token = response.forked().fork_token();
  EXPECT_EQ(token.size(), 32u);
  EXPECT_EQ(serving_->local->Info().streams_running, 2);
  ASSERT_TRUE(call->Write(fork) && call->Read(&response));
  EXPECT_EQ(response.refused().code(), static_cast<int>(absl::StatusCode::kResourceExhausted));
  open.mutable_open()->set_fork_token(token);
  EXPECT_TRUE(Talk({open}).ok());
  EXPECT_THAT(Talk({open}).error_message(), HasSubstr("it is taken"));  // good once
  ASSERT_TRUE(call->Write(fork) && call->Read(&response));
  open.mutable_open()->set_fork_token(response.forked().fork_token());
  call->WritesDone();
  EXPECT_TRUE(call->Finish().ok());
  EXPECT_EQ(serving_->local->Info().streams_running, 1);
  EXPECT_TRUE(serving_->SlotsFreeWithin(3000));
  EXPECT_THAT(Talk({open}).error_message(), HasSubstr("longer than 300 ms"));
}

TEST_F(KnotSnapshotTest, ContinuesInAnotherProcess) {
  auto stream = Prompted(serving_->local.get());
  auto bytes = CopySnapshot(stream.get(), "surface");
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const KnotProcess there(folder_);
  ASSERT_FALSE(there.address().empty());
  RemoteKnot knot({.address = there.address()});
  auto restored = RestoreSnapshot(&knot, *bytes, Deadline());
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(restored->surface, "surface");
  ExpectSame(Continue(restored->stream.get(), kPrompt, kPrompt + 40),
             Continue(stream.get(), kPrompt, kPrompt + 40));
  // And back: where the stream over there stands now.
  auto back = CopySnapshot(restored->stream.get(), "");
  ASSERT_TRUE(back.ok()) << back.status();
  auto home = RestoreSnapshot(serving_->local.get(), *back, Deadline());
  ASSERT_TRUE(home.ok()) << home.status();
  ExpectSame(Continue(home->stream.get(), kPrompt + 40, kPrompt + 50),
             Continue(stream.get(), kPrompt + 40, kPrompt + 50));
}

}  // namespace
}  // namespace chimera
