// A checker in another language over many texts at once: one child process a batch.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/philox.h"
#include "grammar/state_table.h"
#include "gtest/gtest.h"

namespace chimera {

// Whether a program is there to be started.
inline bool HasProgram(const std::string& name) {
  return std::system(("command -v " + name + " >/dev/null 2>&1").c_str()) == 0;
}

inline std::vector<std::string> OutputLines(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) text.append(buffer, n);
  EXPECT_EQ(pclose(pipe), 0) << command;
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end == std::string::npos ? text.size() : end + 1;
  }
  return lines;
}

// What `<command> <file>` says of each text, one line a text. The file holds, for each text, its
// length in decimal, a line feed, and its bytes.
inline std::vector<std::string> CheckBatch(const std::string& command,
                                           const std::vector<std::string>& texts) {
  const std::string path =
      absl::StrCat(testing::TempDir(), "batch_",
                   testing::UnitTest::GetInstance()->current_test_info()->test_suite_name(), "_",
                   testing::UnitTest::GetInstance()->current_test_info()->name());
  {
    std::ofstream file(path, std::ios::binary);
    for (const std::string& text : texts) file << text.size() << '\n' << text;
  }
  std::vector<std::string> lines = OutputLines(command + " " + path);
  std::remove(path.c_str());
  EXPECT_EQ(lines.size(), texts.size());
  lines.resize(texts.size());
  return lines;
}

// A text of the language from pieces that may follow and single bytes, then the closing text:
// longer words than random bytes come upon.
inline std::string RandomPieces(StateTable* table, uint64_t seed, int count,
                                const std::vector<std::string_view>& pieces) {
  std::string text;
  GrammarState state = table->start();
  for (int i = 0; i < 8 * count && count > 0; ++i) {
    const PhiloxBlock draw =
        Philox4x32({static_cast<uint32_t>(i), 2, 0, 0}, uint32_t(seed), uint32_t(seed >> 32));
    std::string piece(pieces[draw[0] % pieces.size()]);
    if (draw[1] % 8 == 0) piece = static_cast<char>(' ' + draw[2] % 95);
    const GrammarState next = table->Run(state, piece);
    if (next == kDeadState) continue;
    state = next;
    text += piece;
    --count;
  }
  return text + table->ClosingText(state);
}

// The text with one byte deleted, or one of the alphabet inserted.
inline std::string Mutated(std::string text, uint64_t seed, std::string_view alphabet) {
  const PhiloxBlock draw = Philox4x32({0, 1, 0, 0}, uint32_t(seed), uint32_t(seed >> 32));
  const size_t at = draw[1] % (text.size() + 1);
  if (draw[0] % 2 == 0 && at < text.size()) return text.erase(at, 1);
  return text.insert(at, 1, alphabet[draw[2] % alphabet.size()]);
}

inline std::string FileText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace chimera
