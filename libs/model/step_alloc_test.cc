// The step path never allocates: every operator new of this binary is counted.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "model/model_testing.h"
#include "model/step.h"

namespace {
std::atomic<long> g_allocations{0};
}  // namespace

void* operator new(size_t size) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace chimera {
namespace {

// Every switch of the ternary maps that touches a step is covered by `keys`.
void ExpectNoAllocations(const std::string& keys) {
  auto model = Model::Load(TestModelFolder("alloc", TestConfigWith(keys, TestShape::kFull)));
  ASSERT_TRUE(model.ok()) << model.status();
  ExecContext exec(2);
  Stepper stepper(**model, &exec);
  BraidState state((*model)->shape());
  std::vector<float> logits(size_t((*model)->shape().vocab_size));
  const std::vector<int32_t> tokens(Stepper::kPrefillMax, 7);
  stepper.Logits(stepper.Step(&state, 1), 1, logits);  // tables of this process are built once

  const long before = g_allocations.load();
  for (int32_t token = 2; token < 50; ++token) {
    stepper.Logits(stepper.Step(&state, token), 1, logits);
  }
  stepper.Prefill(&state, tokens);
  EXPECT_EQ(g_allocations.load() - before, 0);

  const GateMeans means = stepper.TakeGateMeans();
  EXPECT_GT(means.alpha, 0.0);
  EXPECT_LT(means.alpha, 1.0);
  EXPECT_GT(means.beta, 0.0);
  EXPECT_LT(means.beta, 1.0);
  EXPECT_EQ(stepper.TakeGateMeans().alpha, 0.0);

  std::vector<int>* counted = new std::vector<int>(3);
  EXPECT_GT(g_allocations.load() - before, 0) << "the counter must count";
  delete counted;
}

TEST(StepAllocations, StepPrefillAndLogitsAllocateNothing) {
  ExpectNoAllocations(R"("method": "bitnet")");
}

TEST(StepAllocations, NorWithSherryAndCorrections) {
  ExpectNoAllocations(R"("sherry_mode": {"enabled": true}, "hgf_correction": {"enabled": true})");
}

}  // namespace
}  // namespace chimera
