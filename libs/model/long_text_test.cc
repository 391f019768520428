// A stream thinks in constant memory (FEATURES M9): whatever its length, its state is the same
// bytes, nothing is allocated, numbers stay finite, and a snapshot goes on bit for bit.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/alloc_testing.h"
#include "base/philox.h"
#include "model/model_testing.h"
#include "model/snapshot.h"
#include "model/step.h"

namespace chimera {
namespace {

constexpr int64_t kEarly = 1000;

// Tokens of an endless text, 64 a pass.
class Text {
 public:
  Text(const Model& model, BraidState* state)
      : vocab_(static_cast<uint32_t>(model.shape().vocab_size)),
        exec_(1),
        stepper_(model, &exec_),
        state_(state) {}

  void RunTo(int64_t position) {
    const PhiloxStream rng(51, RngPurpose::kDataShuffle, 0);
    while (state_->position() < position) {
      const int64_t at = state_->position();
      const auto n = static_cast<size_t>(std::min<int64_t>(tokens_.size(), position - at));
      for (size_t i = 0; i < n; ++i) {
        tokens_[i] = static_cast<int32_t>(rng.Word(static_cast<uint64_t>(at) + i) % vocab_);
      }
      last_ = stepper_.Prefill(state_, std::span(tokens_).first(n));
      finite_ = finite_ && std::isfinite(last_.back());
    }
  }
  std::vector<float> last() const { return {last_.begin(), last_.end()}; }
  bool finite() const { return finite_; }

 private:
  const uint32_t vocab_;
  ExecContext exec_;
  Stepper stepper_;
  BraidState* const state_;
  std::array<int32_t, Stepper::kBatchMax> tokens_;
  std::span<const float> last_;
  bool finite_ = true;
};

size_t HeapBytes() { return mallinfo2().uordblks + mallinfo2().hblkhd; }

void CheckLength(const Model& model, int64_t length) {
  BraidState state(model.shape());
  Text text(model, &state);
  text.RunTo(kEarly);
  const float* const where = state.floats().data();
  const size_t bytes = state.floats().size_bytes();
  EXPECT_EQ(static_cast<int64_t>(bytes), BraidState::Bytes(model.shape()));
  const size_t snapshot_bytes = WriteSnapshot(model, state, {}, "")->size();

  const size_t heap = HeapBytes();
  const long allocations = Allocations();
  text.RunTo(length);
  EXPECT_EQ(Allocations() - allocations, 0);
  EXPECT_EQ(HeapBytes(), heap);
  EXPECT_EQ(state.floats().data(), where);
  EXPECT_EQ(state.floats().size_bytes(), bytes);
  EXPECT_TRUE(text.finite());

  const auto snapshot = WriteSnapshot(model, state, {}, "");
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  EXPECT_EQ(snapshot->size(), snapshot_bytes);
  auto restored = ReadSnapshot(model, *snapshot);
  ASSERT_TRUE(restored.ok()) << restored.status();
  Text other(model, &restored->state);
  text.RunTo(length + 200);
  other.RunTo(length + 200);
  EXPECT_EQ(text.last(), other.last());
  EXPECT_EQ(std::memcmp(state.floats().data(), restored->state.floats().data(), bytes), 0);
  std::printf("%s: %zu bytes of state after %lld and after %lld tokens\n",
              model.shape().name.c_str(), bytes, static_cast<long long>(kEarly),
              static_cast<long long>(length));
}

TEST(LongText, AMillionTokensOfTheMicroModel) {
  auto model = Model::Load(TestModelFolder("long", true, 1, TestShape::kFull));
  ASSERT_TRUE(model.ok()) << model.status();
  CheckLength(**model, 1'000'000);
}

TEST(LongText, AHundredThousandOfTheShippedModel) {
  auto model = Model::Load(std::string(CHIMERA_SOURCE_DIR) + "/models/nano");
  ASSERT_TRUE(model.ok()) << model.status();
  CheckLength(**model, 100'000);
}

}  // namespace
}  // namespace chimera
