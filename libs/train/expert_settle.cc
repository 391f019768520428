#include "train/expert_settle.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace chimera {
namespace {

constexpr int64_t kTokensPerPass = 512;

// The first and the last gain; those between fall geometrically. A bias of 0.01 moves the load of
// an expert by some tenths of the mean.
constexpr double kFirst = 2e-2;
constexpr double kLast = 1e-4;

double GainOf(int64_t pass, int64_t passes) {
  if (passes <= 1) return kLast;
  return kFirst *
         std::pow(kLast / kFirst, static_cast<double>(pass) / static_cast<double>(passes - 1));
}

// Where the sequence of a pass begins: multiples of the golden ratio, so that any run of them is
// even.
int64_t PlaceOf(int64_t pass, int64_t places) {
  constexpr double kGolden = 0.6180339887498949;
  const double turns = static_cast<double>(pass) * kGolden;
  return static_cast<int64_t>((turns - std::floor(turns)) * static_cast<double>(places));
}

}  // namespace

void SettleExperts(std::span<const int32_t> stream, int32_t eot, int64_t passes, Network* network,
                   Tape* tape, ExpertBalance* balance) {
  if (balance->empty() || stream.size() < 2) return;
  const auto size = static_cast<int64_t>(stream.size());
  const int64_t n = std::min(kTokensPerPass, size - 1);
  std::vector<float> state(static_cast<size_t>(network->StateFloats())), end = state;
  std::vector<float> nll(static_cast<size_t>(n));
  std::vector<uint8_t> reset(static_cast<size_t>(n));
  balance->Discard();
  tape->set_recording(false);
  for (int64_t pass = 0; pass < passes; ++pass) {
    const int32_t* tokens = stream.data() + PlaceOf(pass, size - n);
    for (int64_t i = 0; i < n; ++i) reset[static_cast<size_t>(i)] = tokens[i] == eot;
    TrainBatch batch;
    batch.n_seqs = 1;
    batch.seq_len = static_cast<int>(n);
    batch.tokens = tokens;
    batch.targets = tokens + 1;
    batch.reset = reset.data();
    tape->Reset();
    network->Forward(tape, batch, state.data(), end.data(), nll.data());
    state.swap(end);
    balance->Settle(GainOf(pass, passes));
  }
  tape->set_recording(true);
  tape->Reset();
}

}  // namespace chimera
