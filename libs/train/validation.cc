#include "train/validation.h"

#include <algorithm>
#include <numbers>
#include <span>

namespace chimera {
namespace {

constexpr int64_t kTokensPerPass = 2048;

// Sum of nats over the tokens of one document. `ids` starts with end-of-text.
double DocumentNats(Network* network, Tape* tape, std::span<const int32_t> ids) {
  const auto floats = static_cast<size_t>(network->StateFloats());
  std::vector<float> state(floats), next(floats), nll;
  double nats = 0.0;
  const auto n = static_cast<int64_t>(ids.size()) - 1;
  for (int64_t begin = 0; begin < n; begin += kTokensPerPass) {
    const int64_t count = std::min(kTokensPerPass, n - begin);
    std::vector<uint8_t> reset(static_cast<size_t>(count));
    TrainBatch batch;
    batch.n_seqs = 1;
    batch.seq_len = static_cast<int>(count);
    batch.tokens = ids.data() + begin;
    batch.targets = ids.data() + begin + 1;
    batch.reset = reset.data();
    nll.resize(static_cast<size_t>(count));
    tape->Reset();
    network->Forward(tape, batch, state.data(), next.data(), nll.data());
    state.swap(next);
    for (float x : nll) nats += static_cast<double>(x);
  }
  return nats;
}

}  // namespace

std::string_view WholeCharacters(std::string_view text, int64_t bytes_max) {
  if (static_cast<int64_t>(text.size()) <= bytes_max) return text;
  auto end = static_cast<size_t>(bytes_max);
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

double ValidationBpb(const Config& config, Network* network, Tape* tape, const Tokenizer& tokenizer,
                     const std::vector<Document>& documents, int64_t bytes_max) {
  tape->set_recording(false);
  double nats = 0.0;
  int64_t bytes = 0;
  for (const Document& document : documents) {
    const std::string_view text = WholeCharacters(document.text, bytes_max - bytes);
    if (text.empty()) break;
    std::vector<int32_t> ids = {config.tokens.eot};
    tokenizer.EncodeAppend(text, &ids);
    nats += DocumentNats(network, tape, ids);
    bytes += static_cast<int64_t>(text.size());
  }
  tape->set_recording(true);
  tape->Reset();
  return bytes == 0 ? 0.0 : nats / (static_cast<double>(bytes) * std::numbers::ln2);
}

}  // namespace chimera
