#include "grammar/grammar_testing.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/philox.h"

namespace chimera {

int64_t FirstFault(StateTable* table, std::string_view text) {
  GrammarState state = table->start();
  for (size_t i = 0; i < text.size(); ++i) {
    state = table->Next(state, static_cast<uint8_t>(text[i]));
    if (state == kDeadState) return static_cast<int64_t>(i);
  }
  return table->CanEnd(state) ? -1 : static_cast<int64_t>(text.size());
}

std::string RandomText(StateTable* table, uint64_t seed, int random_bytes) {
  std::string text;
  GrammarState state = table->start();
  std::vector<uint8_t> live;
  for (int i = 0; i < random_bytes; ++i) {
    live.clear();
    uint32_t fewest = 0xFFFFFFFFu;
    for (const uint8_t byte : table->class_bytes()) {
      const GrammarState next = table->Next(state, byte);
      if (next == kDeadState) continue;
      live.push_back(byte);
      fewest = std::min(fewest, table->CloseBytes(next));
    }
    CHIMERA_CHECK(table->CanEnd(state) || fewest < table->CloseBytes(state));
    if (live.empty()) break;
    const PhiloxBlock draw = Philox4x32({static_cast<uint32_t>(i), 0, 0, 0}, uint32_t(seed),
                                        static_cast<uint32_t>(seed >> 32));
    const uint8_t chosen = live[draw[0] % live.size()];
    // Any byte of the class.
    std::vector<uint8_t> bytes;
    for (int byte = 0; byte < 256; ++byte) {
      if (table->classes()[size_t(byte)] == table->classes()[chosen]) {
        bytes.push_back(static_cast<uint8_t>(byte));
      }
    }
    const uint8_t byte = bytes[draw[1] % bytes.size()];
    text.push_back(static_cast<char>(byte));
    state = table->Next(state, byte);
  }
  return text + table->ClosingText(state);
}

}  // namespace chimera
