#include "grammar/outside_check_testing.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>

#include "base/philox.h"
#include "gtest/gtest.h"

namespace chimera {

std::vector<std::string> OutsideCheck(const std::string& command,
                                      const std::vector<nlohmann::json>& cases) {
  const std::string path =
      testing::TempDir() + "outside_check_" + std::to_string(::getpid()) + ".jsonl";
  {
    std::ofstream file(path, std::ios::binary);
    for (const nlohmann::json& one : cases) file << one.dump() << '\n';
  }
  std::vector<std::string> lines(1);
  FILE* const child = ::popen((command + " '" + path + "' 2>/dev/null").c_str(), "r");
  std::array<char, 4096> buffer;
  while (child != nullptr) {
    const size_t n = std::fread(buffer.data(), 1, buffer.size(), child);
    if (n == 0) break;
    for (size_t i = 0; i < n; ++i) {
      if (buffer[i] == '\n') {
        lines.emplace_back();
      } else {
        lines.back().push_back(buffer[i]);
      }
    }
  }
  if (child != nullptr) ::pclose(child);
  ::unlink(path.c_str());
  lines.pop_back();
  return lines;
}

std::string RandomPieces(StateTable* table, std::span<const std::string_view> pieces, uint64_t seed,
                         int tries) {
  std::string text;
  GrammarState state = table->start();
  for (int i = 0; i < tries; ++i) {
    const PhiloxBlock draw = Philox4x32({static_cast<uint32_t>(i), 1, 0, 0}, uint32_t(seed),
                                        static_cast<uint32_t>(seed >> 32));
    const std::string_view piece = pieces[draw[0] % pieces.size()];
    const GrammarState next = table->Run(state, piece);
    if (next == kDeadState) continue;
    text += piece;
    state = next;
  }
  return text + table->ClosingText(state);
}

std::string Mutated(std::string text, std::string_view bytes, uint64_t seed) {
  const PhiloxBlock draw = Philox4x32({0, 2, 0, 0}, uint32_t(seed), uint32_t(seed >> 32));
  const size_t at = draw[0] % (text.size() + 1);
  if (draw[1] % 2 == 0 && at < text.size()) return text.erase(at, 1);
  return text.insert(at, 1, bytes[draw[2] % bytes.size()]);
}

}  // namespace chimera
